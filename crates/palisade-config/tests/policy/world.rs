//! A home, a project and a settings folder of their own for each test.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_config::{Effective, Options, PolicyError, Surroundings, load};
use palisade_policy::{Decision, Host, Request};

pub struct World {
    _dir: tempfile::TempDir,
    pub root: PathBuf,
    pub options: Options,
}

impl World {
    pub fn new() -> Self {
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

    pub fn home(&self) -> PathBuf {
        self.root.join("home/ada")
    }

    pub fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// Writes a file at a path relative to the home folder.
    pub fn put(&self, path: &str, content: &str) -> PathBuf {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn user_policy(&self, content: &str) {
        self.put(".config/palisade/policy.toml", content);
    }

    pub fn workspace_policy(&self, content: &str) {
        self.put("project/palisade.toml", content);
    }

    pub fn around(&self) -> Surroundings {
        Surroundings {
            home: self.home(),
            current_dir: self.project(),
            config_dir: self.home().join(".config"),
            backends: &["native", "container"],
        }
    }

    pub fn load(&self) -> Result<Effective, PolicyError> {
        load(&self.options, &self.around())
    }

    pub fn effective(&self) -> Effective {
        self.load().unwrap()
    }

    /// The rendered error, with the root of this world shortened.
    pub fn error(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(self.root.to_str().unwrap(), "")
    }

    /// The error of a user policy with this text after its version line.
    pub fn error_of(body: &str) -> String {
        let world = Self::new();
        world.user_policy(&format!("version = 1\n{body}"));
        world.error()
    }
}

pub fn permits(policy: &Effective, host: &str, port: u16) -> bool {
    let host = Host::parse(host.as_bytes()).unwrap();
    matches!(
        policy.network.decide(&Request::new(&host, port)),
        Decision::Permit(_)
    )
}

/// Whether any path of a plan ends this way.
pub fn path_ends(path: &Path, end: &str) -> bool {
    path.ends_with(end)
}
