//! User namespaces as values: a mapping of owners for id-mapped mounts.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, set_parent_process_death_signal, waitid,
};

use crate::clone::{Child, USER_NAMESPACE, spawn};

/// One line of a user or group map: this one id inside is that one id outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdPair {
    /// Inside the namespace (on an id-mapped mount: the owner as stored on disk).
    pub inside: u32,
    /// Outside of it.
    pub outside: u32,
}

/// Writes the maps of a process's new user namespace. `deny_groups` gives up `setgroups` inside, which the kernel demands
/// of a caller without privileges (user_namespaces(7)).
///
/// # Errors
/// `EPERM` where the caller may not map these ids.
pub fn write_maps(pid: Pid, user: IdPair, group: IdPair, deny_groups: bool) -> io::Result<()> {
    let base = format!("/proc/{}", pid.as_raw_nonzero());
    if deny_groups {
        fs::write(format!("{base}/setgroups"), "deny")?;
    }
    let line = |pair: IdPair| format!("{} {} 1\n", pair.inside, pair.outside);
    fs::write(format!("{base}/gid_map"), line(group))?;
    fs::write(format!("{base}/uid_map"), line(user))
}

/// A user namespace that nobody is in, with these maps.
///
/// It is made by a process that lives only until the namespace is held by its descriptor.
///
/// # Errors
/// As [`spawn`] and [`write_maps`].
pub fn user_namespace(user: IdPair, group: IdPair) -> io::Result<OwnedFd> {
    let holder = spawn(USER_NAMESPACE, wait_for_the_end)?;
    let made = write_maps(holder.pid, user, group, false).and_then(|()| {
        File::open(format!("/proc/{}/ns/user", holder.pid.as_raw_nonzero()))
    });
    end(&holder)?;
    made.map(OwnedFd::from)
}

fn wait_for_the_end() -> u8 {
    // Without this a parent that dies right now would leave the holder behind.
    if set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
        loop {
            let _ = rustix::event::poll(&mut [], None);
        }
    }
    1
}

fn end(holder: &Child) -> io::Result<()> {
    pidfd_send_signal(&holder.pidfd, Signal::KILL)?;
    waitid(WaitId::PidFd(holder.pidfd.as_fd()), WaitIdOptions::EXITED)?;
    Ok(())
}
