//! What is there on the host.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// It is a link, or leads through one.
    Link,
    File,
    Directory,
}

/// Looks, without following a link.
pub(super) fn what_is_at(path: &Path) -> io::Result<Found> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let fd = match opened {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
        Err(Errno::LOOP) => return Ok(Found::Link),
        other => other?,
    };
    Ok(match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Directory => Found::Directory,
        FileType::Symlink => Found::Link,
        _ => Found::File,
    })
}

/// Looks at what an overlay shows: what was changed, and under it what is there.
pub(super) fn merged(source: &Path, upper: &Path, rest: &Path) -> io::Result<Found> {
    let mut lower_shows = true;
    let mut way = PathBuf::new();
    for part in rest.components() {
        way.push(part);
        let changed = upper.join(&way);
        let found = match std::fs::symlink_metadata(&changed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if lower_shows {
                    what_is_at(&source.join(rest))
                } else {
                    Ok(Found::Nothing)
                };
            }
            other => other?,
        };
        // A character device 0:0 stands for what was removed (overlayfs.rst, "whiteouts and opaque directories").
        if found.file_type().is_char_device() && found.rdev() == 0 {
            return Ok(Found::Nothing);
        }
        if found.is_symlink() {
            return Ok(Found::Link);
        }
        if !found.is_dir() {
            let last = way == rest;
            return Ok(if last { Found::File } else { Found::Nothing });
        }
        lower_shows &= !is_opaque(&changed);
    }
    Ok(Found::Directory)
}

/// Whether a folder of changes hides what lies under it.
fn is_opaque(folder: &Path) -> bool {
    let mut value = [0u8; 4];
    let length = rustix::fs::lgetxattr(folder, "user.overlay.opaque", &mut value);
    length.is_ok_and(|length| length > 0)
}

/// Every place below a folder where something is mounted, parents first.
pub(crate) fn submounts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = mount_points("self")?;
    found.retain(|place| place != folder && place.starts_with(folder));
    Ok(found)
}

/// Every place where a process sees something mounted, parents first.
pub(crate) fn mount_points(process: &str) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read(format!("/proc/{process}/mountinfo"))?;
    let mut found: Vec<PathBuf> = table
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(unescaped)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Blanks, tabs, line ends and backslashes are written in octal (proc_pid_mountinfo(5)).
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        let code = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_mount_table_are_read_as_they_are() {
        assert_eq!(unescaped(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescaped(b"/a\\04"), Path::new("/a\\04"));
    }

    #[test]
    fn links_are_seen_wherever_they_lie() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("real");
        std::fs::create_dir(root.join("real")).expect("folder");
        std::fs::write(root.join("real/file"), "").expect("file");
        std::os::unix::fs::symlink("real", root.join("link")).expect("link");
        let at = |path: &str| what_is_at(&root.join(path)).expect("looked");
        assert_eq!(at("real"), Found::Directory);
        assert_eq!(at("real/file"), Found::File);
        assert_eq!(at("link"), Found::Link);
        assert_eq!(at("link/file"), Found::Link);
        assert_eq!(at("real/file/x"), Found::Nothing);
        assert_eq!(at("none"), Found::Nothing);
    }

    #[test]
    fn what_was_changed_is_seen_before_what_lies_under_it() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("real");
        let (lower, upper) = (root.join("lower"), root.join("upper"));
        for path in [
            "lower/kept",
            "lower/hidden",
            "upper/hidden",
            "upper/new",
            "upper/kept",
        ] {
            std::fs::create_dir_all(root.join(path)).expect("folder");
        }
        for path in ["lower/kept/a", "lower/hidden/b", "upper/new/c"] {
            std::fs::write(root.join(path), "").expect("file");
        }
        std::os::unix::fs::symlink("a", root.join("upper/kept/link")).expect("link");
        let at = |rest: &str| merged(&lower, &upper, Path::new(rest)).expect("looked");
        assert_eq!(at("hidden/b"), Found::File);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join("hidden"), "user.overlay.opaque", b"y", flags)
            .expect("attribute");
        assert_eq!(at("hidden/b"), Found::Nothing);
        assert_eq!(at("hidden"), Found::Directory);
        assert_eq!(at("kept/a"), Found::File);
        assert_eq!(at("kept/link"), Found::Link);
        assert_eq!(at("kept/link/x"), Found::Link);
        assert_eq!(at("new/c"), Found::File);
        assert_eq!(at("new/c/d"), Found::Nothing);
        assert_eq!(at(""), Found::Directory);
    }

    #[test]
    fn what_is_mounted_below_the_root_is_found() {
        let below = submounts(Path::new("/")).expect("table");
        assert!(below.iter().any(|place| place == Path::new("/proc")));
    }
}
