//! How the agent may use the workspace, and what else it may write that is not the host's.

use std::fmt;
use std::path::{Path, PathBuf};

/// How the agent may use the workspace. A later one gives more: what lands on the host, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkspaceAccess {
    /// Nothing in it can be changed.
    Read,
    /// Changes live in memory and are gone with the session.
    Scratch,
    /// Changes are kept apart until somebody applies or discards them.
    Review,
    /// Changes land at once.
    Write,
}

impl WorkspaceAccess {
    /// All of them, each giving more than the one before.
    pub const ALL: [Self; 4] = [Self::Read, Self::Scratch, Self::Review, Self::Write];

    /// Its name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Scratch => "scratch",
            Self::Review => "review",
            Self::Write => "write",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.name() == name)
    }
}

impl fmt::Display for WorkspaceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A folder that is kept between sessions, apart from the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Where, inside.
    pub path: PathBuf,
    /// What people call it. Sessions that name the same one share it.
    pub name: VolumeName,
}

/// The name of a volume: safe in a path and in a shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(String);

impl VolumeName {
    /// Longest name.
    const MOST_BYTES: usize = 64;

    /// Takes letters, digits, `-`, `_` and `.`, the first a letter or digit: no name leads out of the folder that holds
    /// them all, and none is hidden there.
    pub fn parse(text: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let first = text.bytes().next()?.is_ascii_alphanumeric();
        (first && text.len() <= Self::MOST_BYTES && text.bytes().all(fine))
            .then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file system of its own in memory, gone with the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where, inside.
    pub path: PathBuf,
    /// How many bytes at most. `None` leaves it to the backend: what the session may have of the memory, or half of
    /// the machine's.
    pub size: Option<u64>,
    /// Whether programs on it can be run.
    pub exec: bool,
}

/// Folders of palisade's own on the host, for what outlives a session. Links resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// For the changes of this session's workspace: it holds `upper` and `work`.
    pub changes: PathBuf,
    /// For all volumes.
    pub volumes: PathBuf,
    /// For what is known of secrets in what is shown.
    pub masks: PathBuf,
}

impl Kept {
    /// What a volume holds. Beside it there is room for what is known of it.
    pub fn volume(&self, name: &VolumeName) -> PathBuf {
        volume_folder(&self.volumes, name).join("data")
    }
}

/// Everything of one volume.
pub fn volume_folder(volumes: &Path, name: &VolumeName) -> PathBuf {
    volumes.join(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_access_is_found_by_its_name_and_gives_more_than_the_one_before() {
        for access in WorkspaceAccess::ALL {
            assert_eq!(WorkspaceAccess::of_name(access.name()), Some(access));
        }
        assert!(WorkspaceAccess::ALL.is_sorted());
        assert_eq!(WorkspaceAccess::of_name("Write"), None);
    }

    #[test]
    fn the_name_of_a_volume_leads_nowhere_else() {
        for good in ["pip", "a", "0", "a.b-c_D"] {
            assert!(VolumeName::parse(good).is_some(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", "../x", "a/b", "-a", ".a", "a b", "a\0", "\u{e4}", &long,
        ] {
            assert_eq!(VolumeName::parse(bad), None, "{bad:?}");
        }
    }
}
