//! The operator's layer: policy file or profiles, what they extend, and the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use palisade_boundary::Control;
use palisade_policy::{Authority, CredentialName, HostPattern, Ports, Rule, Source};
use palisade_workspace::{Home, Located, PathError, Tmpfs, Volume, WorkspaceAccess};

use crate::breadth::{self, Breadth};
use crate::container::ContainerSettings;
use crate::effective::{Gvisor, Shown, Sourced};
use crate::error::PolicyError;
use crate::file;
use crate::gate_limits::GateLimits;
use crate::options::{Options, Surroundings};
use crate::parse::{parse, suggestion};
use crate::profile;
use crate::proxy::UpstreamProxy;
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

mod credential;
pub(crate) mod files;
mod rule;
pub(crate) mod section;
mod settle;
mod siblings;

pub(crate) use rule::{allow_rule, deny_rule};
pub(crate) use settle::settle;
pub(crate) use siblings::{meet, unread};

/// How deep files may extend files. Four is more than anybody needs; the rest is a mistake.
const DEEPEST: usize = 16;

/// Variables that say how a terminal looks and which language it speaks. They hold no secret, and full-screen programs
/// need them.
const DEFAULT_PASS: [&str; 7] = [
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
];

/// What the operator said, so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub backend: Option<Sourced<String>>,
    pub container: ContainerSettings,
    pub accept_weaker: Vec<Sourced<Control>>,
    pub gvisor: Gvisor,
    /// Where the workspace's own file took back what was accepted.
    pub accepts_nothing: Option<Source>,
    pub workspace: Option<Sourced<Located>>,
    pub access: Option<Sourced<WorkspaceAccess>>,
    pub scratch_size: Option<Sourced<u64>>,
    pub mask: Vec<Sourced<String>>,
    pub unmask: Vec<Sourced<String>>,
    pub protect: Option<Sourced<bool>>,
    pub volumes: Vec<Sourced<Volume>>,
    pub tmpfs: Vec<Sourced<Tmpfs>>,
    pub shown: Vec<Shown>,
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
    pub resolve: Vec<(Authority, Sourced<SocketAddr>)>,
    /// Rules that may contradict each other.
    pub siblings: siblings::Siblings,
    pub credentials: BTreeMap<CredentialName, settle::Written>,
    /// Credentials that rules name, each with its first place.
    pub wanted: BTreeMap<CredentialName, PolicyError>,
    pub gate_limits: GateLimits,
    pub extra_ca: String,
    pub upstream_proxy: Option<Sourced<UpstreamProxy>>,
    pub pass: BTreeMap<String, Source>,
    /// Variables and paths that are left out though a profile names them.
    pub withheld: BTreeSet<String>,
    pub withheld_paths: Vec<PathBuf>,
    pub set: BTreeMap<String, Sourced<String>>,
    pub memory: Option<Sourced<u64>>,
    pub cpus: Option<Sourced<f64>>,
    pub processes: Option<Sourced<u32>>,
    /// Every file the session is governed by, as it really lies.
    pub governing: Vec<PathBuf>,
    /// What took part, as people call it.
    pub parts: Vec<String>,
    pub notes: Vec<String>,
}

