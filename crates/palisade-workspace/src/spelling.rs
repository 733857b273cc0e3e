//! File systems that ignore case where the kernel does not.
//!
//! A mount lies on a name as the kernel knows it. A file system of the kernel that ignores case (FAT, a folded folder of ext4)
//! compares names for it, so that every spelling is that one name. Behind FUSE, 9p or a network (a drive of Windows in WSL, a
//! folder of a Mac in its virtual machine) a server compares, and to the kernel each spelling of a file is a name of its own:
//! a mount over one of them leaves the others.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// Another spelling of a path's name that leads past a mount over the path, if there is one.
///
/// # Errors
/// It cannot be told.
pub fn leads_past(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(name) = path.file_name().and_then(other_case) else {
        return Ok(None);
    };
    let other = path.with_file_name(&name);
    // Nearly always there is none, and this is all it costs.
    let Some(second) = open(&other)? else {
        return Ok(None);
    };
    // Both are held open, since what nobody holds the kernel may forget, and know by its new spelling alone.
    let Some(own) = open(path)? else {
        return Ok(None);
    };
    if known_as(&own)? == known_as(&second)? || is_listed(&other)? {
        return Ok(None);
    }
    Ok(Some(other))
}

/// The name with capitals for small letters, and the other way round. None if it has no letters.
fn other_case(name: &OsStr) -> Option<OsString> {
    let mut other = Vec::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        let letters = chunk.valid().chars();
        let swapped: String = letters.map(swapped).collect();
        other.extend_from_slice(swapped.as_bytes());
        other.extend_from_slice(chunk.invalid());
    }
    let other = OsString::from_vec(other);
    (other != name).then_some(other)
}

/// A letter that has several for it in the other case stays as it is.
fn swapped(letter: char) -> char {
    let (mut lower, mut upper) = (letter.to_lowercase(), letter.to_uppercase());
    let others = if letter.is_uppercase() {
        (lower.next(), lower.next())
    } else {
        (upper.next(), upper.next())
    };
    match others {
        (Some(other), None) => other,
        _ => letter,
    }
}

/// None if there is nothing of that name, or there can be nothing.
fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The path by which the kernel knows what is open.
fn known_as(file: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Whether it is an entry of its folder, and so another file, that is judged by itself.
fn is_listed(path: &Path) -> io::Result<bool> {
    let Some(folder) = path.parent() else {
        return Ok(false);
    };
    for entry in fs::read_dir(folder)? {
        if Some(entry?.file_name().as_os_str()) == path.file_name() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_changes_its_case() {
        for (name, other) in [
            (".env", Some(".ENV")),
            ("Id_Rsa", Some("iD_rSA")),
            ("Schlüssel.pem", Some("sCHLÜSSEL.PEM")),
            ("straße", Some("STRAßE")),
            ("1_2", None),
        ] {
            let found = other_case(OsStr::new(name));
            assert_eq!(found.as_deref(), other.map(OsStr::new), "{name}");
        }
        let found = other_case(OsStr::from_bytes(b"k\xff.key"));
        assert_eq!(found.unwrap().as_bytes(), b"K\xff.KEY");
    }

    #[test]
    fn two_files_are_no_spellings_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert_eq!(leads_past(&path).unwrap(), None, "nothing there");
        fs::write(&path, "x").unwrap();
        assert_eq!(leads_past(&path).unwrap(), None, "one spelling");
        fs::hard_link(&path, folder.path().join(".ENV")).unwrap();
        assert_eq!(leads_past(&path).unwrap(), None, "an entry of its own");
    }
}
