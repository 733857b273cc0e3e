//! Masks laid while the session runs.
//!
//! The agent's mounts belong to a user namespace in which nobody has rights any more. A process of our own goes in from
//! outside, which the caller may since the namespace is theirs (user_namespaces(7)), and lays what it is told to. It
//! stays out of the process namespace: inside nobody can see, signal or trace it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_boundary::Masker;
use palisade_sys::clone::{Child, spawn};
use palisade_sys::process::close_all_from;
use palisade_sys::signal;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tree::{EMPTY_DIRECTORY, EMPTY_FILE};

/// `TMPFS_MAGIC` of linux/magic.h.
const TMPFS: i64 = 0x0102_1994;

/// Longest message: a path as the kernel takes it (PATH_MAX), its end, and what it is to be.
const MOST_BYTES: usize = 4096 + 1;

/// Answers beside the kernel's error numbers.
const DONE: i32 = 0;
const NOTHING_TO_DO: i32 = -1;

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;

/// The two namespaces that masks are laid in.
#[derive(Debug)]
pub(crate) struct Namespaces {
    user: OwnedFd,
    mount: OwnedFd,
}

impl Namespaces {
    /// Those of the boundary whose first process this is. Has to be asked for before that process closes its memory: then
    /// they are no longer shown, but to the host's root.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let open = |name| {
            let path = format!("/proc/{}/ns/{name}", pid.as_raw_nonzero());
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty())
        };
        Ok(Self {
            user: open("user")?,
            mount: open("mnt")?,
        })
    }
}

/// The supervisor's end. The process is started when it is first wanted, and ended when this is dropped.
#[derive(Debug)]
pub(crate) struct NativeMasker {
    inside: Namespaces,
    process: Option<Process>,
}

impl NativeMasker {
    /// For a boundary that stands.
    pub(crate) fn new(inside: Namespaces) -> Self {
        Self {
            inside,
            process: None,
        }
    }

    fn process(&mut self) -> io::Result<&Process> {
        let process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.inside)?,
        };
        Ok(self.process.insert(process))
    }
}

impl Masker for NativeMasker {
    fn mask(&mut self, path: &Path, directory: bool) -> io::Result<bool> {
        let mut message = vec![if directory { DIRECTORY } else { FILE }];
        message.extend_from_slice(path.as_os_str().as_bytes());
        if message.len() >= MOST_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        let process = self.process()?;
        send(process.control()?, &message, SendFlags::NOSIGNAL)?;
        process.answer()
    }
}

#[derive(Debug)]
struct Process {
    control: Option<OwnedFd>,
    child: Child,
}

