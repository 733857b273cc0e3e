//! Trying the boundary's delicate parts for real, in a child that ends at once.
//!
//! Making namespaces is no proof: AppArmor lets them be made and takes their rights, and a container's masked `/proc`
//! only shows when a fresh one is mounted. So the child does with its rights what a session does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use palisade_sys::clone::{Child, EVERY_NAMESPACE, spawn};
use palisade_sys::idmap::{IdPair, write_maps};
use palisade_sys::mount::{Attributes, set_attributes};
use palisade_sys::netlink::{nftables, route};
use palisade_sys::process::exit;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsmount, fsopen,
    move_mount,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Uid, WaitId, WaitIdOptions, fchdir, getegid, geteuid, waitid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::inside::{compose, keeps_attributes};

/// What came of each part: `Ok`, or the kernel's error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Loopback up and every address local, which needs the rights of the new namespace.
    pub(super) loopback: Result<(), Errno>,
    /// Whether IPv6 is there.
    pub(super) ipv6: bool,
    /// The nftables rules that catch every port.
    pub(super) capture: Result<(), Errno>,
    /// A file system in memory, through the mount calls that exist since Linux 5.12.
    pub(super) memory_file_system: Result<(), Errno>,
    /// An overlay whose changes are in memory.
    pub(super) overlay: Result<(), Errno>,
    /// A fresh `/proc`.
    pub(super) proc: Result<(), Errno>,
    /// Terminals of the inside's own.
    pub(super) terminals: Result<(), Errno>,
}

/// Why nothing could be tried.
#[derive(Debug)]
pub(super) enum Refused {
    /// The namespaces.
    Namespaces(io::Error),
    /// The identity maps.
    Maps(io::Error),
    /// Something ordinary, such as a pipe.
    Other(io::Error),
}

/// The unprivileged id that stands in for the agent's when root asks: `nobody`, as the kernel knows it
/// (`DEFAULT_OVERFLOWUID`).
const NOBODY: u32 = 65534;

/// Results travel as one byte each: 0, or the error number, all of which are below 134.
const RESULTS: usize = 7;
const FAILED: u8 = 255;

/// Tries everything once.
pub(super) fn attempt() -> Result<Attempt, Refused> {
    let (go_read, go_write) = pipe()?;
    let (answer_read, answer_write) = pipe()?;
    let root = geteuid().is_root();
    let setup = route::Setup::new();
    let capture = nftables::Capture::new(1);
    let child = spawn(EVERY_NAMESPACE, || {
        // Its copy of this end would keep the pipe open.
        let parent_is_gone = rustix::io::read(&go_read, &mut [0]) != Ok(1);
        if parent_is_gone {
            exit(1);
        }
        let results = try_everything(root, &setup, &capture);
        let told = rustix::io::write(&answer_write, &results) == Ok(RESULTS);
        u8::from(!told)
    })
    .map_err(Refused::Namespaces)?;
    drop((go_read, answer_write));
    let mapped = map(&child, root);
    if mapped.is_ok() {
        // A child that died says so by its empty answer.
        let _ = rustix::io::write(&go_write, &[1]);
    }
    let mut results = [FAILED; RESULTS];
    let answered = mapped.is_ok() && rustix::io::read(&answer_read, &mut results) == Ok(RESULTS);
    end(&child);
    mapped.map_err(Refused::Maps)?;
    if !answered {
        let died = io::Error::other("the trying process ended without an answer");
        return Err(Refused::Other(died));
    }
    Ok(understand(results))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Refused> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|e| Refused::Other(e.into()))
}

fn map(child: &Child, root: bool) -> io::Result<()> {
    let pair = |own: u32| {
        let id = if root { NOBODY } else { own };
        IdPair {
            inside: id,
            outside: id,
        }
    };
    let (user, group) = (pair(geteuid().as_raw()), pair(getegid().as_raw()));
    write_maps(child.pid, user, group, !root)
}

fn end(child: &Child) {
    // It may have ended already; killing and waiting for it twice does no harm.
    let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
    let _ = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// In the child: neither allocates nor locks.
fn try_everything(root: bool, setup: &route::Setup, capture: &nftables::Capture) -> [u8; RESULTS] {
    let identity = if root { become_nobody() } else { Ok(()) };
    let loopback = identity
        .map_err(io::Error::from)
        .and_then(|()| setup.apply());
    let ipv6 = loopback.as_ref().is_ok_and(|l| l.ipv6);
    let none = MountAttrFlags::empty();
    [
        byte(loopback.as_ref().map(|_| ()).map_err(errno)),
        byte(if ipv6 {
            Ok(())
        } else {
            Err(Errno::AFNOSUPPORT)
        }),
        byte(capture.apply(ipv6).map_err(|e| errno(&e))),
        byte(memory_file_system()),
        byte(mount(c"proc", none).map(drop)),
        byte(mount(c"devpts", none).map(drop)),
        // Last, since it changes the working directory.
        byte(overlay()),
    ]
}

fn become_nobody() -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

fn memory_file_system() -> rustix::io::Result<()> {
    let mount = mount(c"tmpfs", MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    let read_only = Attributes {
        read_only: true,
        ..Attributes::default()
    };
    set_attributes(mount.as_fd(), read_only, false).map_err(|e| errno(&e))
}

/// As a session with scratch makes one. Its layers need names, so they lie on the root of this process's own namespace.
fn overlay() -> rustix::io::Result<()> {
    let memory = mount(c"tmpfs", MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(memory.as_fd(), c"", CWD, c"/", flags)?;
    fchdir(&memory)?;
    for name in [c"lower", c"upper", c"work"] {
        mkdirat(&memory, name, Mode::RWXU)?;
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = openat(&memory, c"upper", flags, Mode::empty())?;
    keeps_attributes(upper.as_fd())?;
    compose(
        c"lower",
        c"upper",
        c"work",
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )
    .map(drop)
}

fn mount(kind: &std::ffi::CStr, flags: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn byte(result: rustix::io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(errno) => u8::try_from(errno.raw_os_error()).unwrap_or(FAILED),
    }
}

fn understand(results: [u8; RESULTS]) -> Attempt {
    let result = |byte: u8| match byte {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno.into())),
    };
    let [loopback, ipv6, capture, memory, proc, terminals, overlay] = results;
    Attempt {
        loopback: result(loopback),
        ipv6: ipv6 == 0,
        capture: result(capture),
        memory_file_system: result(memory),
        overlay: result(overlay),
        proc: result(proc),
        terminals: result(terminals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_the_way() {
        let attempt = understand([
            0,
            byte(Err(Errno::AFNOSUPPORT)),
            95,
            0,
            byte(Err(Errno::PERM)),
            0,
            byte(Err(Errno::NODEV)),
        ]);
        assert_eq!(attempt.loopback, Ok(()));
        assert!(!attempt.ipv6);
        assert_eq!(attempt.capture, Err(Errno::OPNOTSUPP));
        assert_eq!(attempt.proc, Err(Errno::PERM));
        assert_eq!(attempt.overlay, Err(Errno::NODEV));
    }

    #[test]
    fn nothing_is_left_of_an_attempt() {
        let children = || {
            let path = "/proc/thread-self/children";
            std::fs::read_to_string(path).expect("children of this thread")
        };
        let before = children();
        // Whether it succeeds depends on the machine; that it cleans up does not.
        let _ = attempt();
        assert_eq!(children(), before);
    }
}
