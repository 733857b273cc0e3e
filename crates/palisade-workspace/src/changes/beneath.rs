//! One folder, and what lies beneath it: never what a link in it leads to, nor what is mounted on it.
//!
//! Every name below the workspace can be replaced at any time, and every name below an upper was chosen by the agent. So
//! paths are resolved by the kernel from one descriptor, in one call each, and a path is at most what one call takes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

/// The longest path that one system call takes: `PATH_MAX` without its zero byte.
pub(crate) const LONGEST_PATH: usize = 4095;

/// How often a resolution is tried that met a rename (`openat2(2)`: `EAGAIN`).
const TRIES: u32 = 16;

/// A folder that was opened by its path once, and is only used through its descriptor since.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens a folder. Links on the way to it are followed: its path is ours or the user's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            root,
            path: path.to_path_buf(),
        })
    }

    /// Where it lay when it was opened, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its own descriptor.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the folder at a path beneath it; the empty path is itself.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a regular file to read it. Opening anything else neither blocks nor has an effect.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let handle = self.handle(path)?;
        regular(&handle)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.resolve(path, flags)?;
        regular(&file)?;
        Ok(file)
    }

    /// A descriptor that stands for the path itself, whatever it is.
    pub(crate) fn handle(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// What is at a path, the last name not followed. Nothing, where a name on the way is missing or no folder.
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<Stat>, Errno> {
        match self.handle(path) {
            Ok(handle) => rustix::fs::fstat(handle).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let open = || {
            let flags = flags | OFlags::CLOEXEC;
            rustix::fs::openat2(&self.root, path, flags, Mode::empty(), how)
        };
        for _ in 1..TRIES {
            match open() {
                Err(Errno::AGAIN | Errno::INTR) => {}
                done => return done,
            }
        }
        open()
    }
}

/// What a name in a folder is, not followed. Nothing, where it is missing.
pub(crate) fn look(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, in the order of their bytes.
pub(crate) fn names(folder: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    // A descriptor remembers how far it was listed.
    rustix::fs::seek(folder, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    let mut names = Vec::new();
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A path by which the kernel finds a name in an open folder, for the calls that know no descriptors of folders. The last
/// name is not followed by the calls this is for.
pub(crate) fn through(folder: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    path.push(name);
    path
}

/// A path that leads to an open file whatever the rights to it, for `chmod` and the like.
pub(crate) fn itself(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// The kind of what was looked at.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The folder that a path is in, and its name there. `path` is not empty.
pub(crate) fn split(path: &Path) -> (&Path, &OsStr) {
    let parent = path.parent().unwrap_or(Path::new(""));
    (parent, path.file_name().unwrap_or_default())
}

/// Whether one system call can be given this path.
pub(crate) fn fits(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= LONGEST_PATH
}

fn regular(fd: &OwnedFd) -> Result<(), Errno> {
    match kind(&rustix::fs::fstat(fd)?) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_and_no_pipe_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("in/d")).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        fs::write(root.join("out/secret"), "s").unwrap();
        fs::write(root.join("in/d/f"), "f").unwrap();
        symlink("../out", root.join("in/link")).unwrap();
        symlink("d/f", root.join("in/near")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("in/pipe"),
            FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let inside = Beneath::open(&root.join("in")).unwrap();
        assert!(inside.file(Path::new("d/f")).is_ok());
        assert!(inside.directory(Path::new("")).is_ok());
        for path in ["link/secret", "near", "../out/secret", "d/../../out/secret"] {
            assert!(inside.file(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(
            inside.file(Path::new("pipe")).unwrap_err(),
            Errno::INVAL,
            "without waiting for a writer"
        );
        assert!(inside.directory(Path::new("link")).is_err());
        let link = inside.stat(Path::new("near")).unwrap().unwrap();
        assert_eq!(kind(&link), FileType::Symlink);
        assert!(inside.stat(Path::new("link/secret")).unwrap().is_none());
        assert!(inside.stat(Path::new("d/f/x")).unwrap().is_none());
    }
}
