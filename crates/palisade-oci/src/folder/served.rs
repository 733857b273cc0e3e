//! The folder of a session whose container somebody else starts: always the same, so that what was printed stays right.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{LOCK, Place, SYSTEM, SessionFolder, private};

impl SessionFolder {
    /// Takes this place, which may be one of an earlier session. `stays` says whether it is to outlive this one.
    pub(crate) fn take(place: &Place, stays: bool) -> io::Result<Self> {
        let base = place.base();
        private().recursive(true).create(&base)?;
        if base.canonicalize()? != base {
            return Err(other(format!("{} leads through a link", base.display())));
        }
        check_way(&base)?;
        match private().create(&place.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_own(&place.path)?,
            made => made?,
        }
        let folder = Self {
            _lock: held(&place.path)?,
            place: place.clone(),
            stays,
        };
        folder.empty_out()?;
        folder.fill()?;
        Ok(folder)
    }

    /// Leads overlays to where a session keeps what is changed.
    pub(crate) fn link_changes(&self, number: usize, kept: &Path) -> io::Result<()> {
        symlink(kept, self.changes(number))
    }

    /// Removes what an earlier session left, but for the lock.
    fn empty_out(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name() == LOCK {
                continue;
            }
            if entry.file_name() == SYSTEM {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Whoever can write a folder on the way can put another one in its place.
fn check_way(base: &Path) -> io::Result<()> {
    for folder in base.ancestors() {
        let found = fs::symlink_metadata(folder)?;
        let mode = found.mode();
        // In one like /tmp nobody renames what is another's.
        let others = mode & 0o022 != 0 && mode & 0o1000 == 0;
        if !is_trusted(found.uid()) || others {
            return Err(other(format!(
                "{} can be written by others, who could put another folder in the place of this one",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether a folder that is there already is one of ours.
fn check_own(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let ours = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    if ours && fs::symlink_metadata(path.join(LOCK)).is_ok_and(|lock| lock.is_file()) {
        return Ok(());
    }
    let path = path.display();
    Err(other(format!(
        "{path} is there and is no session's folder of yours"
    )))
}

/// The lock of a folder. It may have been removed by its last session in this very moment.
fn held(path: &Path) -> io::Result<File> {
    let place = path.join(LOCK);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&place)?;
    let in_use = || other(format!("{} is in use by another session", path.display()));
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(in_use()),
        locked => locked?,
    }
    let (own, there) = (lock.metadata()?, fs::symlink_metadata(&place)?);
    if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
        return Err(in_use());
    }
    Ok(lock)
}

fn other(words: String) -> io::Error {
    io::Error::other(words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_taken_by_one_and_again_after_that() {
        let base = tempfile::tempdir().expect("folder");
        let base = base.path().canonicalize().expect("real");
        let place = Place::of_workspace(&base, Path::new("/w"));
        assert_eq!(place, Place::of_workspace(&base, Path::new("/w")));
        assert_ne!(place, Place::of_workspace(&base, Path::new("/v")));
        let first = SessionFolder::take(&place, true).expect("taken");
        first.link_changes(0, Path::new("/nowhere")).expect("link");
        let second = SessionFolder::take(&place, true).expect_err("in use");
        assert!(second.to_string().contains("in use"), "{second}");
        drop(first);
        let again = SessionFolder::take(&place, false).expect("taken again");
        assert!(!again.changes(0).is_symlink());
        drop(again);
        assert!(!place.path().exists());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let base = tempfile::tempdir().expect("folder");
        let base = base.path().canonicalize().expect("real");
        let place = Place::of_workspace(&base, Path::new("/w"));
        fs::create_dir(place.path()).expect("folder");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).expect("mode");
        fs::write(place.path().join("precious"), "x").expect("file");
        SessionFolder::take(&place, false).expect_err("no lock in it");
        assert!(place.path().join("precious").exists());
        let open = base.join("open");
        fs::create_dir(&open).expect("folder");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("mode");
        let below = Place::of_workspace(&open, Path::new("/w"));
        let refused = SessionFolder::take(&below, false).expect_err("anybody writes there");
        assert!(refused.to_string().contains("by others"), "{refused}");
    }
}
