//! A hand that reaches into a boundary from outside and lays masks there while the agent runs.
//!
//! ```text
//!   supervisor: Hand ── path, kind ──▶ serve(): in the mount namespace of the inside, and in no other of it
//!                    ◀── done, nothing to do, or an error
//! ```
//!
//! Whoever serves stays out of the process namespace: inside nobody can see, signal or trace it. It can do nothing but lay
//! a copy of something empty over a path, unless it was started to keep changes apart, or to attach what the supervisor hands it, as well.
//!
//! # Invariants
//! * [`serve`] neither allocates nor locks, because it may run after `clone` in a process with other threads.
//! * It ends when the supervisor's end is closed.

mod apart;
mod attach;
mod process;
pub(crate) mod program;

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use rustix::process::{chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use self::attach::{CHANGES, LOWER, Layers, composed};
pub use self::process::HandProcess;
pub use self::program::{EMPTY_DIRECTORY, EMPTY_FILE};

/// Longest message: two paths as the kernel takes them (PATH_MAX), their ends, and what is to be done with them.
const MOST_BYTES: usize = 2 * 4096 + FIELDS + 1;

/// Answers beside the kernel's error numbers.
const DONE: i32 = 0;
const NOTHING_TO_DO: i32 = -1;

/// How often a path may be replaced while it is masked. An editor does it once; who does it on and on wants no mask.
const MOST_REPLACED: usize = 100;

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
/// Attach the mount that comes with the message.
const ATTACH: u8 = 2;
/// Make an overlay of what was attached at its places in the session's folder.
const OVERLAY: u8 = 3;
/// Make an overlay of what is mounted at a path and of a file system in memory, whose size and owner come before the path.
const APART: u8 = 4;
/// Move what is mounted at the first path to the second.
const MOVE: u8 = 5;

/// Bytes before the path of [`APART`].
const FIELDS: usize = 16;

/// What a hand may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Lay masks.
    Mask,
    /// And keep changes apart from what is mounted there.
    Apart,
    /// And attach mounts.
    Attach,
}

/// The two namespaces that masks are laid in.
#[derive(Debug)]
pub struct Namespaces {
    /// Whose rights count there.
    pub user: OwnedFd,
    /// What is mounted.
    pub mount: OwnedFd,
    /// What paths start at, where that is not the mount namespace's own root.
    pub root: Option<OwnedFd>,
}

