//! The file tree of the inside, as data. Every backend builds the same list.

use std::path::PathBuf;

/// How a bound path may be used inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeAccess {
    /// Nothing can be changed.
    Read,
    /// Changes land on the host at once.
    Write,
}

/// Who owns a bound tree's files inside, when the session is run by root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As on the host. A file that only root can read stays unreadable.
    Host,
    /// The agent owns what the bound path's owner owns on the host (an id-mapped mount). Without root nothing changes.
    Agent,
}

/// Where the changes made through an overlay live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// In a folder of the host that outlives the session. It holds two folders of the agent's: `upper`, for what was
    /// changed, and `work`, for the kernel's own use.
    Kept(PathBuf),
    /// In memory, gone with the session.
    Memory {
        /// How many bytes at most. `None` leaves it to the backend.
        size: Option<u64>,
    },
}

/// One step of building the tree, in order; parents come before children, a later entry may cover an earlier one.
/// Every path is absolute. Missing parent directories of a target on the tmpfs root are made on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeEntry {
    /// An empty directory on the read-only root.
    Dir {
        /// Where, inside.
        path: PathBuf,
    },
    /// A host path shown inside. Directories are shown with all mounts below them.
    Bind {
        /// The path on the host, links resolved.
        source: PathBuf,
        /// Where, inside.
        target: PathBuf,
        /// How it may be used.
        access: TreeAccess,
        /// Whose it is.
        ownership: Ownership,
    },
    /// A host folder shown inside, whose changes land elsewhere. Mounts below it cannot be shown: a backend refuses them.
    Overlay {
        /// The folder on the host, links resolved.
        source: PathBuf,
        /// Where, inside.
        target: PathBuf,
        /// Where what is changed goes.
        changes: Changes,
        /// Whose it is.
        ownership: Ownership,
    },
    /// A path that is hidden: a file reads as empty, a folder is empty. It cannot be written, renamed, removed or replaced,
    /// neither can it be seen under another name of the same place. No link is followed on the way to it, and where nothing
    /// is there it says nothing. After all that it lies in.
    Mask {
        /// Where, inside.
        path: PathBuf,
        /// Whether it is a folder. A backend makes good for what changed its kind since.
        directory: bool,
    },
    /// A writable file system of its own in memory, gone with the session.
    Tmpfs {
        /// Where, inside.
        path: PathBuf,
        /// How many bytes it holds at most. `None` leaves it to the backend.
        size: Option<u64>,
        /// Whether programs on it can be run.
        exec: bool,
    },
    /// A symbolic link on the read-only root.
    Symlink {
        /// Where, inside.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A file whose content is made up, read-only, readable by all.
    File {
        /// Where, inside.
        path: PathBuf,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// An empty writable directory in memory, gone with the session.
    Scratch {
        /// Where, inside.
        path: PathBuf,
        /// Permission bits, such as 0o1777 for `/tmp`.
        mode: u32,
    },
    /// `/proc` of the inside's own process namespace, with the paths that tell of or change the host masked.
    Proc,
    /// A minimal `/dev`: null, zero, full, random, urandom, tty, its own pts and shm, the usual links.
    Dev,
}
