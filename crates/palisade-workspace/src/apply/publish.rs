//! Putting things in their place, and taking them away: never over something that is not what was expected there.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::changes::beneath;
use crate::changes::{Conflict, Identity};

use super::engine::{Done, Engine};
use super::step::{Expected, Step};
use super::{LeftReason, Progress};

impl Engine<'_> {
    /// Gives a staged file its name.
    pub(super) fn publish(&mut self, step: &Step, index: usize) -> Done {
        let folder = self.folder_of(step)?;
        let new = self.temporary(index, "new");
        self.place(step, index, &folder, &new)
    }

    /// Makes a folder, in place of what was there. One that is there is fine, whoever made it.
    pub(super) fn make_folder(&mut self, step: &Step, index: usize) -> Done {
        let folder = self.folder_of(step)?;
        let (_, last) = step.place();
        let before = beneath::look(folder.as_fd(), last)?;
        if before.is_some_and(|stat| beneath::kind(&stat).is_dir()) {
            return Ok(());
        }
        let new = self.temporary(index, "new");
        rustix::fs::mkdirat(&folder, new.as_str(), Mode::from(0o700))?;
        let done = self
            .give_folder(&folder, &new, step)
            .and_then(|()| self.place(step, index, &folder, &new));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&folder, new.as_str(), AtFlags::REMOVEDIR);
        }
        done
    }

    /// Removes a path. One that is not there any more is fine.
    pub(super) fn remove(&mut self, step: &Step, index: usize) -> Done {
        let folder = match self.folder_of(step) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        let (_, last) = step.place();
        let Some(stat) = beneath::look(folder.as_fd(), last)? else {
            return Ok(());
        };
        if !step.expected.is(Some(&stat)) {
            return Err(LeftReason::Conflict(Conflict::Changed));
        }
        if beneath::kind(&stat).is_dir() {
            remove_folder(&folder, last)?;
        } else {
            let old = self.temporary(index, "old");
            rename_new(&folder, last, old.as_ref())?;
            if !self.is_expected(step, &folder, old.as_ref())? {
                rename_new(&folder, old.as_ref(), last)?;
                return Err(LeftReason::Conflict(Conflict::Changed));
            }
            self.remove_known(&folder, old.as_ref(), &stat)?;
        }
        (self.progress)(Progress::Landed);
        Ok(())
    }

    /// Moves what waits under a temporary name to where it belongs.
    fn place(&mut self, step: &Step, index: usize, folder: &OwnedFd, new: &str) -> Done {
        let (_, last) = step.place();
        let before = beneath::look(folder.as_fd(), last)?;
        if !step.expected.is(before.as_ref()) {
            return Err(LeftReason::Conflict(match before {
                Some(_) => Conflict::Changed,
                None => Conflict::Removed,
            }));
        }
        match before {
            None => rename_new(folder, new.as_ref(), last)?,
            Some(before) => self.replace(step, index, folder, new, &before)?,
        }
        if let Some(stat) = beneath::look(folder.as_fd(), last)? {
            self.ours.push(Identity::of(&stat));
        }
        (self.progress)(Progress::Landed);
        Ok(())
    }

    /// Exchanges it with what is there, and looks at that before it is removed.
    ///
    /// Under a name of its own: what bears it after a crash may be somebody's, and what waits never is.
    fn replace(
        &mut self,
        step: &Step,
        index: usize,
        folder: &OwnedFd,
        new: &str,
        before: &Stat,
    ) -> Done {
        let (_, last) = step.place();
        let swap = self.temporary(index, "swap");
        rename_new(folder, new.as_ref(), swap.as_ref())?;
        let back = |reason: LeftReason| {
            let _ = rename_new(folder, swap.as_ref(), new.as_ref());
            Err(reason)
        };
        match exchange(folder, swap.as_ref(), last) {
            Ok(true) => {}
            Ok(false) => {
                let done = self.replace_plainly(folder, &swap, last, before);
                return done.or_else(back);
            }
            Err(Errno::NOENT) if step.expected != Expected::Any => {
                return back(LeftReason::Conflict(Conflict::Removed));
            }
            Err(error) => return back(error.into()),
        }
        let removed = match self.is_expected(step, folder, swap.as_ref())? {
            true => self.remove_known(folder, swap.as_ref(), before),
            false => Err(LeftReason::Conflict(Conflict::Changed)),
        };
        if let Err(reason) = removed {
            exchange(folder, swap.as_ref(), last)?;
            return back(reason);
        }
        Ok(())
    }

    /// For file systems that cannot exchange.
    fn replace_plainly(
        &mut self,
        folder: &OwnedFd,
        swap: &str,
        last: &OsStr,
        before: &Stat,
    ) -> Done {
        if beneath::kind(before).is_dir() {
            remove_folder(folder, last)?;
        } else if beneath::look(folder.as_fd(), swap.as_ref())?
            .is_some_and(|stat| beneath::kind(&stat).is_dir())
        {
            rustix::fs::unlinkat(folder, last, AtFlags::empty())?;
        }
        Ok(rustix::fs::renameat(folder, swap, folder, last)?)
    }

    fn is_expected(&self, step: &Step, folder: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
        let stat = beneath::look(folder.as_fd(), name)?;
        Ok(stat.is_some_and(|stat| step.expected.is_moved(&stat)))
    }

    /// Removes what was looked at. Other names of the same file are left as ours, since this changed their `ctime`.
    pub(super) fn remove_known(&mut self, folder: &OwnedFd, name: &OsStr, stat: &Stat) -> Done {
        if beneath::kind(stat).is_dir() {
            return remove_folder(folder, name);
        }
        if stat.st_nlink < 2 {
            return Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(folder, name, flags, Mode::empty())?;
        rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        self.ours.push(Identity::of(&rustix::fs::fstat(handle)?));
        Ok(())
    }
}

