//! The session's side of an overlay, as the kernel keeps it (Documentation/filesystems/overlayfs.rst).

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Stat, StatxFlags};
use rustix::io::Errno;

use super::Moment;
use super::beneath::{self, Beneath};
use super::record::{self, Fields};

/// Where the kernel marks a folder that hides the one below: `y`. With `x`, empty files in it may be whiteouts.
const OPAQUE: &str = "user.overlay.opaque";
/// What marks such a file.
const WHITEOUT: &str = "user.overlay.whiteout";
/// The file that was copied up, for what was not made in the session.
const ORIGIN: &str = "user.overlay.origin";
/// The kernel's own attributes, and those that an agent gave a name among them (stored as `user.overlay.overlay.…`).
const PRIVATE: &[u8] = b"user.overlay.";
/// The longest list of attributes, and the longest value: the kernel's `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const XATTR_MOST: usize = 64 << 10;
/// File in the folder of the changes: permission bits that were widened so that an ordinary user can read or remove.
const MODES: &str = "modes";

/// The upper folder.
#[derive(Debug)]
pub(crate) struct Upper {
    pub(crate) tree: Beneath,
    folder: PathBuf,
    /// The agent's permission bits of what was widened, by inode and by when that was made: numbers of inodes come again.
    modes: RefCell<HashMap<(u64, Moment), u32>>,
}

/// What a folder of the upper does with the one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// Both are seen, the upper first.
    Merge,
    /// The same, and empty files in it may be whiteouts.
    MergeFiles,
    /// Nothing of the one below is seen.
    Opaque,
}

impl Upper {
    /// Opens the upper of a folder of changes.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let mut modes = HashMap::new();
        for fields in record::read(&folder.join(MODES))? {
            let made = fields.signed(2).zip(fields.number(3));
            if let (Some(inode), Some(mode), Some((seconds, nanoseconds))) =
                (fields.number(0), fields.number(1), made)
            {
                let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
                let made = Moment {
                    seconds,
                    nanoseconds,
                };
                modes.insert((inode, made), u32::try_from(mode).unwrap_or(0));
            }
        }
        Ok(Self {
            tree: Beneath::open(&folder.join("upper"))?,
            folder: folder.to_path_buf(),
            modes: RefCell::new(modes),
        })
    }

    /// Opens a folder to list it, and makes it and those on the way accessible where the agent took our rights away.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let folder = match self.tree.directory(path) {
            Err(Errno::ACCESS) => {
                self.widen(path, 0o700)?;
                self.tree.directory(path)?
            }
            opened => opened?,
        };
        self.permit(path, &folder, 0o500)?;
        Ok(folder)
    }

    /// Opens a regular file to read it, in the same way.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.tree.file(path) {
            Err(Errno::ACCESS) => {
                self.widen(path, 0o400)?;
                self.tree.file(path)
            }
            done => done,
        }
    }

    /// Makes sure that names in a folder can be removed.
    pub(crate) fn writable(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let folder = self.directory(path)?;
        self.permit(path, &folder, 0o700)?;
        Ok(folder)
    }

    /// Makes sure of these bits of an open folder, which count at each use of it.
    fn permit(&self, path: &Path, folder: &OwnedFd, bits: u32) -> Result<(), Errno> {
        if rustix::fs::fstat(folder)?.st_mode & bits != bits && !is_root() {
            self.widen(path, 0o700)?;
        }
        Ok(())
    }

    /// The permission bits that the agent gave to a name in an open folder.
    pub(crate) fn mode(&self, folder: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> u32 {
        let now = stat.st_mode & 0o7777;
        if self.modes.borrow().is_empty() {
            return now;
        }
        match self.modes.borrow().get(&(stat.st_ino, made(folder, name))) {
            // Only as long as they are ours: a later session may have set others.
            Some(mode) if now == mode | 0o700 || now == mode | 0o400 => *mode,
            _ => now,
        }
    }

    /// Gives the owner, who is us, these bits on a path, and search permission on each folder on the way.
    fn widen(&self, path: &Path, bits: u32) -> Result<(), Errno> {
        let mut on_the_way: Vec<&Path> = path.ancestors().collect();
        on_the_way.reverse();
        for step in on_the_way {
            let bits = if step == path { bits } else { 0o700 };
            let handle = self.tree.handle(step)?;
            let stat = rustix::fs::fstat(&handle)?;
            let mode = stat.st_mode & 0o7777;
            let wanted = match beneath::kind(&stat) {
                FileType::Directory | FileType::RegularFile => mode | bits,
                _ => return Err(Errno::ACCESS),
            };
            if wanted == mode {
                continue;
            }
            let original = self.mode(handle.as_fd(), OsStr::new(""), &stat);
            let made = made(handle.as_fd(), OsStr::new(""));
            // First on disk: without it the agent's own bits would be forgotten.
            let fields = Fields::default()
                .add(stat.st_ino)
                .add(original)
                .add(made.seconds)
                .add(made.nanoseconds);
            record::append(&self.folder.join(MODES), &[fields])
                .map_err(|error| to_errno(&error))?;
            self.modes
                .borrow_mut()
                .insert((stat.st_ino, made), original);
            let itself = beneath::itself(handle.as_fd());
            rustix::fs::chmod(itself, Mode::from_raw_mode(wanted))?;
        }
        Ok(())
    }
}