/// Collects the operator's layer.
pub(crate) struct Operator<'a> {
    pub around: &'a Surroundings,
    pub home: Home,
    pub draft: Draft,
    profiles: Vec<&'static str>,
    /// Files that were met, and those of them still being read.
    files: Vec<PathBuf>,
    reading: Vec<PathBuf>,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(around: &'a Surroundings) -> Self {
        let mut draft = Draft::default();
        let default = Source::new("default");
        draft.pass = DEFAULT_PASS
            .iter()
            .map(|name| ((*name).to_owned(), default.clone()))
            .collect();
        Self {
            around,
            home: Home::new(&around.home),
            draft,
            profiles: Vec::new(),
            files: Vec::new(),
            reading: Vec::new(),
        }
    }

    /// Applies everything in order: profiles of the command line, the policy file (or a known agent's profile), the rest of
    /// the command line. Later words override, and lists add. Returns the known agent's profile if that was used.
    pub(crate) fn collect(
        &mut self,
        options: &Options,
    ) -> Result<Option<&'static str>, PolicyError> {
        let file = self.policy_file(options)?;
        let known = match file {
            Some(_) => None,
            None => options.program.as_deref().and_then(profile::known_agent),
        };
        if let Some(name) = known {
            self.profile(name)?;
        }
        for name in &options.profiles {
            let Some(known) = canonical_profile(name) else {
                return Err(unknown_profile(name, |message| {
                    PolicyError::argument(format!("--profile {name}"), message)
                }));
            };
            self.profile(known)?;
        }
        if let Some((path, body)) = file {
            self.file(&path, body, 0)?;
        }
        self.command_line(options)?;
        Ok(known)
    }

    /// The policy file and its text: the one the command line names, else the person's own.
    fn policy_file(&self, options: &Options) -> Result<Option<(PathBuf, String)>, PolicyError> {
        let (path, named) = match &options.policy {
            Some(path) => (self.around.current_dir.join(path), true),
            None => (self.around.user_policy(), false),
        };
        match file::read(&path, file::POLICY_LIMIT) {
            Ok(body) => Ok(Some((path, body))),
            Err(_) if !named && is_absent(&path) => Ok(None),
            Err(why) => {
                let shown = self.short(&path);
                let argument = if named {
                    format!("--policy {shown}")
                } else {
                    shown
                };
                Err(PolicyError::argument(
                    argument,
                    format!("the policy file cannot be read: {why}"),
                ))
            }
        }
    }

    fn profile(&mut self, name: &'static str) -> Result<(), PolicyError> {
        if self.profiles.contains(&name) {
            return Ok(());
        }
        self.profiles.push(name);
        let body = profile::profile_text(name).unwrap_or_default();
        let text = Text::new(format!("profile {name}"), body.into(), None);
        self.apply(&text, 0)
    }

    fn file(&mut self, path: &Path, body: String, depth: usize) -> Result<(), PolicyError> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        // A pipe has no real path.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.files.push(real.clone());
        self.reading.push(real.clone());
        self.draft.governing.push(real);
        let text = Text::new(self.short(path), body.into(), Some(folder));
        let applied = self.apply(&text, depth);
        self.reading.pop();
        applied
    }

    fn apply(&mut self, text: &Text, depth: usize) -> Result<(), PolicyError> {
        let file = parse(text)?;
        for entry in &file.extends {
            self.extend(text, entry, depth)?;
        }
        self.draft.parts.push(text.name.clone());
        self.sections(text, file)
    }

    /// One entry of `extends`. What was applied already is not applied again, so that two files may extend the same one.
    fn extend(
        &mut self,
        text: &Text,
        entry: &Spanned<String>,
        depth: usize,
    ) -> Result<(), PolicyError> {
        let name = entry.get_ref();
        if let Some(known) = canonical_profile(name) {
            return self.profile(known);
        }
        let Some(folder) = text.folder.as_ref().filter(|_| looks_like_file(name)) else {
            return Err(unknown_profile(name, |message| text.wrong(entry, message)));
        };
        let path = palisade_workspace::expand(name, folder, &self.around.home)
            .map_err(|error| text.wrong(entry, format!("`{name}` {error}")))?;
        let body = file::read(&path, file::POLICY_LIMIT)
            .map_err(|why| text.wrong(entry, format!("cannot extend `{name}`: {why}")))?;
        if depth + 1 > DEEPEST {
            return Err(text.wrong(
                entry,
                format!("files extend files more than {DEEPEST} deep"),
            ));
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if self.reading.contains(&real) {
            return Err(text
                .wrong(entry, format!("`{name}` extends this file in turn"))
                .hint("a circle of files has no beginning; take one of the entries out"));
        }
        if self.files.contains(&real) {
            return Ok(());
        }
        self.file(&path, body, depth + 1)
    }

    /// Options that stand for single settings. They are the operator's last word.
    fn command_line(&mut self, options: &Options) -> Result<(), PolicyError> {
        if let Some(name) = &options.boundary {
            let argument = || format!("--boundary {name}");
            self.check_backend(name, |message| PolicyError::argument(argument(), message))?;
            self.draft.backend = Some(Sourced::new(name.clone(), Source::new("--boundary")));
        }
        for name in &options.accept_weaker {
            let argument = || format!("--accept-weaker {name}");
            let control = control(name, |message| PolicyError::argument(argument(), message))?;
            let source = Source::new("--accept-weaker");
            self.draft.accept_weaker.push(Sourced::new(control, source));
        }
        if let Some(access) = options.access {
            self.draft.access = Some(Sourced::new(access, Source::new("--access")));
        }
        if let Some(folder) = &options.workspace {
            let path = self.around.current_dir.join(folder);
            let argument = format!("--workspace {}", folder.display());
            self.draft.workspace = Some(self.workspace(
                &path,
                Source::new("--workspace"),
                |message| PolicyError::argument(argument, message),
            )?);
        }
        for allow in &options.allow {
            let rule = allow_argument(allow)?;
            let argument = format!("--allow {allow}");
            self.allow(rule, |message| PolicyError::argument(argument, message))?;
        }
        for variable in &options.env {
            self.env_argument(variable)?;
        }
        Ok(())
    }

    fn env_argument(&mut self, variable: &str) -> Result<(), PolicyError> {
        let source = Source::new("--env");
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (variable, None),
        };
        // The value stays out of the message: it may be a token.
        let wrong = |message| PolicyError::argument(format!("--env {name}"), message);
        if let Some(bad) = value::bad_name(name) {
            return Err(wrong(bad));
        }
        match value {
            Some(value) => {
                let value = Sourced::new(value.to_owned(), source);
                self.draft.set.insert(name.to_owned(), value);
            }
            None => {
                self.draft.set.remove(name);
                self.draft.pass.insert(name.to_owned(), source);
            }
        }
        Ok(())
    }

    /// Checks a folder that shall be the workspace.
    pub(crate) fn workspace(
        &self,
        path: &Path,
        source: Source,
        wrong: impl FnOnce(String) -> PolicyError,
    ) -> Result<Sourced<Located>, PolicyError> {
        let checked = palisade_workspace::locate(path).and_then(|found| {
            palisade_workspace::check_workspace(&found, &self.home).map(|()| found)
        });
        checked
            .map(|found| Sourced::new(found, source))
            .map_err(|error| {
                let hint = match error {
                    PathError::Missing => Some("create it, or name another folder"),
                    PathError::Unreadable(_) => None,
                    _ => Some("start in a project folder, or name one with `--workspace`"),
                };
                wrong(format!(
                    "{} cannot be the workspace: it {error}",
                    self.short(path)
                ))
                .hint_if(hint.map(str::to_owned))
            })
    }

    pub(crate) fn check_backend(
        &self,
        name: &str,
        wrong: impl FnOnce(String) -> PolicyError,
    ) -> Result<(), PolicyError> {
        let known = self.around.backends;
        if known.is_empty() || known.contains(&name) {
            return Ok(());
        }
        let hint = suggestion(name, known, "the backends here are");
        Err(wrong(format!("there is no backend `{name}`")).hint_if(hint))
    }

    /// A path as people would write it here.
    pub(crate) fn short(&self, path: &Path) -> String {
        if let Ok(below) = path.strip_prefix(&self.around.current_dir)
            && !below.as_os_str().is_empty()
        {
            return below.display().to_string();
        }
        match path.strip_prefix(&self.around.home) {
            Ok(below) if !below.as_os_str().is_empty() => format!("~/{}", below.display()),
            _ => path.display().to_string(),
        }
    }
}

