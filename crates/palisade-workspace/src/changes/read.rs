//! Reading an overlay's difference: one walk over the upper, folder by folder, with the host's folder beside it.
//!
//! A folder is opened by its whole path, so the walk holds no descriptors of the folders above it, however deep.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::beneath;
use super::ours::Ours;
use super::pending::{ChangesError, Pending};
use super::sides::{Place, Sides};
use super::upper::{self, Cover};
use super::{Change, ChangeSet, Refusal, Refused};

/// More changes than this are not shown one by one; at 500 bytes each they take half a gigabyte. Five times what the largest
/// trees of dependencies hold.
const MOST_CHANGES: usize = 1_000_000;

/// A folder of the upper that is yet to be read.
struct Folder {
    path: PathBuf,
    /// Whether the host has a folder there.
    on_host: bool,
    /// Whether a folder above hides all the host has.
    hidden: bool,
}

/// An open pair of folders.
struct Pair<'a> {
    upper: BorrowedFd<'a>,
    host: Option<BorrowedFd<'a>>,
    cover: Cover,
}

pub(super) struct Reader<'a> {
    pending: &'a Pending,
    sides: Sides<'a>,
    changes: Vec<Change>,
    refused: Vec<Refused>,
    folders: Vec<Folder>,
    unchanged_groups: Vec<(u64, PathBuf)>,
    most: usize,
}

type Step<T = ()> = Result<T, Errno>;

impl<'a> Reader<'a> {
    pub(super) fn new(pending: &'a Pending, ours: &'a Ours) -> Self {
        Self {
            pending,
            sides: Sides { pending, ours },
            changes: Vec::new(),
            refused: Vec::new(),
            folders: Vec::new(),
            unchanged_groups: Vec::new(),
            most: MOST_CHANGES,
        }
    }

    pub(super) fn read(mut self) -> Result<ChangeSet, ChangesError> {
        self.folders.push(Folder {
            path: PathBuf::new(),
            on_host: true,
            hidden: false,
        });
        while let Some(folder) = self.folders.pop() {
            if let Err(cause) = self.folder(&folder) {
                self.refuse(&folder.path, cause)?;
            }
            if self.changes.len() + self.refused.len() > self.most {
                return Err(self.failed(&folder.path, Errno::TOOBIG));
            }
        }
        let set = ChangeSet::new(self.changes, self.refused);
        Ok(set.with_unchanged_groups(self.unchanged_groups))
    }

    fn folder(&mut self, folder: &Folder) -> Step {
        let upper = self.pending.upper.directory(&folder.path)?;
        // A handle: listing is only needed where the upper hides the folder.
        let host = match folder.on_host {
            true => Some(self.pending.workspace.handle(&folder.path)?),
            false => None,
        };
        let mut cover = upper::cover(upper.as_fd())?;
        if folder.hidden {
            cover = Cover::Opaque;
        }
        let pair = Pair {
            upper: upper.as_fd(),
            host: host.as_ref().map(|fd| fd.as_fd()),
            cover,
        };
        let names = beneath::names(pair.upper)?;
        for name in &names {
            let path = folder.path.join(name);
            if !beneath::fits(&path) {
                self.refused.push(Refused {
                    path,
                    reason: Refusal::TooLong,
                });
            } else if let Err(cause) = self.entry(&pair, name, path.clone()) {
                self.refuse_or_fail(path, cause)?;
            }
        }
        if cover == Cover::Opaque && folder.on_host {
            self.hidden_names(&folder.path, &names)?;
        }
        Ok(())
    }

    fn entry(&mut self, pair: &Pair<'_>, name: &OsStr, path: PathBuf) -> Step {
        let Some(stat) = beneath::look(pair.upper, name)? else {
            return Ok(());
        };
        let host = match pair.host {
            Some(folder) => beneath::look(folder, name)?,
            None => None,
        };
        if upper::is_whiteout(pair.upper, name, &stat, pair.cover)? {
            return host.map_or(Ok(()), |host| self.removed(path, &host));
        }
        if let Some(special) = special(&stat) {
            self.refused.push(Refused {
                path,
                reason: Refusal::Special(special),
            });
            return Ok(());
        }
        let is_directory = beneath::kind(&stat) == FileType::Directory;
        let was_directory = host
            .as_ref()
            .is_some_and(|host| beneath::kind(host) == FileType::Directory);
        if is_directory {
            self.folders.push(Folder {
                path: path.clone(),
                on_host: was_directory,
                hidden: pair.cover == Cover::Opaque,
            });
        } else if was_directory {
            self.below(&path, host.as_ref())?;
        }
        let place = Place {
            upper: pair.upper,
            host_folder: pair.host,
            name,
        };
        match self.sides.compare(&path, &place, &stat, host.as_ref())? {
            Some(change) => self.changes.push(change),
            None if stat.st_nlink > 1 && !is_directory => {
                self.unchanged_groups.push((stat.st_ino, path));
            }
            None => {}
        }
        Ok(())
    }

