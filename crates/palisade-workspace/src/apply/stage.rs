//! Writing what is to land under a temporary name, beside where it lands.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::changes::upper::{self, is_root};
use crate::changes::{Moment, beneath};

use super::engine::{Done, Engine, times};
use super::step::{Action, Expected, Source, Step};
use super::{LeftReason, copy, journal};

/// Access lists of a file of the host; what replaces it gets them too.
const ACCESS_LIST: &str = "system.posix_acl_access";

impl Engine<'_> {
    /// Writes one file or link under its temporary name, whole but for its place. `staged` are the temporary names of those
    /// before it. Leaves nothing behind if it fails.
    pub(super) fn stage(
        &mut self,
        step: &Step,
        index: usize,
        staged: &HashMap<&Path, String>,
        durable: bool,
    ) -> Done {
        let Action::Write { mode, from } = &step.action else {
            return Ok(());
        };
        let folder = self.folder_of(step)?;
        let name = self.temporary(index, "new");
        let done = match from {
            Source::Upper { inode, size } => {
                self.stage_upper(step, &folder, &name, (*inode, *size), *mode, durable)
            }
            Source::Staged(number) => {
                let contents = File::open(journal::staged(&self.pending.folder, *number))?;
                self.stage_file(step, &folder, &name, contents, None, *mode, durable)
            }
            Source::Link { to, inode, size } => {
                match self.stage_link(step, &folder, &name, to, staged, (*size, *mode)) {
                    Ok(true) => Ok(()),
                    _ => {
                        remove(&folder, &name);
                        self.stage_upper(step, &folder, &name, (*inode, *size), *mode, durable)
                    }
                }
            }
        };
        if done.is_err() {
            remove(&folder, &name);
        }
        done
    }

    /// Takes a temporary name away again.
    pub(super) fn unstage(&mut self, step: &Step, index: usize) {
        if let Ok(folder) = self.folder_of(step) {
            remove(&folder, &self.temporary(index, "new"));
        }
    }

    fn stage_upper(
        &mut self,
        step: &Step,
        folder: &OwnedFd,
        name: &str,
        (inode, size): (u64, u64),
        mode: u32,
        durable: bool,
    ) -> Done {
        let handle = self.pending.upper.tree.handle(&step.path)?;
        let stat = rustix::fs::fstat(&handle)?;
        if stat.st_ino != inode {
            return Err(LeftReason::Stale);
        }
        if beneath::kind(&stat).is_symlink() {
            let target = rustix::fs::readlinkat(&handle, "", Vec::new())?;
            rustix::fs::symlinkat(&target, folder, name)?;
            let link = made(folder, name, FileType::Symlink)?;
            self.give(link.as_fd(), folder, step, Some(&stat))?;
            let times = times(Moment::modified(&stat));
            rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            return Ok(());
        }
        if u64::try_from(stat.st_size) != Ok(size) {
            return Err(LeftReason::Stale);
        }
        let contents = File::from(self.pending.upper.file(&step.path)?);
        self.stage_file(step, folder, name, contents, Some(&stat), mode, durable)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place makes files, and they differ in all of these"
    )]
    fn stage_file(
        &mut self,
        step: &Step,
        folder: &OwnedFd,
        name: &str,
        mut contents: File,
        upper: Option<&Stat>,
        mode: u32,
        durable: bool,
    ) -> Done {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(folder, name, flags, Mode::from(0o600))?);
        copy::contents(&mut contents, &mut file)?;
        match upper {
            Some(_) => copy_attributes(contents.as_fd(), &file)?,
            // In part: what else belongs to the file is the session's.
            None => {
                if let Ok(own) = self.pending.upper.file(&step.path) {
                    copy_attributes(own.as_fd(), &file)?;
                }
            }
        }
        self.give(file.as_fd(), folder, step, upper)?;
        self.copy_access_list(step, folder, &file)?;
        let mode = self.without_power(&file, mode)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        if let Some(stat) = upper {
            rustix::fs::futimens(&file, &times(Moment::modified(stat)))?;
        }
        if durable {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Makes another name of a file that waits or is there. False where it is not the same after all, or where that cannot be
    /// seen: an ordinary user who takes the right to read from a file and gives it another name gets two files.
    fn stage_link(
        &mut self,
        step: &Step,
        folder: &OwnedFd,
        name: &str,
        to: &Path,
        staged: &HashMap<&Path, String>,
        (size, mode): (u64, u32),
    ) -> io::Result<bool> {
        let (parent, last) = beneath::split(to);
        let from = self.pending.workspace.directory(parent)?;
        if let Some(waiting) = staged.get(to) {
            rustix::fs::linkat(&from, waiting.as_str(), folder, name, AtFlags::empty())?;
            return Ok(true);
        }
        rustix::fs::linkat(&from, last, folder, name, AtFlags::empty())?;
        let Some(stat) = beneath::look(folder.as_fd(), name.as_ref())? else {
            return Ok(false);
        };
        let alike = beneath::kind(&stat).is_file()
            && stat.st_mode & 0o7777 == mode
            && u64::try_from(stat.st_size) == Ok(size);
        if !alike {
            return Ok(false);
        }
        // By the temporary name: the other one may be something else by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let linked = rustix::fs::openat(folder, name, flags, Mode::empty())?;
        let own = self.pending.upper.file(&step.path)?;
        upper::same_contents(linked, own, size)
    }

    /// Gives what was made the owner of what it replaces; what is new gets the workspace's. An ordinary user cannot give
    /// anything away, and keeps the group if it is one of theirs.
    ///
    /// By its descriptor: who may write to the folder can put something else under its name.
    fn give(
        &self,
        made: BorrowedFd<'_>,
        folder: &OwnedFd,
        step: &Step,
        upper: Option<&Stat>,
    ) -> Done {
        let (_, last) = step.place();
        let before = beneath::look(folder.as_fd(), last)?;
        let owner = match (&before, self.pending.owners, upper) {
            (Some(stat), ..) => Some((stat.st_uid, stat.st_gid)),
            (None, Some(owners), _) => Some(owners.to),
            (None, None, Some(stat)) => Some((stat.st_uid, stat.st_gid)),
            (None, None, None) => None,
        };
        let Some((user, group)) = owner else {
            return Ok(());
        };
        let (user, group) = (Uid::from_raw(user), Some(Gid::from_raw(group)));
        let flags = AtFlags::EMPTY_PATH;
        if is_root() {
            rustix::fs::chownat(made, "", Some(user), group, flags)?;
        } else if before.is_some() {
            match rustix::fs::chownat(made, "", None, group, flags) {
                Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Without the bits that would lend out root's power, where the workspace is not root's: no yes of a person is for that,
    /// and somebody may have put a file of root where this one lands.
    fn without_power(&self, file: &File, mode: u32) -> Result<u32, Errno> {
        let is_others = self.pending.owners.is_some_and(|owners| owners.to.0 != 0);
        let is_roots = mode & 0o6000 != 0 && rustix::fs::fstat(file)?.st_uid == 0;
        Ok(if is_roots && is_others {
            mode & 0o1777
        } else {
            mode
        })
    }

    /// The owner of a folder that was made.
    pub(super) fn give_folder(&self, folder: &OwnedFd, name: &str, step: &Step) -> Done {
        let upper = self.pending.upper.tree.stat(&step.path)?;
        let new = made(folder, name, FileType::Directory)?;
        self.give(new.as_fd(), folder, step, upper.as_ref())
    }

    fn copy_access_list(&self, step: &Step, folder: &OwnedFd, file: &File) -> Done {
        if step.expected == Expected::Nothing {
            return Ok(());
        }
        let (_, last) = step.place();
        let path = beneath::through(folder.as_fd(), last);
        let Ok(size) = rustix::fs::lgetxattr_query(&path, ACCESS_LIST) else {
            return Ok(());
        };
        let mut list = vec![0; size];
        let length = rustix::fs::lgetxattr(&path, ACCESS_LIST, &mut list[..])?;
        let flags = XattrFlags::empty();
        Ok(rustix::fs::fsetxattr(
            file,
            ACCESS_LIST,
            &list[..length],
            flags,
        )?)
    }
}

fn copy_attributes(from: BorrowedFd<'_>, to: &File) -> Done {
    for (name, value) in upper::attributes(from)? {
        match rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty()) {
            // The workspace's file system may have none.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens what we just made, and makes sure of that as far as can be seen: it is of the kind, and ours.
fn made(folder: &OwnedFd, name: &str, kind: FileType) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&handle)?;
    // A new folder is named by its parent and by itself; some file systems always say 1.
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_nlink <= 2;
    match ours && beneath::kind(&stat) == kind {
        true => Ok(handle),
        false => Err(Errno::STALE),
    }
}

fn remove(folder: &OwnedFd, name: &str) {
    // It may not be there, and one that cannot be removed is found again by its name.
    let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
}
