//! What a session has changed in its workspace, and has not been decided yet.
//!
//! In a session with review the workspace inside is an overlay: the host's folder below, and the session's *upper* above
//! it, which gets all that is written. [`ChangeSet`] is the difference between the two, read when nothing of the session
//! lives any more.
//!
//! The agent chose every name, link, mode and byte in the upper, so nothing there is followed or believed; and people
//! work in the workspace meanwhile, so each side carries the identity it had when it was read.
//!
//! What cannot be seen in an upper, measured on Linux 6.18
//! * Names of one file of the workspace: writing to one in a session tears it from the others, which keep the old contents.
//!   (`index=on` would keep them together, but in a user namespace the kernel turns it off in silence.)
//! * A file that the host removed and the session wrote anew under the same name, or a folder of the host that another,
//!   older one was moved over. What is in such a folder is compared as it is now.
//! * Times, permission bits and attributes of the workspace's root, times of folders that both sides have, and attributes
//!   of folders. They do not land.

pub(crate) mod beneath;
pub(crate) mod ours;
mod pending;
mod read;
pub(crate) mod record;
pub(crate) mod sides;
pub(crate) mod upper;

use std::path::{Path, PathBuf};

pub use pending::{ChangesError, Owners, Pending};

/// All pending changes of a session, in the order of their paths: a folder comes before what is in it.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    changes: Vec<Change>,
    refused: Vec<Refused>,
    /// Files of the upper with several names, one of which is as on the host.
    unchanged_groups: Vec<(u64, PathBuf)>,
}

/// One path that is not the same on the host and in the session.
///
/// A folder that was removed is one change, and so is each path that was below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the workspace's root, raw bytes, no `.` or `..`, never empty.
    pub path: PathBuf,
    /// What it is to people. Fixed by the reader, which has compared contents.
    pub kind: ChangeKind,
    /// On the host, now.
    pub before: Option<Side>,
    /// In the session.
    pub after: Option<Side>,
    /// Why applying would overwrite somebody's work on the host.
    pub conflict: Option<Conflict>,
    /// What of the session's side does not land, unless it is asked for.
    pub dropped: Dropped,
}

/// What a change is to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Nothing is there on the host.
    Added,
    /// Other contents, or another target of a link.
    Changed,
    /// It is gone in the session.
    Removed,
    /// Same contents, other permission bits.
    Mode,
    /// Same contents, other extended attributes (`user.*`), and maybe permission bits.
    Attributes,
    /// A file where a folder was, a link where a file was, and so on.
    Type,
}

/// A path on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub kind: SideKind,
    /// The twelve permission bits, as they are there (see [`Change::dropped`]).
    pub mode: u32,
    /// In bytes; 0 but for files.
    pub size: u64,
    /// Last change of the contents.
    pub modified: Moment,
    /// Files of one side with the same number are one file with several names.
    pub link_group: Option<u64>,
    /// What tells whether it is still the same.
    pub identity: Identity,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link, with its target.
    Symlink(PathBuf),
    /// A pipe, socket or device. Only before: one that the session made is [`Refused`].
    Special,
}

/// A time of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Since 1970.
    pub seconds: i64,
    /// Below a second.
    pub nanoseconds: u32,
}

/// What the kernel says of a path, to see later whether it is still the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The number of the inode.
    pub inode: u64,
    /// Its `ctime`: no program can set it.
    pub changed: Moment,
    /// How many names it has.
    pub links: u64,
}

/// Somebody's work on the host that applying a change would overwrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Conflict {
    /// Written, replaced, or made since the session began.
    #[error("it changed on the host since the session began")]
    Changed,
    /// The session changed it, and on the host it was removed.
    #[error("it was removed on the host since the session began")]
    Removed,
}

/// What does not land of a path that lands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// The set-user-ID bit.
    pub set_user_id: bool,
    /// The set-group-ID bit. A folder keeps the one it has, or gets from its parent.
    pub set_group_id: bool,
    /// The sticky bit.
    pub sticky: bool,
    /// File capabilities. They never land.
    pub capabilities: bool,
}

impl Dropped {
    /// Whether anything is dropped.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// A path in the session that cannot become a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// From the workspace's root.
    pub path: PathBuf,
    /// Why.
    pub reason: Refusal,
}

/// Why a path cannot become a change. Each is a sentence about the path, to be put behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A pipe, socket or device that the session made.
    #[error("is a {0}")]
    Special(&'static str),
    /// No system call takes a path of this length.
    #[error("has a path longer than 4,095 bytes")]
    TooLong,
    /// Another file system is mounted there on the host.
    #[error("is on another file system than the workspace")]
    OtherFileSystem,
    /// The host, or the upper, does not let us look.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

impl ChangeSet {
    /// A change set of these, in any order.
    pub fn new(mut changes: Vec<Change>, mut refused: Vec<Refused>) -> Self {
        changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        refused.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Self {
            changes,
            refused,
            unchanged_groups: Vec::new(),
        }
    }

    pub(crate) fn with_unchanged_groups(mut self, groups: Vec<(u64, PathBuf)>) -> Self {
        self.unchanged_groups = groups;
        self
    }

    pub(crate) fn unchanged_groups(&self) -> impl Iterator<Item = (u64, &Path)> {
        let groups = self.unchanged_groups.iter();
        groups.map(|(group, path)| (*group, path.as_path()))
    }

    /// The changes, in the order of their paths.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What the session made and cannot land.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refused.is_empty()
    }

    /// The change of a path.
    pub fn get(&self, path: &Path) -> Option<&Change> {
        let found = self
            .changes
            .binary_search_by(|change| change.path.as_path().cmp(path));
        found.ok().map(|index| &self.changes[index])
    }

    /// The changes at a path and below it. The empty path is the workspace.
    pub fn at_or_below(&self, path: &Path) -> &[Change] {
        let start = self
            .changes
            .partition_point(|change| change.path.as_path() < path);
        let rest = &self.changes[start..];
        let count = rest.partition_point(|change| change.path.starts_with(path));
        &rest[..count]
    }
}

impl Change {
    /// Whether the session made a symbolic link that leads out of the workspace, which takes a yes of its own.
    ///
    /// By its text: an absolute target, more `..` than there are folders above, or a `..` behind a name (which may be a
    /// link itself). `workspace` is where the workspace lies, so that an absolute target within it is none.
    pub fn leaves_tree(&self, workspace: &Path) -> bool {
        match self.after.as_ref().map(|side| &side.kind) {
            Some(SideKind::Symlink(target)) => leaves(&self.path, target, workspace),
            _ => false,
        }
    }
}

impl Side {
    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        self.kind == SideKind::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == SideKind::File
    }
}

fn leaves(link: &Path, target: &Path, workspace: &Path) -> bool {
    use std::path::Component;

    let (rest, mut room) = match target.strip_prefix(workspace) {
        Ok(inside) => (inside, 0),
        Err(_) if target.is_absolute() => return true,
        Err(_) => (target, link.components().count().saturating_sub(1)),
    };
    let mut named = false;
    for part in rest.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if named || room == 0 => return true,
            Component::ParentDir => room -= 1,
            Component::Normal(_) => named = true,
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
pub(crate) mod tests;
