//! Landing pending changes on the host, and throwing them away.
//!
//! ```text
//!   plan ── journal, fsynced ── rights ── folders ── files: stage, sync, publish ── removals ── folders' times ── upper
//!                                                    └── in batches: a temporary file each, then renames
//! ```
//!
//! Whatever ends it (a signal, power, a full disk), each path holds its old or its new contents, and the journal in the
//! folder of the changes says what there was to do, so that [`Pending::resume`] finishes it. Nothing is overwritten that
//! is not what the change set was read from: a file is exchanged with its successor, looked at, and put back if it is
//! another one.

mod copy;
mod discard;
mod engine;
mod journal;
mod plan;
mod prune;
mod publish;
mod resume;
mod selection;
mod stage;
mod step;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::changes::{ChangeSet, ChangesError, Conflict, Pending};

pub use selection::Selection;

/// What may land that needs a yes of its own. Nothing, unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Overwrite what changed on the host.
    pub conflicts: bool,
    /// Let set-user-ID, set-group-ID and sticky bits land.
    pub special_bits: bool,
    /// Links that lead out of the workspace.
    pub leaving_links: LeavingLinks,
}

/// Which symbolic links that lead out of the workspace may land.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeavingLinks {
    /// None.
    #[default]
    None,
    /// These.
    Named(BTreeSet<PathBuf>),
    /// All that are chosen.
    All,
}

/// What an apply or a discard did.
#[derive(Debug, Default)]
pub struct Applied {
    /// What landed, or was thrown away, in the order of paths.
    pub done: Vec<PathBuf>,
    /// What was chosen and is still pending.
    pub left: Vec<Left>,
    /// What ended it early: a full disk, say. The journal is kept, and [`Pending::resume`] goes on.
    pub stopped: Option<io::Error>,
}

/// A chosen path that is still pending.
#[derive(Debug)]
pub struct Left {
    /// From the workspace's root.
    pub path: PathBuf,
    /// Why.
    pub reason: LeftReason,
}

/// Why a chosen path is still pending. Each is a sentence about the path, to be put behind it.
#[derive(Debug, thiserror::Error)]
pub enum LeftReason {
    /// Somebody's work on the host would be lost.
    #[error("{0}")]
    Conflict(Conflict),
    /// A link that leads out of the workspace, and was not named.
    #[error("it is a link that leads out of the workspace")]
    LeavesTree,
    /// What it is in could not be made.
    #[error("{} has to land first", .0.display())]
    Needs(PathBuf),
    /// A folder that holds more than was chosen to be removed.
    #[error("the folder holds what is not to be removed")]
    NotEmpty,
    /// Contents were given for what is no file.
    #[error("only a file can land in part")]
    NotFile,
    /// The upper is not what the change set was read from.
    #[error("the session's side changed since it was read")]
    Stale,
    /// The system refused.
    #[error("{0}")]
    Failed(io::Error),
    /// It was not tried any more.
    #[error("not tried, since an earlier one failed")]
    NotTried,
}

/// Applying or discarding could not be begun, or not be ended.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another process is at work on the same changes.
    #[error("another palisade applies or discards changes in {}", .0.display())]
    Busy(PathBuf),
    /// An earlier apply was cut short.
    #[error("an earlier apply of {} was cut short: resume it first", .0.display())]
    Interrupted(PathBuf),
    /// The changes could not be read.
    #[error(transparent)]
    Changes(#[from] ChangesError),
}

/// A step of an apply that has just been made, for who shows progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The plan is on disk, with this many steps.
    Planned(usize),
    /// The contents of a path wait under a temporary name.
    Staged,
    /// A path has its new contents, or is gone.
    Landed,
    /// What landed begins to leave the change set.
    Pruning,
}

impl Pending {
    /// Lands what is chosen of the changes. Folders that they need are made; what it cannot land is left, with the reason.
    ///
    /// # Errors
    /// Nothing was done: another apply is at work or was cut short, or the journal could not be written.
    pub fn apply(
        &self,
        set: &ChangeSet,
        selection: &Selection<'_>,
        allow: &Allow,
    ) -> Result<Applied, ApplyError> {
        self.apply_with(set, selection, allow, &mut |_| {})
    }

    /// The same, and tells of each step.
    ///
    /// # Errors
    /// As [`Pending::apply`].
    pub fn apply_with(
        &self,
        set: &ChangeSet,
        selection: &Selection<'_>,
        allow: &Allow,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, ApplyError> {
        let _lock = self.exclusive()?;
        if self.interrupted() {
            return Err(ApplyError::Interrupted(self.folder.clone()));
        }
        engine::apply(self, set, selection, allow, progress)
    }

    /// Whether an apply was cut short.
    pub fn interrupted(&self) -> bool {
        journal::exists(&self.folder)
    }

    /// Finishes an apply that was cut short. Nothing to finish is no error.
    ///
    /// # Errors
    /// Another apply is at work, or the journal or the changes cannot be read.
    pub fn resume(&self) -> Result<Applied, ApplyError> {
        let _lock = self.exclusive()?;
        resume::resume(self, resume::Rest::Do)
    }

    /// Ends an apply that was cut short as far as it came: what landed stays, the rest stays pending.
    ///
    /// # Errors
    /// As [`Pending::resume`].
    pub fn give_up(&self) -> Result<Applied, ApplyError> {
        let _lock = self.exclusive()?;
        resume::resume(self, resume::Rest::Leave)
    }

    /// Throws away what is chosen of the changes. The workspace is not touched.
    ///
    /// # Errors
    /// Another apply is at work or was cut short, or the upper cannot be changed.
    pub fn discard(
        &self,
        set: &ChangeSet,
        selection: &Selection<'_>,
    ) -> Result<Applied, ApplyError> {
        let _lock = self.exclusive()?;
        if self.interrupted() {
            return Err(ApplyError::Interrupted(self.folder.clone()));
        }
        discard::discard(self, set, selection)
    }

    /// Throws everything away, whether it can be read or not: a session may have made more than can be shown.
    ///
    /// # Errors
    /// As [`Pending::discard`].
    pub fn discard_all(&self) -> Result<(), ApplyError> {
        let _lock = self.exclusive()?;
        if self.interrupted() {
            return Err(ApplyError::Interrupted(self.folder.clone()));
        }
        Ok(discard::everything(self)?)
    }

    /// Keeps every other apply and discard of these changes out while the file is open.
    fn exclusive(&self) -> Result<File, ApplyError> {
        let path = self.folder.join("lock");
        let failed = |cause: io::Error| ChangesError::new("lock", &path, cause);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(ApplyError::Busy(self.folder.clone())),
            Err(error) => Err(failed(error.into()).into()),
        }
    }
}

impl Allow {
    fn permits_link(&self, path: &Path) -> bool {
        match &self.leaving_links {
            LeavingLinks::None => false,
            LeavingLinks::Named(paths) => paths.contains(path),
            LeavingLinks::All => true,
        }
    }
}

#[cfg(test)]
mod tests;
