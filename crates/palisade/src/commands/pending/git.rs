//! The user's `git`, run so that nothing of a repository's configuration runs with it.
//!
//! The repository may hold what an earlier agent wrote: hooks, a file-system monitor, filters, helpers. None of the
//! commands used here needs any of them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use palisade_workspace::review::{LARGEST_TEXT, ObjectFormat};

use crate::failure::Failure;
use crate::terminal_text::harmless_bytes;

/// Settings that switch off whatever git would start by itself.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.pager=cat",
    "core.askPass=",
    "core.sshCommand=false",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// The repository a workspace lies in.
#[derive(Debug)]
pub(crate) struct Repository {
    workspace: PathBuf,
    /// From the top of the repository to the workspace; empty or with a slash at its end.
    pub(crate) prefix: Vec<u8>,
    /// How it names objects.
    pub(crate) format: ObjectFormat,
}

impl Repository {
    /// The repository of this folder.
    pub(crate) fn of(workspace: &Path) -> Result<Self, Failure> {
        let asked = [
            "rev-parse",
            "--is-inside-work-tree",
            "--show-object-format",
            "--show-prefix",
        ];
        let said = run(command(workspace).args(asked))?;
        // The prefix comes last: it may hold a line's end itself.
        let mut lines = said.splitn(3, |byte| *byte == b'\n');
        let (tree, format, prefix) = (lines.next(), lines.next(), lines.next());
        if tree != Some(b"true") {
            return Err(Failure::new("the workspace is no working tree of git"));
        }
        let prefix = prefix.unwrap_or_default();
        Ok(Self {
            workspace: workspace.to_owned(),
            prefix: prefix.strip_suffix(b"\n").unwrap_or(prefix).to_vec(),
            format: match format {
                Some(b"sha256") => ObjectFormat::Sha256,
                _ => ObjectFormat::Sha1,
            },
        })
    }

    /// A git command in the workspace.
    pub(crate) fn command(&self) -> Command {
        command(&self.workspace)
    }

    /// The name of no object.
    pub(crate) fn no_object(&self) -> String {
        "0".repeat(match self.format {
            ObjectFormat::Sha1 => 40,
            ObjectFormat::Sha256 => 64,
        })
    }

    /// A path of the workspace, from the top of the repository.
    pub(crate) fn path(&self, path: &Path) -> Vec<u8> {
        [&self.prefix, path.as_os_str().as_bytes()].concat()
    }

    /// What git keeps of a path: the index if it is there, else the last commit. Nothing if it is not tracked.
    pub(crate) fn kept(&self, path: &Path) -> Option<(&'static str, Vec<u8>)> {
        [("the index", &b":"[..]), ("HEAD", b"HEAD:")]
            .into_iter()
            .find_map(|(place, prefix)| {
                let name = OsString::from_vec([prefix, &self.path(path)].concat());
                Some((place, self.blob(&name)?))
            })
    }

    fn blob(&self, name: &OsStr) -> Option<Vec<u8>> {
        let mut git = self.command();
        git.args(["cat-file", "blob"]).arg(name);
        let mut child = quiet(&mut git).spawn().ok()?;
        let mut bytes = Vec::new();
        let read = child
            .stdout
            .take()?
            .take(LARGEST_TEXT)
            .read_to_end(&mut bytes);
        // The rest of one that is longer is not waited for: git ends when its pipe is closed.
        let ended = child.wait().ok()?;
        (read.is_ok() && ended.success()).then_some(bytes)
    }
}

/// Runs a git command and yields what it printed.
pub(crate) fn run(git: &mut Command) -> Result<Vec<u8>, Failure> {
    let Output {
        status,
        stdout,
        stderr,
    } = quiet(git)
        .stderr(Stdio::piped())
        .output()
        .map_err(not_started)?;
    if status.success() {
        return Ok(stdout);
    }
    Err(failed(git, &stderr))
}

/// What a failed git command said.
pub(crate) fn failed(git: &Command, stderr: &[u8]) -> Failure {
    let name = git
        .get_args()
        .find(|a| is_subcommand(a))
        .unwrap_or_default();
    let lines = stderr.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty()).map(harmless_bytes);
    let said = lines.collect::<Vec<_>>().join("; ");
    Failure::new(format!("git {}: {said}", name.display()))
}

/// git itself could not be run.
pub(crate) fn not_started(error: io::Error) -> Failure {
    Failure::new(format!("run git: {error}")).hint("install git, or do without --branch")
}

fn is_subcommand(argument: &OsStr) -> bool {
    let text = argument.as_bytes();
    !text.starts_with(b"-") && !text.contains(&b'=')
}

fn command(workspace: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("--no-replace-objects");
    git.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
    git.current_dir(workspace).env_clear();
    // Who the person is comes from their own settings; `GIT_…` would lead to another repository.
    for name in ["HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME"] {
        if let Some(value) = std::env::var_os(name) {
            git.env(name, value);
        }
    }
    git.env("PATH", absolute_path());
    git.env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C");
    git
}

/// Where programs are looked for, without what depends on the folder git is started in: that is the workspace.
fn absolute_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    std::env::join_paths(folders).unwrap_or_default()
}

fn quiet(git: &mut Command) -> &mut Command {
    git.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
}
