//! What the command line asks for, and where the person stands.

use std::ffi::OsString;
use std::path::PathBuf;

use palisade_workspace::WorkspaceAccess;

/// What the command line says about the policy.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--policy FILE`.
    pub policy: Option<PathBuf>,
    /// `--profile NAME`, each.
    pub profiles: Vec<String>,
    /// `--workspace DIR`.
    pub workspace: Option<PathBuf>,
    /// `--access read|scratch|review|write`.
    pub access: Option<WorkspaceAccess>,
    /// `--allow HOST[:PORT]`, each.
    pub allow: Vec<String>,
    /// `--env NAME[=VALUE]`, each.
    pub env: Vec<String>,
    /// `--boundary NAME`.
    pub boundary: Option<String>,
    /// `--accept-weaker NAME`, each.
    pub accept_weaker: Vec<String>,
    /// The agent's program, as typed: it may be one palisade knows.
    pub program: Option<OsString>,
}

/// What the library may not look up by itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The person's home folder, absolute.
    pub home: PathBuf,
    /// The current directory, absolute.
    pub current_dir: PathBuf,
    /// The folder of the person's settings (`$XDG_CONFIG_HOME` or `~/.config`), absolute.
    pub config_dir: PathBuf,
    /// The backends this palisade has, for a check of `boundary.backend` and `--boundary`.
    pub backends: &'static [&'static str],
}

impl Surroundings {
    /// The person's own policy file, used where no `--policy` is given.
    pub fn user_policy(&self) -> PathBuf {
        self.config_dir.join("palisade").join("policy.toml")
    }
}
