//! The options that `run`, `plan`, `check` and `explain` share: which policy is meant.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::ValueEnum;
use palisade_config::{Effective, Options};
use palisade_workspace::WorkspaceAccess;

use crate::backends;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Which policy is meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyOptions {
    /// The policy file [default: palisade/policy.toml in your config folder].
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Add a built-in profile: claude-code, node, python, rust, git, anthropic-api-key, anthropic-oauth-token, github.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// The boundary: native, container or gvisor.
    #[arg(long, value_name = "NAME")]
    pub(crate) boundary: Option<String>,
    /// Start although this boundary holds a control less well than its words say, such as limits.memory (palisade plan).
    #[arg(long, value_name = "CONTROL")]
    pub(crate) accept_weaker: Vec<String>,
    /// The project folder [default: the current directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// How the project folder may be used.
    #[arg(long, value_name = "ACCESS")]
    pub(crate) access: Option<Access>,
    /// Allow a host, on ports 80 and 443 or on this one.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) allow: Vec<String>,
    /// Pass a variable, or set it.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
}

/// `--access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Access {
    /// Nothing in it can be changed.
    Read,
    /// Changes live in memory and are gone with the session.
    Scratch,
    /// Changes are kept apart until you apply them (palisade review).
    Review,
    /// Changes land at once.
    Write,
}

impl PolicyOptions {
    /// As the configuration takes them.
    pub(crate) fn options(&self, program: Option<&OsStr>) -> Options {
        Options {
            policy: self.policy.clone(),
            profiles: self.profile.clone(),
            workspace: self.workspace.clone(),
            access: self.access.map(|access| match access {
                Access::Read => WorkspaceAccess::Read,
                Access::Scratch => WorkspaceAccess::Scratch,
                Access::Review => WorkspaceAccess::Review,
                Access::Write => WorkspaceAccess::Write,
            }),
            allow: self.allow.clone(),
            env: self.env.clone(),
            boundary: self.boundary.clone(),
            accept_weaker: self.accept_weaker.clone(),
            program: program.map(Into::into),
        }
    }
}

impl PolicyOptions {
    /// The same options as words of a command line, good in any folder.
    pub(crate) fn words(&self, here: &Surroundings) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut add = |name: &str, value: &OsStr| {
            let mut word = OsString::from(format!("--{name}="));
            word.push(value);
            words.push(word);
        };
        if let Some(policy) = &self.policy {
            add("policy", here.current_dir.join(policy).as_os_str());
        }
        if let Some(workspace) = &self.workspace {
            add("workspace", here.current_dir.join(workspace).as_os_str());
        }
        if let Some(access) = self.access.and_then(|access| access.to_possible_value()) {
            add("access", access.get_name().as_ref());
        }
        let lists = [
            ("profile", &self.profile),
            ("accept-weaker", &self.accept_weaker),
            ("allow", &self.allow),
            ("env", &self.env),
        ];
        for (name, values) in lists {
            values.iter().for_each(|value| add(name, value.as_ref()));
        }
        if let Some(boundary) = &self.boundary {
            add("boundary", boundary.as_ref());
        }
        words
    }
}

/// Loads the policy that is meant.
pub(crate) fn load(
    options: &PolicyOptions,
    here: &Surroundings,
    program: Option<&OsStr>,
) -> Result<Effective, Failure> {
    let around = palisade_config::Surroundings {
        home: here.home.clone(),
        current_dir: here.current_dir.clone(),
        config_dir: here.config_dir.clone(),
        backends: &backends::NAMES,
    };
    palisade_config::load(&options.options(program), &around).map_err(Failure::new)
}

/// The arguments of a command as they were typed, but for those that are its own: a session that it starts takes the rest.
pub(crate) fn as_typed(command: &str, own: &[&str]) -> Vec<OsString> {
    let typed = std::env::args_os().skip_while(|argument| argument != command);
    let mut rest: Vec<OsString> = typed.skip(1).collect();
    rest.retain(|argument| own.iter().all(|own| argument != own));
    rest
}
