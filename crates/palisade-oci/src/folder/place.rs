//! Where things lie in a session's folder, whether it is there or not.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The name of what lies in place of `/sys`.
pub(super) const SYSTEM: &str = "sys";

/// A session's folder by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) path: PathBuf,
    pub(super) name: String,
}

impl Place {
    /// One that is the same for each session of this workspace that is served from `base`, whose links are resolved.
    pub fn of_workspace(base: &Path, workspace: &Path) -> Self {
        let mut digest = Sha256::new();
        for path in [base, workspace] {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update([0]);
        }
        let name = digest.finalize();
        let name = name.iter().take(8).map(|byte| format!("{byte:02x}"));
        Self::new(base, name.collect())
    }

    pub(super) fn new(base: &Path, name: String) -> Self {
        let path = base.join(&name);
        Self { path, name }
    }

    /// A number that goes with it: another place has another, as far as 32 bits can tell.
    pub fn number(&self) -> u32 {
        let first = self.name.get(..8).unwrap_or_default();
        u32::from_str_radix(first, 16).unwrap_or_default()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, which no other has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies.
    pub(crate) fn base(&self) -> PathBuf {
        self.path
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    }

    /// An empty file or folder.
    pub(crate) fn empty(&self, directory: bool) -> PathBuf {
        self.inside()
            .join(if directory { "folder" } else { "file" })
    }

    /// What lies in place of `/sys`.
    pub(crate) fn system(&self) -> PathBuf {
        self.path.join(SYSTEM)
    }

    /// The folder that is shown inside.
    pub(crate) fn inside(&self) -> PathBuf {
        self.path.join("inside")
    }

    /// The folder of the container that masks what comes later.
    pub(crate) fn hand(&self) -> PathBuf {
        self.path.join("hand")
    }

    /// The folder of the container that removes what an overlay left.
    pub(crate) fn sweep(&self) -> PathBuf {
        self.path.join("sweep")
    }

    /// A file of the tree, by number.
    pub(crate) fn made(&self, number: usize) -> PathBuf {
        self.path.join("made").join(number.to_string())
    }

    /// The profile of system calls.
    pub(crate) fn profile(&self) -> PathBuf {
        self.path.join("profile.json")
    }

    /// A link to the folder of an overlay's changes, by number.
    pub(crate) fn changes(&self, number: usize) -> PathBuf {
        self.path.join(format!("changes-{number}"))
    }
}