fn remove_folder(folder: &OwnedFd, name: &OsStr) -> Done {
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(LeftReason::NotEmpty),
        Err(error) => Err(error.into()),
    }
}

/// Exchanges two names. False where the file system cannot.
pub(super) fn exchange(folder: &OwnedFd, one: &OsStr, other: &OsStr) -> Result<bool, Errno> {
    match rustix::fs::renameat_with(folder, one, folder, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames to a name that is free.
pub(super) fn rename_new(folder: &OwnedFd, from: &OsStr, to: &OsStr) -> Done {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(LeftReason::Conflict(Conflict::Changed)),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if beneath::look(folder.as_fd(), to)?.is_some() {
                return Err(LeftReason::Conflict(Conflict::Changed));
            }
            Ok(rustix::fs::renameat(folder, from, folder, to)?)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::changes::tests::{Fixture, write};

    #[test]
    fn where_nothing_can_be_exchanged_each_kind_still_takes_the_place_of_each() {
        let kinds: [fn(&Path); 2] = [
            |path| write(path, "new"),
            |path| fs::create_dir(path).unwrap(),
        ];
        for (old, new) in [(0, 0), (0, 1), (1, 0)] {
            let f = Fixture::new(&[]);
            kinds[old](&f.host("name"));
            kinds[new](&f.host("swap"));
            let pending = f.pending();
            let mut progress = |_| {};
            let mut engine = Engine::new(&pending, 1, &mut progress);
            let folder = engine.folder(Path::new("")).unwrap();
            let name = OsStr::new("name");
            let before = beneath::look(folder.as_fd(), name).unwrap().unwrap();
            engine
                .replace_plainly(&folder, "swap", name, &before)
                .unwrap();
            assert_eq!(f.host("name").is_dir(), new == 1);
            assert!(!f.host("swap").exists());
        }
        let f = Fixture::new(&["name/full"]);
        write(&f.host("swap"), "new");
        let pending = f.pending();
        let mut progress = |_| {};
        let mut engine = Engine::new(&pending, 1, &mut progress);
        let folder = engine.folder(Path::new("")).unwrap();
        let name = OsStr::new("name");
        let before = beneath::look(folder.as_fd(), name).unwrap().unwrap();
        let done = engine.replace_plainly(&folder, "swap", name, &before);
        assert!(matches!(done, Err(LeftReason::NotEmpty)));
        assert!(f.host("name/full").exists());
    }
}