impl Namespaces {
    /// Those of a process by its number, or `self`. Has to be asked for before that process closes its memory: then they are
    /// no longer shown, but to the host's root.
    ///
    /// # Errors
    /// There is no such process, or it is another's.
    pub fn of(process: &str) -> io::Result<Self> {
        let open = |name| {
            let path = format!("/proc/{process}/ns/{name}");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty())
        };
        Ok(Self {
            user: open("user")?,
            mount: open("mnt")?,
            root: None,
        })
    }

    /// Those of a process by its number, with the root it has.
    ///
    /// # Errors
    /// There is no such process, or it is another's.
    pub fn with_root(process: &str) -> io::Result<Self> {
        let path = format!("/proc/{process}/root");
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            root: Some(root),
            ..Self::of(process)?
        })
    }

    /// Enters both, or the mounts alone where the rights of another user namespace do: `own` says so. For use after
    /// `clone`.
    ///
    /// # Errors
    /// `EPERM` for whoever has no rights there.
    pub fn enter(&self, own: bool) -> rustix::io::Result<()> {
        if !own {
            move_into_link_name_space(self.user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))?;
        if let Some(root) = &self.root {
            fchdir(root)?;
            chroot(c".")?;
        }
        Ok(())
    }

    /// Whether its user namespace is the caller's.
    ///
    /// # Errors
    /// The caller's own is not shown.
    pub fn is_own_user(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let own = openat(CWD, c"/proc/self/ns/user", flags, Mode::empty())?;
        Ok(same(&fstat(&own)?, &fstat(&self.user)?))
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Hand(pub OwnedFd);

impl Hand {
    /// Lays a mask and says whether there was anything to do (see `Masker` of the boundary).
    ///
    /// # Errors
    /// It is there and could not be masked, or the other side is gone.
    pub fn mask(&self, path: &Path, directory: bool) -> io::Result<bool> {
        self.say(if directory { DIRECTORY } else { FILE }, path, None)
    }

    /// Attaches a mount at a path, which has to be there and is not followed anywhere.
    ///
    /// # Errors
    /// The kernel refused, the hand may not, or the other side is gone.
    pub fn attach(&self, path: &Path, mount: BorrowedFd<'_>) -> io::Result<()> {
        self.say(ATTACH, path, Some(mount)).map(drop)
    }

    /// Lays an overlay over a path, made of what was attached at [`LOWER`] and [`CHANGES`], and takes that off.
    ///
    /// # Errors
    /// As [`Hand::attach`].
    pub fn overlay(&self, path: &Path) -> io::Result<()> {
        self.say(OVERLAY, path, None).map(drop)
    }

    /// Makes an overlay of what is mounted at a path, without what is mounted below it, and of at most `size` bytes in memory
    /// that belong to `owner`. It comes to lie at [`LOWER`], from where it is moved.
    ///
    /// # Errors
    /// As [`Hand::attach`].
    pub fn apart(&self, path: &Path, size: u64, owner: (u32, u32)) -> io::Result<()> {
        let mut message = vec![APART];
        message.extend(size.to_ne_bytes());
        message.extend(owner.0.to_ne_bytes());
        message.extend(owner.1.to_ne_bytes());
        message.extend_from_slice(path.as_os_str().as_bytes());
        self.send(&message, None).map(drop)
    }

    /// Moves what is mounted at a path, with all that is mounted below it.
    ///
    /// # Errors
    /// As [`Hand::attach`].
    pub fn move_mount(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut message = vec![MOVE];
        message.extend_from_slice(from.as_os_str().as_bytes());
        message.push(0);
        message.extend_from_slice(to.as_os_str().as_bytes());
        self.send(&message, None).map(drop)
    }

    fn say(&self, kind: u8, path: &Path, mount: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let mut message = vec![kind];
        message.extend_from_slice(path.as_os_str().as_bytes());
        self.send(&message, mount)
    }

    fn send(&self, message: &[u8], mount: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        if message.len() >= MOST_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let mounts = mount.as_slice();
        if !mounts.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(mounts));
        }
        let parts = [IoSlice::new(message)];
        sendmsg(&self.0, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        self.answer()
    }

    /// Waits for an answer. The first, which nobody asked for, says that the other side stands.
    ///
    /// # Errors
    /// What the other side met.
    pub fn answer(&self) -> io::Result<bool> {
        let mut bytes = [0; 4];
        loop {
            return match recv(&self.0, &mut bytes, RecvFlags::empty()) {
                Ok((_, 4)) => match i32::from_ne_bytes(bytes) {
                    DONE => Ok(true),
                    NOTHING_TO_DO => Ok(false),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                },
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }
}

/// The hand's life, once it has entered or failed to: says which, and does what it is told to and may. For use after
/// `clone`. Yields an exit status.
pub fn serve(control: &OwnedFd, entered: rustix::io::Result<Empties>, may: May) -> u8 {
    let outcome = entered.as_ref().map(|_| true).map_err(|errno| *errno);
    let (Ok(empties), true) = (entered, tell(control, outcome)) else {
        return 1;
    };
    // One byte more than is sent, so that the path has an end.
    let mut message = [0; MOST_BYTES + 1];
    loop {
        message.fill(0);
        let (length, mount) = match hear(control, &mut message[..MOST_BYTES]) {
            Ok(heard) => heard,
            Err(Errno::INTR) => continue,
            Err(_) => return 1,
        };
        let Some((kind, rest)) = message[..length + 1].split_first() else {
            return 0;
        };
        if length == 0 {
            // The supervisor let go.
            return 0;
        }
        let done = match *kind {
            APART if may != May::Mask => apart(rest),
            MOVE if may != May::Mask => move_one(rest),
            kind => match (CStr::from_bytes_with_nul(rest), kind, mount) {
                (Ok(path), FILE | DIRECTORY, None) => empties.lay(path, kind == DIRECTORY),
                (Ok(path), ATTACH, Some(mount)) if may == May::Attach => {
                    attach::attach(&mount, path)
                }
                (Ok(path), OVERLAY, None) if may == May::Attach => attach::overlay(path),
                _ => Err(Errno::INVAL),
            },
        };
        if !tell(control, done) {
            return 1;
        }
    }
}

fn apart(message: &[u8]) -> rustix::io::Result<bool> {
    let (fields, path) = message.split_at_checked(FIELDS).ok_or(Errno::INVAL)?;
    let (size, owner) = fields.split_at(8);
    let (user, group) = owner.split_at(4);
    let size = size.try_into().map_err(|_| Errno::INVAL)?;
    let user = user.try_into().map_err(|_| Errno::INVAL)?;
    let group = group.try_into().map_err(|_| Errno::INVAL)?;
    let path = CStr::from_bytes_with_nul(path).map_err(|_| Errno::INVAL)?;
    let owner = (u32::from_ne_bytes(user), u32::from_ne_bytes(group));
    apart::apart(path, u64::from_ne_bytes(size), owner)
}

fn move_one(message: &[u8]) -> rustix::io::Result<bool> {
    let from = CStr::from_bytes_until_nul(message).map_err(|_| Errno::INVAL)?;
    let to = message.get(from.count_bytes() + 1..).unwrap_or_default();
    let to = CStr::from_bytes_with_nul(to).map_err(|_| Errno::INVAL)?;
    apart::move_mount_of(from, to)
}

fn hear(control: &OwnedFd, message: &mut [u8]) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(
        control,
        &mut [IoSliceMut::new(message)],
        &mut ancillary,
        flags,
    )?;
    let mut mount = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            mount = descriptors.next();
        }
    }
    Ok((received.bytes, mount))
}

