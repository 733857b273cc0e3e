//! The file tree as the steps the child takes.

mod compile;
mod fixed;
mod host;
mod layers;
mod mounts;

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use palisade_guest::agent::Writable;

pub(crate) use compile::compile;
pub(crate) use host::{Opener, open_tree as open_host_tree};

/// Where made-up files that are shown elsewhere lie while the tree is built, below the new root.
pub(crate) const HIDDEN: &str = ".palisade";

/// What masks are copies of, below it.
pub(crate) const EMPTY_FILE: &CStr = c".palisade/file";
pub(crate) const EMPTY_DIRECTORY: &CStr = c".palisade/directory";

/// The whole tree.
#[derive(Debug)]
pub(crate) struct TreePlan {
    /// Size of the file system in memory, as its mount option takes it.
    pub(crate) memory: CString,
    pub(crate) steps: Vec<Step>,
    /// What masks are copies of, where there are any. Their names stay where more may be wanted later.
    pub(crate) empties: Option<Empties>,
    pub(crate) late_masks: bool,
    /// What to remove from [`HIDDEN`] once it is shown where it belongs.
    pub(crate) hidden: Vec<CString>,
    /// Where the agent may write.
    pub(crate) writable: Vec<Writable>,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) struct Step {
    /// The entry of the spec's tree it comes from, for error messages.
    pub(crate) entry: u32,
    pub(crate) action: Action,
}

/// Paths without a leading slash are below the new root.
#[derive(Debug)]
pub(crate) enum Action {
    /// A directory on the new root. One that is there already gets these permission bits.
    Directory { path: CString, mode: u32 },
    /// An empty file on the new root, to mount on.
    Placeholder { path: CString },
    /// A file on the new root.
    Write { path: CString, content: Vec<u8> },
    /// A symbolic link on the new root.
    Link { path: CString, target: CString },
    /// Shows something at a place.
    Attach { source: Source, target: Target },
    /// Lays something empty over a path, if it is there: not every kernel has every file of `/proc`, and a file of the
    /// host may be gone since.
    Mask { path: CString, directory: bool },
    /// Makes what masks are copies of, read-only: a copy has its attributes at once.
    Empties,
    /// A file system of its own in memory.
    Memory { memory: Memory, target: Target },
    /// An overlay of what earlier steps have shown.
    Overlay(Overlay),
    /// Makes a path read-only, if it is there.
    Protect { path: CString },
    /// A fresh `/proc`.
    Proc { target: CString },
    /// A fresh set of pseudo terminals.
    Terminals { target: CString },
}

/// What masks are copies of: an empty file and an empty directory.
#[derive(Clone, Debug)]
pub(crate) struct Empties {
    pub(crate) file: CString,
    pub(crate) directory: CString,
}

/// A file system in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Its size, as the mount option takes it.
    pub(crate) size: CString,
    pub(crate) exec: bool,
}

/// A host directory whose changes land elsewhere. What it is made of is shown below [`HIDDEN`] before: those names are ours,
/// so that none has a character that the kernel's list of layers gives a meaning.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(crate) target: Target,
    /// Whether the directories for changes have yet to be made.
    pub(crate) empty: bool,
    pub(crate) lower: CString,
    /// Where upper and work lie: they have to be on one mount.
    pub(crate) changes: CString,
    pub(crate) upper: CString,
    pub(crate) work: CString,
}

/// What is shown.
#[derive(Debug)]
pub(crate) enum Source {
    /// A host path with all below it, opened inside with the caller's rights.
    Host { path: CString, read_only: bool },
    /// A host device file.
    Device { path: CString },
    /// A host tree, opened and prepared by the supervisor.
    Tree(OwnedFd),
    /// A path below the new root.
    Inside { path: CString, read_only: bool },
}

/// Where it is shown.
#[derive(Debug)]
pub(crate) enum Target {
    /// A place on the new root's own file system: no link can lead away from it.
    Own(CString),
    /// A place within something that is shown: links are taken as inside, and it must exist.
    Shown(CString),
}

impl TreePlan {
    /// The descriptors the steps refer to.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Attach {
                source: Source::Tree(fd),
                ..
            } => Some(fd),
            _ => None,
        })
    }
}