    /// What the host has in a folder that hides it, and the session does not have.
    fn hidden_names(&mut self, path: &Path, kept: &[OsString]) -> Step {
        let kept: HashSet<&OsString> = kept.iter().collect();
        let host = self.pending.workspace.directory(path)?;
        for name in beneath::names(host.as_fd())? {
            if !kept.contains(&name)
                && let Some(stat) = beneath::look(host.as_fd(), &name)?
            {
                self.removed(path.join(&name), &stat)?;
            }
        }
        Ok(())
    }

    /// A path of the host that is gone in the session, and all below it.
    fn removed(&mut self, path: PathBuf, host: &Stat) -> Step {
        if beneath::kind(host) == FileType::Directory {
            self.below(&path, Some(host))?;
        }
        let change = self.sides.removed(path, host, false)?;
        self.changes.push(change);
        Ok(())
    }

    /// What was below a folder of the host that is none in the session.
    ///
    /// A folder that changed since the session began may hold what was moved into it, and moving a folder leaves no trace on
    /// what is in it: so then all of it is in conflict.
    fn below(&mut self, path: &Path, host: Option<&Stat>) -> Step {
        let foreign = host.is_some_and(|host| self.sides.is_foreign(host));
        let mut folders = vec![(path.to_path_buf(), foreign)];
        while let Some((path, foreign)) = folders.pop() {
            let folder = self.pending.workspace.directory(&path)?;
            for name in beneath::names(folder.as_fd())? {
                let Some(stat) = beneath::look(folder.as_fd(), &name)? else {
                    continue;
                };
                let path = path.join(&name);
                if !beneath::fits(&path) {
                    return Err(Errno::NAMETOOLONG);
                }
                if beneath::kind(&stat) == FileType::Directory {
                    let foreign = foreign || self.sides.is_foreign(&stat);
                    folders.push((path.clone(), foreign));
                }
                let change = self.sides.removed(path, &stat, foreign)?;
                self.changes.push(change);
            }
            if self.changes.len() > self.most {
                return Err(Errno::TOOBIG);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, path: &Path, cause: Errno) -> Result<(), ChangesError> {
        self.refuse_or_fail(path.to_path_buf(), cause)
            .map_err(|cause| self.failed(path, cause))
    }

    /// What cannot be looked at is refused by name; what means that nothing can be looked at fails.
    fn refuse_or_fail(&mut self, path: PathBuf, cause: Errno) -> Step {
        let reason = match cause {
            Errno::XDEV => Refusal::OtherFileSystem,
            Errno::NAMETOOLONG => Refusal::TooLong,
            Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NOTDIR | Errno::NOENT => {
                Refusal::Unreadable(std::io::Error::from(cause).to_string())
            }
            fatal => return Err(fatal),
        };
        self.refused.push(Refused { path, reason });
        Ok(())
    }

    fn failed(&self, path: &Path, cause: Errno) -> ChangesError {
        let path = self.pending.workspace.path().join(path);
        let cause = match cause {
            // No call here takes a list of arguments.
            Errno::TOOBIG => std::io::Error::other(format!("more than {} changes", self.most)),
            cause => cause.into(),
        };
        ChangesError::new("compare", &path, cause)
    }
}

/// What a path of the upper is that nothing of can land.
fn special(stat: &Stat) -> Option<&'static str> {
    match beneath::kind(stat) {
        FileType::RegularFile | FileType::Directory | FileType::Symlink => None,
        FileType::Fifo => Some("pipe"),
        FileType::Socket => Some("socket"),
        _ => Some("device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::tests::{Fixture, whiteout, write};

    #[test]
    fn more_changes_than_can_be_shown_are_an_error_and_can_be_thrown_away() {
        let f = Fixture::new(&["tree/a", "tree/b", "tree/c"]);
        let read = |most| {
            let pending = f.pending();
            let ours = Ours::default();
            let mut reader = Reader::new(&pending, &ours);
            reader.most = most;
            reader.read().map_err(|error| error.to_string())
        };
        write(&f.upper("new"), "");
        assert_eq!(read(1).unwrap().changes().len(), 1);
        // Both those of the upper and those that one name in it stands for.
        whiteout(&f.upper("tree"));
        for most in [0, 1, 3] {
            assert!(
                read(most)
                    .unwrap_err()
                    .ends_with(&format!("more than {most} changes"))
            );
        }
        f.pending().discard_all().unwrap();
        assert!(read(0).unwrap().is_empty());
    }
}