fn tell(control: &OwnedFd, outcome: rustix::io::Result<bool>) -> bool {
    let answer = match outcome {
        Ok(true) => DONE,
        Ok(false) => NOTHING_TO_DO,
        Err(errno) => errno.raw_os_error(),
    };
    send(control, &answer.to_ne_bytes(), SendFlags::NOSIGNAL).is_ok()
}

/// What is laid over things: the empty file and the empty directory that masks are copies of.
#[derive(Debug)]
pub struct Empties {
    file: Empty,
    directory: Empty,
}

#[derive(Debug)]
struct Empty {
    place: OwnedFd,
    own: Stat,
}

impl Empties {
    /// Those at these paths, which start at the root of the namespace that was entered. Their mounts have to be read-only.
    ///
    /// # Errors
    /// They are not there, or something else is.
    pub fn open(file: &CStr, directory: &CStr) -> rustix::io::Result<Self> {
        let root = openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let open = |name: &CStr, wanted: FileType| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = openat(&root, name, flags, Mode::empty())?;
            let own = fstat(&place)?;
            if FileType::from_raw_mode(own.st_mode) != wanted || !is_read_only(&place)? {
                return Err(Errno::INVAL);
            }
            Ok(Empty { place, own })
        };
        Ok(Self {
            file: open(file, FileType::RegularFile)?,
            directory: open(directory, FileType::Directory)?,
        })
    }

    /// Lays something empty over a path, which is not followed anywhere. What is gone needs nothing. For use after `clone`.
    ///
    /// # Errors
    /// It is there and the kernel refused.
    pub fn lay(&self, path: &CStr, directory: bool) -> rustix::io::Result<bool> {
        // What was replaced since it was found is no place for a mount any more (ENOENT).
        for _ in 0..MOST_REPLACED {
            match self.lay_over_what_is_there(path, directory) {
                Err(Errno::NOENT) => {}
                other => return other,
            }
        }
        Err(Errno::NOENT)
    }

    fn lay_over_what_is_there(&self, path: &CStr, directory: bool) -> rustix::io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let found = fstat(&place)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_directory = kind == FileType::Directory;
        let empty = if directory {
            &self.directory
        } else {
            &self.file
        };
        let is_masked = same(&found, &empty.own) && is_read_only(&place)?;
        if kind == FileType::Symlink || is_directory != directory || is_masked {
            return Ok(false);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&empty.place, c"", flags)?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(copy.as_fd(), c"", place.as_fd(), c"", flags)?;
        Ok(true)
    }
}

fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn is_read_only(place: &OwnedFd) -> rustix::io::Result<bool> {
    let flags = rustix::fs::fstatvfs(place)?.f_flag;
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