/// When a name was made, or what an open handle stands for if the name is empty. The same for all, where the file system
/// does not know.
fn made(folder: BorrowedFd<'_>, name: &OsStr) -> Moment {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    match rustix::fs::statx(folder, name, flags, StatxFlags::BTIME) {
        Ok(stat) if stat.stx_mask & StatxFlags::BTIME.bits() != 0 => Moment {
            seconds: stat.stx_btime.tv_sec,
            nanoseconds: stat.stx_btime.tv_nsec,
        },
        _ => Moment::default(),
    }
}

/// How an open folder of the upper covers the one below.
pub(crate) fn cover(folder: BorrowedFd<'_>) -> Result<Cover, Errno> {
    let mut value = [0; 2];
    match rustix::fs::fgetxattr(folder, OPAQUE, &mut value[..]) {
        Ok(1) if value[0] == b'y' => Ok(Cover::Opaque),
        Ok(1) if value[0] == b'x' => Ok(Cover::MergeFiles),
        Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(Cover::Merge),
        Err(error) => Err(error),
    }
}

/// Makes an open folder of the upper hide the one below, or show it.
pub(crate) fn set_opaque(folder: BorrowedFd<'_>, opaque: bool) -> Result<(), Errno> {
    if opaque {
        return rustix::fs::fsetxattr(folder, OPAQUE, b"y", rustix::fs::XattrFlags::empty());
    }
    match rustix::fs::fremovexattr(folder, OPAQUE) {
        Err(Errno::NODATA) => Ok(()),
        done => done,
    }
}

/// Whether a name in the upper says that there is nothing.
pub(crate) fn is_whiteout(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    stat: &Stat,
    cover: Cover,
) -> Result<bool, Errno> {
    match beneath::kind(stat) {
        FileType::CharacterDevice => Ok(stat.st_rdev == 0),
        FileType::RegularFile if cover == Cover::MergeFiles && stat.st_size == 0 => {
            has(folder, name, WHITEOUT)
        }
        _ => Ok(false),
    }
}

/// Whether a name in the upper was copied up from below, there or under another name.
pub(crate) fn has_origin(folder: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    has(folder, name, ORIGIN)
}

/// Whether a name in the upper carries file capabilities.
pub(crate) fn has_capabilities(folder: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
    has(folder, name, "security.capability")
}

/// An extended attribute: its name and value.
type Attribute = (Vec<u8>, Vec<u8>);

/// The attributes of a file that are its owner's: `user.*` without the overlay's.
pub(crate) fn attributes(file: BorrowedFd<'_>) -> Result<Vec<Attribute>, Errno> {
    let Some(list) = listed(file)? else {
        return Ok(Vec::new());
    };
    let mut value = Vec::new();
    let mut found = Vec::new();
    for name in list.split(|byte| *byte == 0) {
        if !name.starts_with(b"user.") || name.starts_with(PRIVATE) {
            continue;
        }
        value.resize(XATTR_MOST, 0);
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        found.push((name.to_vec(), value[..length].to_vec()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The names of a file's attributes; nothing, where it has none or cannot have any.
fn listed(file: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    // Most files have none: asking for the length costs no room.
    match rustix::fs::flistxattr_query(file) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let mut list = vec![0; XATTR_MOST];
    let length = rustix::fs::flistxattr(file, &mut list[..])?;
    list.truncate(length);
    Ok(Some(list))
}

/// Whether two open files have the same bytes. Both have this size.
pub(crate) fn same_contents(one: OwnedFd, other: OwnedFd, size: u64) -> io::Result<bool> {
    // Large enough that the calls cost nothing beside the comparison.
    const STEP: usize = 128 << 10;
    let (mut one, mut other) = (File::from(one), File::from(other));
    let step = usize::try_from(size).unwrap_or(STEP).clamp(1, STEP);
    let (mut left, mut right) = (vec![0; step], vec![0; step]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

fn has(folder: BorrowedFd<'_>, name: &OsStr, attribute: &str) -> Result<bool, Errno> {
    let path = beneath::through(folder, name);
    match rustix::fs::lgetxattr_query(path, attribute) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn to_errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