/// The control of this name.
fn control(name: &str, wrong: impl FnOnce(String) -> PolicyError) -> Result<Control, PolicyError> {
    Control::parse(name).ok_or_else(|| {
        let known = Control::ALL.map(Control::name);
        let hint = suggestion(name, &known, "the controls are");
        wrong(format!("there is no control `{name}`")).hint_if(hint)
    })
}

/// `--allow HOST[:PORT]`.
fn allow_argument(text: &str) -> Result<Rule, PolicyError> {
    let wrong = |message: String| PolicyError::argument(format!("--allow {text}"), message);
    let bracketed_end = text.rfind(']').map_or(0, |at| at + 1);
    let (host, ports) = match text[bracketed_end..].rsplit_once(':') {
        None => (text, Ports::WEB),
        Some((before, port)) => {
            let number = port
                .parse::<u16>()
                .ok()
                .filter(|number| *number > 0 && port.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| wrong("a port is a number from 1 to 65535".to_owned()))?;
            (&text[..bracketed_end + before.len()], Ports::list([number]))
        }
    };
    let pattern = HostPattern::parse(host).map_err(|error| wrong(error.to_string()))?;
    if breadth::breadth(&pattern) == Breadth::Registry {
        return Err(wrong(format!(
            "`{pattern}` covers a whole registry, where anybody can get a name"
        )));
    }
    Ok(Rule::new(pattern, ports, Source::new("--allow")))
}

fn canonical_profile(name: &str) -> Option<&'static str> {
    profile::profile_names().find(|known| *known == name)
}

fn unknown_profile(name: &str, wrong: impl FnOnce(String) -> PolicyError) -> PolicyError {
    let known: Vec<&str> = profile::profile_names().collect();
    let hint = suggestion(name, &known, "the profiles are");
    wrong(format!("there is no profile `{name}`")).hint_if(hint)
}

fn looks_like_file(name: &str) -> bool {
    name.contains('/')
        || name.starts_with('~')
        || Path::new(name).extension().is_some_and(|e| e == "toml")
}

fn is_absent(path: &Path) -> bool {
    matches!(
        path.symlink_metadata().map_err(|error| error.kind()),
        Err(std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    )
}
