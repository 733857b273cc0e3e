//! What an agent does to files, one operation at a time. An operation that cannot be done does nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(PathBuf, u8),
    Append(PathBuf, u8),
    Truncate(PathBuf, u16),
    Far(PathBuf),
    Chmod(PathBuf, u32),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Rmdir(PathBuf),
    RemoveAll(PathBuf),
    Mkdir(PathBuf),
    Symlink(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Times(PathBuf, u8),
    Attribute(PathBuf, u8, u8),
}

/// Few names, so that operations meet.
const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e\n ", b"\xff\x1b"];

pub(crate) fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(0..NAMES.len(), 1..4).prop_map(|names| {
        let names = names.into_iter().map(|name| OsStr::from_bytes(NAMES[name]));
        names.collect()
    })
}

fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![
        0o644, 0o600, 0o755, 0o700, 0o444, 0o555, 0o500, 0o711, 0o000, 0o200, 0o4755, 0o2755,
        0o1777,
    ])
}

/// What runs in the session.
pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 1..24)
}

/// What makes the workspace: no file has two names, since an overlay tears those apart.
pub(crate) fn workspace() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        3 => path().prop_map(Operation::Mkdir),
        4 => (path(), any::<u8>()).prop_map(|(p, n)| Operation::Write(p, n)),
        1 => (path(), path()).prop_map(|(p, q)| Operation::Symlink(p, q)),
        1 => (path(), 0..4_u8).prop_map(|(p, n)| Operation::Times(p, n)),
        1 => (path(), 0..2_u8, any::<u8>()).prop_map(|(p, n, v)| Operation::Attribute(p, n, v)),
        1 => (path(), prop::sample::select(vec![0o700, 0o755, 0o555, 0o500]))
            .prop_map(|(p, m)| Operation::Chmod(p, m)),
    ];
    prop::collection::vec(one, 1..24)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(p, n)| Operation::Write(p, n)),
        1 => (path(), any::<u8>()).prop_map(|(p, n)| Operation::Append(p, n)),
        1 => (path(), any::<u16>()).prop_map(|(p, n)| Operation::Truncate(p, n)),
        1 => path().prop_map(Operation::Far),
        2 => (path(), mode()).prop_map(|(p, m)| Operation::Chmod(p, m)),
        4 => (path(), path()).prop_map(|(p, q)| Operation::Rename(p, q)),
        2 => path().prop_map(Operation::Unlink),
        1 => path().prop_map(Operation::Rmdir),
        2 => path().prop_map(Operation::RemoveAll),
        3 => path().prop_map(Operation::Mkdir),
        2 => (path(), path()).prop_map(|(p, q)| Operation::Symlink(p, q)),
        2 => (path(), path()).prop_map(|(p, q)| Operation::Link(p, q)),
        1 => (path(), 0..4_u8).prop_map(|(p, n)| Operation::Times(p, n)),
        1 => (path(), 0..2_u8, any::<u8>()).prop_map(|(p, n, v)| Operation::Attribute(p, n, v)),
    ]
}

/// Up to a few blocks, and few enough values that some files are equal.
fn contents(seed: u8) -> Vec<u8> {
    vec![b'a' + seed % 3; usize::from(seed % 5) * 3000]
}

impl Operation {
    /// Four fields, for another run of this program.
    fn fields(&self) -> [Vec<u8>; 4] {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let no = Path::new("");
        let (tag, path, other, number) = match self {
            Self::Write(path, n) => ("write", path, no, u32::from(*n)),
            Self::Append(path, n) => ("append", path, no, u32::from(*n)),
            Self::Truncate(path, n) => ("truncate", path, no, u32::from(*n)),
            Self::Far(path) => ("far", path, no, 0),
            Self::Chmod(path, mode) => ("chmod", path, no, *mode),
            Self::Rename(path, to) => ("rename", path, to.as_path(), 0),
            Self::Unlink(path) => ("unlink", path, no, 0),
            Self::Rmdir(path) => ("rmdir", path, no, 0),
            Self::RemoveAll(path) => ("remove", path, no, 0),
            Self::Mkdir(path) => ("mkdir", path, no, 0),
            Self::Symlink(path, to) => ("symlink", path, to.as_path(), 0),
            Self::Link(path, to) => ("link", path, to.as_path(), 0),
            Self::Times(path, n) => ("times", path, no, u32::from(*n)),
            Self::Attribute(path, name, n) => {
                ("attribute", path, no, u32::from(*name) << 8 | u32::from(*n))
            }
        };
        [
            tag.into(),
            bytes(path),
            bytes(other),
            number.to_string().into(),
        ]
    }

