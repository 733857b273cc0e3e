//! Throwing changes away: the upper forgets them, and the workspace shows what the host has. The host is not touched.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use crate::changes::upper::{self, Cover};
use crate::changes::{Change, ChangeSet, ChangesError, Pending, Side, beneath};

use super::prune::{self, Rubbish};
use super::{Applied, ApplyError, Left, LeftReason, Selection};

/// Where a folder that takes the place of a whiteout is put together, in the folder of the changes.
const SHELL: &str = "shell";

pub(super) fn discard(
    pending: &Pending,
    set: &ChangeSet,
    selection: &Selection<'_>,
) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    if selection.is_all() {
        everything(pending)?;
        applied.done = set
            .changes()
            .iter()
            .map(|change| change.path.clone())
            .collect();
        return Ok(applied);
    }
    let rubbish = Rubbish::open(&pending.folder)?;
    let mut discarder = Discarder {
        pending,
        set,
        selection,
        rubbish: &rubbish,
    };
    let mut gone: HashSet<&Path> = HashSet::new();
    for change in set
        .changes()
        .iter()
        .filter(|change| selection.selects(&change.path))
    {
        match discarder.change(change) {
            Ok(()) => {
                gone.insert(&change.path);
            }
            Err(reason) => {
                applied.left.push(Left {
                    path: change.path.clone(),
                    reason,
                });
            }
        }
    }
    let refused = set
        .refused()
        .iter()
        .filter(|refused| selection.selects(&refused.path));
    for refused in refused {
        if let Err(error) = discarder.forget(&refused.path) {
            let path = refused.path.clone();
            applied.left.push(Left {
                path,
                reason: error,
            });
        }
    }
    rubbish.close()?;
    applied.done = set
        .changes()
        .iter()
        .map(|change| &change.path)
        .filter(|path| gone.contains(path.as_path()))
        .cloned()
        .collect();
    prune::prune(pending, set, &gone)?;
    Ok(applied)
}

/// Empties the upper.
pub(super) fn everything(pending: &Pending) -> Result<(), ChangesError> {
    let rubbish = Rubbish::open(&pending.folder)?;
    let remove = || -> Result<(), Errno> {
        let folder = pending.upper.writable(Path::new(""))?;
        for name in beneath::names(folder.as_fd())? {
            rubbish.remove(&pending.upper, Path::new(&name))?;
        }
        Ok(())
    };
    remove().map_err(|cause| ChangesError::new("empty", pending.upper.tree.path(), cause))?;
    rubbish.close()
}

struct Discarder<'a> {
    pending: &'a Pending,
    set: &'a ChangeSet,
    selection: &'a Selection<'a>,
    rubbish: &'a Rubbish,
}

