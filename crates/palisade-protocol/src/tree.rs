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
