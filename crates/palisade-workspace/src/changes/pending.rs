//! An overlay that no session uses any more, opened.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::ours::Ours;
use super::read::Reader;
use super::upper::Upper;
use super::{Change, ChangeSet, Moment};

/// Made just before the overlay was mounted: the start of the session, by the kernel's clock.
const MARKER: &str = "began";

/// Whose the files of a session that root started are inside an upper, and on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// User and group in the upper: the ids that stand for the agent.
    pub from: (u32, u32),
    /// User and group on the host: the workspace's owner.
    pub to: (u32, u32),
}

/// The changes of a session could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {cause}", path = .path.display())]
pub struct ChangesError {
    /// What was tried.
    pub operation: &'static str,
    /// With what.
    pub path: PathBuf,
    /// Why not.
    pub cause: io::Error,
}

impl ChangesError {
    pub(crate) fn new(operation: &'static str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self {
            operation,
            path: path.to_path_buf(),
            cause: cause.into(),
        }
    }
}

/// The two sides of an overlay, opened. Nothing of the session may live any more: that is the caller's to know.
#[derive(Debug)]
pub struct Pending {
    pub(crate) workspace: Beneath,
    pub(crate) upper: Upper,
    pub(crate) folder: PathBuf,
    pub(crate) began: Moment,
    pub(crate) owners: Option<Owners>,
}

impl Pending {
    /// Opens the changes of a session: `folder` holds `upper` and the marker `began`.
    ///
    /// # Errors
    /// One of them, or the workspace, is missing or cannot be opened.
    pub fn open(
        workspace: &Path,
        folder: &Path,
        owners: Option<Owners>,
    ) -> Result<Self, ChangesError> {
        let marker = folder.join(MARKER);
        let began = rustix::fs::statat(CWD, &marker, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|cause| ChangesError::new("read", &marker, cause))?;
        let open = |cause| ChangesError::new("open", workspace, cause);
        Ok(Self {
            workspace: Beneath::open(workspace).map_err(open)?,
            upper: Upper::open(folder).map_err(|cause| ChangesError::new("open", folder, cause))?,
            folder: folder.to_path_buf(),
            began: Moment::changed(&began),
            owners,
        })
    }

    /// Reads all that differs. Contents are compared, so what was only touched, or made again the same, is no change.
    ///
    /// # Errors
    /// The workspace or the upper cannot be read, or holds more than a million changes.
    pub fn read(&self) -> Result<ChangeSet, ChangesError> {
        let ours = Ours::read(&self.folder)
            .map_err(|cause| ChangesError::new("read", &self.folder, cause))?;
        Reader::new(self, &ours).read()
    }

    /// Opens the contents of a regular file as it is on the host.
    ///
    /// # Errors
    /// It is none any more, or cannot be opened.
    pub fn open_before(&self, change: &Change) -> Result<File, ChangesError> {
        self.contents(change, self.workspace.file(&change.path))
    }

    /// Opens the contents of a regular file as the session left it.
    ///
    /// # Errors
    /// It is none, or cannot be opened.
    pub fn open_after(&self, change: &Change) -> Result<File, ChangesError> {
        self.contents(change, self.upper.file(&change.path))
    }

    fn contents(
        &self,
        change: &Change,
        opened: Result<OwnedFd, Errno>,
    ) -> Result<File, ChangesError> {
        let path = self.workspace.path().join(&change.path);
        let file = opened.map_err(|cause| ChangesError::new("open", &path, cause))?;
        Ok(File::from(file))
    }
}
