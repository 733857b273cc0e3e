//! What has landed, or was thrown away, leaves the upper; and so does all that never was a change.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::changes::beneath::{self, Beneath};
use crate::changes::upper::{self, Cover};
use crate::changes::{ChangeSet, ChangesError, Pending};

/// Where folders of the upper go to be emptied. What is in it is rubbish, whoever finds it.
const RUBBISH: &str = "removed";

/// Removes from the upper all but what is pending: the changes of the set that are not `gone`, and what was refused.
///
/// In a folder that hides the one below, everything stays while anything is pending: what is taken out of it would look
/// removed.
pub(super) fn prune(
    pending: &Pending,
    set: &ChangeSet,
    gone: &HashSet<&Path>,
) -> Result<(), ChangesError> {
    let changes = set.changes().iter().map(|change| change.path.as_path());
    let refused = set.refused().iter().map(|refused| refused.path.as_path());
    let mut kept: Vec<&Path> = changes
        .filter(|path| !gone.contains(path))
        .chain(refused)
        .collect();
    kept.sort_unstable();
    let rubbish = Rubbish::open(&pending.folder)?;
    let mut folders = vec![PathBuf::new()];
    while let Some(path) = folders.pop() {
        prune_folder(pending, &kept, &rubbish, &path, &mut folders).map_err(|cause| {
            ChangesError::new("remove from", &upper_path(pending, &path), cause)
        })?;
    }
    rubbish.close()
}

fn prune_folder(
    pending: &Pending,
    kept: &[&Path],
    rubbish: &Rubbish,
    path: &Path,
    folders: &mut Vec<PathBuf>,
) -> Result<(), Errno> {
    let folder = pending.upper.directory(path)?;
    if upper::cover(folder.as_fd())? == Cover::Opaque && !path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut writable = false;
    for name in beneath::names(folder.as_fd())? {
        let inner = path.join(&name);
        if is_kept(kept, &inner) {
            let stat = beneath::look(folder.as_fd(), &name)?;
            // One with a longer path than fits was refused, and stays.
            if beneath::fits(&inner) && stat.is_some_and(|stat| beneath::kind(&stat).is_dir()) {
                folders.push(inner);
            }
            continue;
        }
        if !writable {
            pending.upper.writable(path)?;
            writable = true;
        }
        rubbish.remove(folder.as_fd(), &name)?;
    }
    Ok(())
}

/// Whether anything at a path or below it is kept.
fn is_kept(kept: &[&Path], path: &Path) -> bool {
    let at = kept.partition_point(|one| *one < path);
    kept.get(at).is_some_and(|one| one.starts_with(path))
}

fn upper_path(pending: &Pending, path: &Path) -> PathBuf {
    pending.upper.tree.path().join(path)
}

/// Removes whole folders, however deep: each is moved to a flat place first, so one path never gets longer than two names.
pub(super) struct Rubbish {
    folder: Beneath,
    next: std::cell::Cell<u64>,
}

impl Rubbish {
    /// Makes the place, and empties what an earlier one left.
    pub(super) fn open(folder: &Path) -> Result<Self, ChangesError> {
        let path = folder.join(RUBBISH);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(ChangesError::new("make", &path, error));
            }
            _ => {}
        }
        let opened =
            Beneath::open(&path).map_err(|cause| ChangesError::new("open", &path, cause))?;
        let rubbish = Self {
            folder: opened,
            next: std::cell::Cell::new(0),
        };
        rubbish
            .empty()
            .map_err(|cause| ChangesError::new("empty", &path, cause))?;
        Ok(rubbish)
    }

    /// Removes the place.
    pub(super) fn close(self) -> Result<(), ChangesError> {
        let path = self.folder.path();
        fs::remove_dir(path).map_err(|cause| ChangesError::new("remove", path, cause))
    }

    /// Removes a name, with all that is below it.
    pub(super) fn remove(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        if self.take(folder, name)? {
            self.empty()?;
        }
        Ok(())
    }

    /// Removes a name, or moves it here if it is a folder with something in it.
    fn take(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
        let Some(stat) = beneath::look(folder, name)? else {
            return Ok(false);
        };
        if !beneath::kind(&stat).is_dir() {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            return Ok(false);
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(false),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        // Moving a folder changes its `..`, and listing it takes a right that the agent may have taken away. Nothing else
        // is at work in an upper, so the name is still the folder.
        rustix::fs::chmodat(folder, name, Mode::from(0o700), AtFlags::empty())?;
        loop {
            let number = self.next.get();
            self.next.set(number + 1);
            let place = number.to_string();
            if beneath::look(self.folder.root(), place.as_ref())?.is_none() {
                rustix::fs::renameat(folder, name, self.folder.root(), place)?;
                return Ok(true);
            }
        }
    }

    fn empty(&self) -> Result<(), Errno> {
        let mut names = beneath::names(self.folder.root())?;
        while !names.is_empty() {
            for name in names {
                let inner = self.open_inner(&name)?;
                for entry in beneath::names(inner.as_fd())? {
                    self.take(inner.as_fd(), &entry)?;
                }
                rustix::fs::unlinkat(self.folder.root(), &name, AtFlags::REMOVEDIR)?;
            }
            names = beneath::names(self.folder.root())?;
        }
        Ok(())
    }

    fn open_inner(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        rustix::fs::chmodat(
            self.folder.root(),
            name,
            Mode::from(0o700),
            AtFlags::empty(),
        )?;
        self.folder.directory(Path::new(name))
    }
}