impl Process {
    fn start(inside: &Namespaces) -> io::Result<Self> {
        let kind = SocketType::SEQPACKET;
        let (control, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let mut kept = [&theirs, &inside.user, &inside.mount].map(AsRawFd::as_raw_fd);
        kept.sort_unstable();
        let child = spawn(0, || serve(&theirs, inside, &kept))?;
        drop(theirs);
        let process = Self {
            control: Some(control),
            child,
        };
        // It says when it stands.
        process.answer()?;
        Ok(process)
    }

    fn control(&self) -> io::Result<&OwnedFd> {
        self.control.as_ref().ok_or_else(|| Errno::BADF.into())
    }

    /// Whether something was done.
    fn answer(&self) -> io::Result<bool> {
        let mut bytes = [0; 4];
        loop {
            return match recv(self.control()?, &mut bytes, RecvFlags::empty()) {
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

impl Drop for Process {
    fn drop(&mut self) {
        self.control = None;
        while let Err(Errno::INTR) = waitid(
            WaitId::PidFd(self.child.pidfd.as_fd()),
            WaitIdOptions::EXITED,
        ) {}
    }
}

/// The process's whole life. It neither allocates nor locks: the supervisor has other threads.
fn serve(control: &OwnedFd, inside: &Namespaces, kept: &[i32]) -> u8 {
    let entered = enter(inside, kept);
    let told = tell(
        control,
        entered.as_ref().map(|_| true).map_err(|errno| *errno),
    );
    let (Ok(empties), true) = (entered, told) else {
        return 1;
    };
    // One byte more than is sent, so that the path has an end.
    let mut message = [0; MOST_BYTES + 1];
    loop {
        message.fill(0);
        let length = match recv(control, &mut message[..MOST_BYTES], RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(_) => return 1,
        };
        let Some((kind, path)) = message[..length + 1].split_first() else {
            return 0;
        };
        if length == 0 {
            // The supervisor let go.
            return 0;
        }
        let done = match CStr::from_bytes_with_nul(path) {
            Ok(path) => empties.lay(path, *kind == DIRECTORY),
            Err(_) => Err(Errno::INVAL),
        };
        if !tell(control, done) {
            return 1;
        }
    }
}

fn tell(control: &OwnedFd, outcome: rustix::io::Result<bool>) -> bool {
    let answer = match outcome {
        Ok(true) => DONE,
        Ok(false) => NOTHING_TO_DO,
        Err(errno) => errno.raw_os_error(),
    };
    send(control, &answer.to_ne_bytes(), SendFlags::NOSIGNAL).is_ok()
}

fn enter(inside: &Namespaces, kept: &[i32]) -> rustix::io::Result<Empties> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    set_parent_process_death_signal(Some(Signal::KILL))?;
    signal::block_all().map_err(errno)?;
    close_all_from(3, kept).map_err(errno)?;
    // Only a name in process listings.
    let _ = rustix::thread::set_name(c"palisade-masker");
    for (namespace, kind) in [
        (&inside.user, LinkNameSpaceType::User),
        (&inside.mount, LinkNameSpaceType::Mount),
    ] {
        move_into_link_name_space(namespace.as_fd(), Some(kind))?;
    }
    // The kernel forgets it at each change of rights (prctl(2), PR_SET_PDEATHSIG).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Empties::new()
}

/// What is laid over things: the empty file and the empty directory that masks are copies of.
struct Empties {
    file: OwnedFd,
    directory: OwnedFd,
}

impl Empties {
    fn new() -> rustix::io::Result<Self> {
        let root = openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |name| openat(&root, name, flags, Mode::empty());
        let (file, directory) = (open(EMPTY_FILE)?, open(EMPTY_DIRECTORY)?);
        let kind = |of: &OwnedFd| fstat(of).map(|own| FileType::from_raw_mode(own.st_mode));
        if kind(&file)? != FileType::RegularFile || kind(&directory)? != FileType::Directory {
            return Err(Errno::INVAL);
        }
        Ok(Self { file, directory })
    }

    /// Lays something empty over a path, which is not followed anywhere. What is gone needs nothing.
    fn lay(&self, path: &CStr, directory: bool) -> rustix::io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let kind = FileType::from_raw_mode(fstat(&place)?.st_mode);
        let is_directory = kind == FileType::Directory;
        if kind == FileType::Symlink || is_directory != directory || is_masked(&place)? {
            return Ok(false);
        }
        let empty = if directory {
            &self.directory
        } else {
            &self.file
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(empty, c"", flags)?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(copy.as_fd(), c"", place.as_fd(), c"", flags)?;
        Ok(true)
    }
}

/// Whether what lies at a place is a mask: nothing else there is both empty and in memory, read-only.
fn is_masked(place: &OwnedFd) -> rustix::io::Result<bool> {
    let read_only = rustix::fs::fstatvfs(place)?
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::RDONLY);
    Ok(read_only && is_empty(place)?)
}

fn is_empty(place: &OwnedFd) -> rustix::io::Result<bool> {
    let own = fstat(place)?;
    let empty = FileType::from_raw_mode(own.st_mode) == FileType::Directory || own.st_size == 0;
    Ok(empty && fstatfs(place)?.f_type == TMPFS)
}
