//! A home, a project and a settings folder of their own for each test.

use std::fs;
use std::path::PathBuf;

use palisade_config::{Effective, Options, PolicyError, Surroundings, load};
use palisade_policy::{Decision, Host, HttpKind, HttpRequest, Request, RequestPath};
use palisade_workspace::Kept;

pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["home/ada/.config/palisade", "home/ada/project", "etc"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self {
            _dir: dir,
            root,
            options: Options::default(),
        }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home/ada")
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// Writes a file at a path relative to the home folder.
    pub(crate) fn put(&self, path: &str, content: &str) -> PathBuf {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn user_policy(&self, content: &str) {
        self.put(".config/palisade/policy.toml", content);
    }

    pub(crate) fn workspace_policy(&self, content: &str) {
        self.put("project/palisade.toml", content);
    }

    pub(crate) fn kept(&self) -> Kept {
        Kept {
            changes: self.root.join("state/changes"),
            volumes: self.root.join("state/volumes"),
            masks: self.root.join("state/masks"),
        }
    }

    pub(crate) fn around(&self) -> Surroundings {
        Surroundings {
            home: self.home(),
            current_dir: self.project(),
            config_dir: self.home().join(".config"),
            backends: &["native", "container"],
        }
    }

    pub(crate) fn load(&self) -> Result<Effective, PolicyError> {
        load(&self.options, &self.around())
    }

    pub(crate) fn effective(&self) -> Effective {
        self.load().unwrap()
    }

    /// The rendered error, with the root of this world shortened.
    pub(crate) fn error(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(self.root.to_str().unwrap(), "")
    }

    /// The error of a user policy with this text after its version line.
    pub(crate) fn error_of(body: &str) -> String {
        let world = Self::new();
        world.user_policy(&format!("version = 1\n{body}"));
        world.error()
    }
}

/// What is decided for one request that the gate sees, within TLS but on port 80.
pub(crate) fn decide(
    policy: &Effective,
    method: &str,
    host: &str,
    port: u16,
    path: &str,
) -> Decision {
    let host = Host::parse(host.as_bytes()).unwrap();
    let path = RequestPath::parse(path.as_bytes());
    let http = HttpRequest {
        method,
        path: &path,
        kind: HttpKind::Plain,
        secure: port != 80,
    };
    policy
        .network
        .decide(&Request::with_http(&host, port, http))
}

pub(crate) fn permits(policy: &Effective, host: &str, port: u16) -> bool {
    let host = Host::parse(host.as_bytes()).unwrap();
    matches!(
        policy.network.decide(&Request::new(&host, port)),
        Decision::Permit(_)
    )
}
