//! What has landed, or was thrown away, leaves the upper; and so does all that never was a change.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::changes::beneath::{self, Beneath};
use crate::changes::upper::{self, Cover, Upper, is_root};
use crate::changes::{Change, ChangeSet, ChangesError, Pending};

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
    let kept = kept(set, gone);
    let rubbish = Rubbish::open(&pending.folder)?;
    let mut folders = vec![PathBuf::new()];
    while let Some(path) = folders.pop() {
        prune_folder(pending, &kept, &rubbish, &path, &mut folders).map_err(|cause| {
            ChangesError::new("remove from", &upper_path(pending, &path), cause)
        })?;
    }
    rubbish.close()
}

/// What stays, in the order of paths: what is pending, and the other names of such files, since a name that lands later has
/// to become one with those that landed before.
fn kept<'a>(set: &'a ChangeSet, gone: &HashSet<&Path>) -> Vec<&'a Path> {
    let group = |change: &Change| change.after.as_ref().and_then(|after| after.link_group);
    let (landed, pending): (Vec<&Change>, Vec<&Change>) = set
        .changes()
        .iter()
        .partition(|change| gone.contains(change.path.as_path()));
    let groups: HashSet<u64> = pending.iter().filter_map(|change| group(change)).collect();
    let landed = landed
        .into_iter()
        .filter(|change| group(change).is_some_and(|group| groups.contains(&group)));
    let unchanged = set.unchanged_groups();
    let unchanged = unchanged.filter(|(group, _)| groups.contains(group));
    let mut kept: Vec<&Path> = pending
        .into_iter()
        .chain(landed)
        .map(|change| change.path.as_path())
        .chain(unchanged.map(|(_, path)| path))
        .chain(set.refused().iter().map(|refused| refused.path.as_path()))
        .collect();
    kept.sort_unstable();
    kept
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
        rubbish.remove(&pending.upper, &inner)?;
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

    /// Removes a path of the upper, with all that is below it.
    pub(super) fn remove(&self, upper: &Upper, path: &Path) -> Result<(), Errno> {
        let (parent, name) = beneath::split(path);
        let folder = upper.writable(parent)?;
        let stat = beneath::look(folder.as_fd(), name)?;
        if stat.is_some_and(|stat| beneath::kind(&stat).is_dir()) {
            // Remembered: after a crash between here and the move, these are not the agent's bits.
            upper.writable(path)?;
        }
        self.clear(folder.as_fd(), name)
    }

    /// Removes a name that is no path of the upper.
    pub(super) fn clear(&self, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
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
        if stat.st_mode & 0o700 != 0o700 && !is_root() {
            rustix::fs::chmodat(folder, name, Mode::from(0o700), AtFlags::empty())?;
        }
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
