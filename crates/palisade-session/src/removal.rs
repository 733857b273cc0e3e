//! Removing what an agent left behind: folders without permissions, and folders deeper than there are descriptors.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

/// Removes a folder and all in it, following no link. Nothing else may use it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => flatten(path),
        Ok(()) => Ok(()),
    }
}

/// Brings every folder up to the top before it is emptied, so that the depth costs nothing.
fn flatten(path: &Path) -> io::Result<()> {
    chmodat(CWD, path, Mode::RWXU, AtFlags::empty())?;
    let top = folder(CWD, path)?;
    let mut next = 0u64;
    loop {
        let names = names(top.as_fd())?;
        if names.is_empty() {
            return fs::remove_dir(path);
        }
        for name in names {
            if !is_folder(top.as_fd(), &name)? {
                unlinkat(&top, &*name, AtFlags::empty())?;
                continue;
            }
            if goes_as_it_is(top.as_fd(), &name) {
                continue;
            }
            let below = opened(top.as_fd(), &name)?;
            empty(&below, &top, &mut next)?;
            unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes the files of a folder, and brings its folders up.
fn empty(below: &OwnedFd, top: &OwnedFd, next: &mut u64) -> io::Result<()> {
    for name in names(below.as_fd())? {
        if !is_folder(below.as_fd(), &name)? {
            unlinkat(below, &*name, AtFlags::empty())?;
            continue;
        }
        if goes_as_it_is(below.as_fd(), &name) {
            continue;
        }
        // A folder is only moved by who may write to it.
        chmodat(below, &*name, Mode::RWXU, AtFlags::empty())?;
        loop {
            *next += 1;
            let fresh = format!("removed-{next}");
            match renameat_with(below, &*name, top, fresh, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => break other?,
            }
        }
    }
    Ok(())
}

/// Removes a folder that is empty, whoever's it is: an overlay that an engine mounted leaves one of root's, closed to all.
fn goes_as_it_is(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> bool {
    unlinkat(at, name, AtFlags::REMOVEDIR).is_ok()
}

fn opened(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
    folder(at, name)
}

fn folder(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn is_folder(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<bool> {
    let found = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_goes_however_deep_and_shut_it_is_and_what_links_lead_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let (outside, tree) = (place.path().join("outside"), place.path().join("tree"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        fs::create_dir_all(tree.join("removed-1/a")).unwrap();
        fs::write(tree.join("removed-1/a/file"), "").unwrap();
        // Deeper than a process may have files open (1024 as a rule), and than a path may be long.
        let mut at = rustix::fs::open(&tree, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            symlink_at(&outside, &at);
            at = openat(&at, c"d", OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        }
        let shut = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o000));
        shut(&tree.join("removed-1/a")).unwrap();
        shut(&tree.join("removed-1")).unwrap();
        flatten(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
        remove_tree(&tree).unwrap();
    }

    fn symlink_at(target: &Path, at: &OwnedFd) {
        rustix::fs::symlinkat(target, at, c"l").unwrap();
    }
}
