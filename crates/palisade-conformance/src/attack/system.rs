//! Gaining rights: mounts, namespaces, programs of other users, terminals. Each runs in a process of its own, so that what
//! succeeds ends with it.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use palisade_sys::rare;
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::mount::{
    FsOpenFlags, MountFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, fsopen, mount,
    mount_change, open_tree, unmount,
};
use rustix::process::{geteuid, ioctl_tiocsctty};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::files::own_path;
use super::{Got, any, blocked};
use crate::stage::Stage;

/// Programs of root's that wait for a password, with where they are.
const LENDING: [&str; 4] = ["/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/chsh"];
/// Somebody who is not root.
const NOBODY: u32 = 65534;

/// Those that are there.
pub(crate) fn lending() -> Vec<PathBuf> {
    let all = LENDING.into_iter().map(PathBuf::from);
    let lends = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.mode() & 0o4000 != 0);
    all.filter(lends).collect()
}

/// In a mount namespace of one's own if one is to be had, and on a folder of one's own in any case.
pub(crate) fn mounts(stage: &Stage) -> Got {
    if rare::unshare(rare::NEW_MOUNT).is_ok()
        || rare::unshare(rare::NEW_USER | rare::NEW_MOUNT).is_ok()
    {
        // What is mounted must not show outside of it.
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
    }
    let folder = own_path(stage, "mount");
    fs::create_dir(&folder)?;
    let mounted = mount("none", &folder, "tmpfs", MountFlags::empty(), None);
    if mounted.is_ok() {
        // What is left behind otherwise ends with the namespace.
        let _ = unmount(&folder, UnmountFlags::DETACH);
    }
    // As above.
    let _ = fs::remove_dir(&folder);
    mounted?;
    Ok("a file system was mounted".to_owned())
}

pub(crate) fn mount_objects(_: &Stage) -> Got {
    let objects = || {
        open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLONE)
            .or_else(|_| fsopen("tmpfs", FsOpenFlags::empty()))
    };
    if objects().is_err() {
        // Where this is refused, what follows is refused for want of rights.
        let _ = rare::unshare(rare::NEW_USER | rare::NEW_MOUNT);
    }
    objects()?;
    Ok("a mount could be prepared".to_owned())
}

pub(crate) fn new_namespaces(_: &Stage) -> Got {
    let kinds = [rare::NEW_USER, rare::NEW_MOUNT, rare::NEW_NETWORK];
    any(kinds, "", |kind| {
        rare::unshare(kind)?;
        Ok("a namespace was made".to_owned())
    })
}

pub(crate) fn clone3(_: &Stage) -> Got {
    rare::clone3_user_namespace()?;
    Ok("a process in a user namespace was made".to_owned())
}

pub(crate) fn change_root(_: &Stage) -> Got {
    if rustix::process::chroot("/").is_err() {
        // As for mounts.
        let _ = rare::unshare(rare::NEW_USER);
        rustix::process::chroot("/")?;
    }
    Ok("the root was changed".to_owned())
}

/// Runs a program that root lends its rights, as somebody who is not root, and looks whether it has them.
pub(crate) fn set_user_id_program(stage: &Stage) -> Got {
    any(&stage.lending, "no such program is there", |path| {
        let name = path.display();
        let mut command = Command::new(path);
        if geteuid().is_root() {
            command.uid(NOBODY);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It runs by now: the standard library waits for that.
        let gained = effective_root(child.id());
        end(&mut child);
        gained
            .then(|| format!("{name} runs with root's rights"))
            .ok_or_else(|| blocked(format!("{name} gains no rights")))
    })
}

/// Becomes another user for good.
pub(crate) fn other_user(_: &Stage) -> Got {
    let other = if geteuid().is_root() { NOBODY } else { 0 };
    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(other))?;
    Ok(format!("became user {other}"))
}

/// Types into a terminal of one's own: what is refused there is refused for the person's too.
pub(crate) fn type_into_terminal(_: &Stage) -> Got {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let name = ptsname(&controller, Vec::new())?;
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    rare::new_session()?;
    ioctl_tiocsctty(&terminal)?;
    // Whoever owns the session is hung up on when the other side is closed, so that side stays open to the end.
    std::mem::forget(controller);
    rare::type_into(terminal.as_fd())?;
    Ok("a terminal took what was typed for the person".to_owned())
}

fn effective_root(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let ids: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    matches!(ids.as_slice(), [real, "0", ..] if *real != "0")
}

fn end(child: &mut Child) {
    // One that has ended is waited for all the same.
    let _ = child.kill();
    let _ = child.wait();
}