    fn parse(fields: &[&[u8]]) -> Self {
        let path = |place: usize| PathBuf::from(OsStr::from_bytes(fields[place]));
        let number: u32 = std::str::from_utf8(fields[3]).unwrap().parse().unwrap();
        let small = (number & 0xff) as u8;
        match fields[0] {
            b"write" => Self::Write(path(1), small),
            b"append" => Self::Append(path(1), small),
            b"truncate" => Self::Truncate(path(1), number as u16),
            b"far" => Self::Far(path(1)),
            b"chmod" => Self::Chmod(path(1), number),
            b"rename" => Self::Rename(path(1), path(2)),
            b"unlink" => Self::Unlink(path(1)),
            b"rmdir" => Self::Rmdir(path(1)),
            b"remove" => Self::RemoveAll(path(1)),
            b"mkdir" => Self::Mkdir(path(1)),
            b"symlink" => Self::Symlink(path(1), path(2)),
            b"link" => Self::Link(path(1), path(2)),
            b"times" => Self::Times(path(1), small),
            b"attribute" => Self::Attribute(path(1), (number >> 8) as u8, small),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn run(&self, root: &Path) {
        // Refused ones are refused on both sides.
        let _ = self.try_run(root);
    }

    fn try_run(&self, root: &Path) -> io::Result<()> {
        let at = |path: &Path| root.join(path);
        // A link in the tree may lead anywhere below the root, or nowhere: the last name is the operation's own.
        let plain = |path: &Path| -> io::Result<PathBuf> {
            let stands = fs::symlink_metadata(at(path));
            match stands {
                Ok(meta) if meta.is_symlink() => Err(io::ErrorKind::InvalidInput.into()),
                _ => Ok(at(path)),
            }
        };
        match self {
            Self::Write(path, seed) => fs::write(plain(path)?, contents(*seed)),
            Self::Append(path, seed) => OpenOptions::new()
                .append(true)
                .open(plain(path)?)?
                .write_all(&contents(*seed)),
            Self::Truncate(path, size) => OpenOptions::new()
                .write(true)
                .open(plain(path)?)?
                .set_len((*size).into()),
            Self::Far(path) => {
                let file = OpenOptions::new().write(true).open(plain(path)?)?;
                file.write_all_at(b"far", 1 << 20)
            }
            Self::Chmod(path, mode) => {
                let path = plain(path)?;
                // A folder's special bits are inherited by what is made in it; files have their own rule.
                let mode = if path.is_dir() { mode & 0o777 } else { *mode };
                fs::set_permissions(path, fs::Permissions::from_mode(mode))
            }
            Self::Rename(from, to) => rename(&at(from), &at(to)),
            Self::Unlink(path) => fs::remove_file(at(path)),
            Self::Rmdir(path) => fs::remove_dir(at(path)),
            Self::RemoveAll(path) => fs::remove_dir_all(plain(path)?),
            Self::Mkdir(path) => fs::create_dir(at(path)),
            Self::Symlink(path, target) => symlink(target, at(path)),
            Self::Link(from, to) => fs::hard_link(plain(from)?, at(to)),
            Self::Times(path, year) => {
                let time = Timespec {
                    tv_sec: 600_000_000 + i64::from(*year),
                    tv_nsec: 123_456_789,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                Ok(rustix::fs::utimensat(CWD, at(path), &times, flags)?)
            }
            Self::Attribute(path, name, value) => {
                let name = format!("user.test{name}");
                let flags = XattrFlags::empty();
                Ok(rustix::fs::lsetxattr(plain(path)?, name, &[*value], flags)?)
            }
        }
    }
}

/// As mv does it: an overlay cannot rename a folder that it shows from below.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) => {}
        done => return done,
    }
    let meta = fs::symlink_metadata(from)?;
    if to.starts_with(from) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if fs::symlink_metadata(to).is_ok() {
        fs::remove_dir(to)?;
    }
    fs::create_dir(to)?;
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(from)? {
        names.push(OsString::from_vec(entry?.file_name().into_vec()));
    }
    for name in names {
        rename(&from.join(&name), &to.join(&name))?;
    }
    for attribute in crate::tree::attributes(from) {
        rustix::fs::lsetxattr(to, attribute.0.as_str(), &attribute.1, XattrFlags::empty())?;
    }
    fs::File::open(to)?.set_modified(meta.modified()?)?;
    fs::set_permissions(to, meta.permissions())?;
    fs::remove_dir(from)
}

/// Keeps operations in a file.
pub(crate) fn save(path: &Path, operations: &[Operation]) {
    let fields: Vec<Vec<u8>> = operations.iter().flat_map(Operation::fields).collect();
    fs::write(path, fields.join(&0)).unwrap();
}

/// Reads what was kept.
pub(crate) fn load(path: &Path) -> Vec<Operation> {
    let bytes = fs::read(path).unwrap();
    let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    fields.chunks_exact(4).map(Operation::parse).collect()
}