impl Discarder<'_> {
    fn change(&mut self, change: &Change) -> Result<(), LeftReason> {
        let was_folder = change.before.as_ref().is_some_and(Side::is_directory);
        let is_folder = change.after.as_ref().is_some_and(Side::is_directory);
        if was_folder && is_folder {
            return Ok(self.restore_mode(change)?);
        }
        let below = &self.set.at_or_below(&change.path)[1..];
        if below
            .iter()
            .all(|inner| self.selection.selects(&inner.path))
        {
            return self.forget(&change.path);
        }
        if change.after.is_none() {
            // The folder is back, and what in it is still to be removed is so.
            if self.open_up(&change.path)? {
                self.spread_if_whiteout(&change.path)?;
            }
            return Ok(());
        }
        // What is in a folder that is not to be would go with it; what was in one that is back would be back.
        Err(LeftReason::NotEmpty)
    }

    /// The upper says nothing of a path any more.
    fn forget(&mut self, path: &Path) -> Result<(), LeftReason> {
        if !self.open_up(path)? {
            return Ok(());
        }
        Ok(self.rubbish.remove(&self.pending.upper, path)?)
    }

    fn restore_mode(&mut self, change: &Change) -> Result<(), Errno> {
        let handle = self.pending.upper.tree.handle(&change.path)?;
        let mode = change.before.as_ref().map_or(0o755, |before| before.mode);
        rustix::fs::chmod(beneath::itself(handle.as_fd()), Mode::from_raw_mode(mode))
    }

    /// Lets every folder above a path show the one below it, and what is removed in it be removed one by one. False, where
    /// the upper has nothing above it any more.
    fn open_up(&mut self, path: &Path) -> Result<bool, LeftReason> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        for folder in above.into_iter().skip(1) {
            match self.pending.upper.tree.stat(folder)? {
                None => return Ok(false),
                Some(stat) if beneath::kind(&stat).is_dir() => self.show_below(folder)?,
                // A file where the host has a folder is a change of its own, and comes first.
                Some(_) if !self.spread_if_whiteout(folder)? => {
                    return Err(LeftReason::Needs(folder.to_path_buf()));
                }
                Some(_) => {}
            }
        }
        Ok(true)
    }

    fn spread_if_whiteout(&mut self, path: &Path) -> Result<bool, Errno> {
        let (parent, name) = beneath::split(path);
        let folder = self.pending.upper.writable(parent)?;
        let cover = upper::cover(folder.as_fd())?;
        let stat = beneath::look(folder.as_fd(), name)?;
        let is_whiteout = match &stat {
            Some(stat) => upper::is_whiteout(folder.as_fd(), name, stat, cover)?,
            None => false,
        };
        if is_whiteout {
            self.spread(path)?;
        }
        Ok(is_whiteout)
    }

    /// A folder that hides the one below removes, from now on, each of its names instead.
    fn show_below(&mut self, path: &Path) -> Result<(), Errno> {
        let folder = self.pending.upper.writable(path)?;
        if upper::cover(folder.as_fd())? != Cover::Opaque {
            return Ok(());
        }
        if let Some(names) = self.host_names(path)? {
            for (name, host) in names {
                match beneath::look(folder.as_fd(), &name)? {
                    None => whiteout(folder.as_fd(), &name)?,
                    Some(own) if is_folder(&own) && is_folder(&host) => {
                        let inner = self.pending.upper.directory(&path.join(&name))?;
                        upper::set_opaque(inner.as_fd(), true)?;
                    }
                    Some(_) => {}
                }
            }
        }
        upper::set_opaque(folder.as_fd(), false)
    }

    /// A whiteout of a folder becomes a folder with a whiteout for each name.
    fn spread(&mut self, path: &Path) -> Result<(), Errno> {
        let Some(names) = self.host_names(path)? else {
            return Ok(());
        };
        let Some(host) = self.pending.workspace.stat(path)? else {
            return Ok(());
        };
        let place = rustix::fs::open(
            &self.pending.folder,
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        self.rubbish.clear(place.as_fd(), OsStr::new(SHELL))?;
        rustix::fs::mkdirat(&place, SHELL, Mode::from(0o700))?;
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let shell = rustix::fs::openat(&place, SHELL, flags, Mode::empty())?;
        for (name, _) in names {
            whiteout(shell.as_fd(), &name)?;
        }
        if let Some(owners) = self.pending.owners {
            let (user, group) = owners.from;
            let user = Some(rustix::fs::Uid::from_raw(user));
            rustix::fs::fchown(&shell, user, Some(rustix::fs::Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(&shell, Mode::from_raw_mode(host.st_mode & 0o7777))?;
        let (parent, name) = beneath::split(path);
        let folder = self.pending.upper.writable(parent)?;
        // A folder cannot be renamed over a whiteout; between the two calls of the other way the removal would be lost.
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        match rustix::fs::renameat_with(&place, SHELL, &folder, name, flags) {
            Ok(()) => rustix::fs::unlinkat(&place, SHELL, AtFlags::empty()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
                rustix::fs::renameat(&place, SHELL, &folder, name)
            }
            Err(error) => Err(error),
        }
    }

    /// What the host has in a folder. Nothing, where it has none.
    fn host_names(&self, path: &Path) -> Result<Option<Vec<(std::ffi::OsString, Stat)>>, Errno> {
        let folder = match self.pending.workspace.directory(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            opened => opened?,
        };
        let mut found = Vec::new();
        for name in beneath::names(folder.as_fd())? {
            if let Some(stat) = beneath::look(folder.as_fd(), &name)? {
                found.push((name, stat));
            }
        }
        Ok(Some(found))
    }
}

fn is_folder(stat: &Stat) -> bool {
    beneath::kind(stat).is_dir()
}

fn whiteout(folder: std::os::fd::BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}
