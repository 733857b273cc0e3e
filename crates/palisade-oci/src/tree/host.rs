//! What is there on the host.

use std::io;
use std::os::unix::ffi::OsStringExt;
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

/// Every place below a folder where something is mounted, parents first.
pub(super) fn submounts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = table
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(unescaped)
        .filter(|place| place != folder && place.starts_with(folder))
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
    fn what_is_mounted_below_the_root_is_found() {
        let below = submounts(Path::new("/")).expect("table");
        assert!(below.iter().any(|place| place == Path::new("/proc")));
    }
}
