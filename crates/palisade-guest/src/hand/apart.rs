//! Changes kept in memory, over what an engine mounted, for a supervisor that can make no mounts of its own. For use after
//! `clone`.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, chmodat, chownat, fstat, mkdirat, openat2,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::process::{Gid, Uid};

use super::attach::{CHANGES_LAYER, LOWER_LAYER, as_itself, attach, of_layers};

/// Files and directories a file system in memory may hold, as natively.
const MOST_INODES: &CStr = c"1m";

/// The engine's mount becomes the lower, and the overlay comes to lie where that was attached.
pub(super) fn apart(path: &CStr, size: u64, owner: (u32, u32)) -> rustix::io::Result<bool> {
    let place = place(path)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let lower = open_tree(&place, c"", flags)?;
    // The directory on top is the one whose permissions count.
    let mode = Mode::from_raw_mode(fstat(&place)?.st_mode);
    let memory = memory(size)?;
    for (name, mode) in [(c"upper", mode), (c"work", Mode::RWXU)] {
        mkdirat(&memory, name, Mode::RWXU)?;
        chmodat(&memory, name, mode, AtFlags::empty())?;
        let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        chownat(&memory, name, Some(user), Some(group), AtFlags::empty())?;
    }
    attach(&lower, LOWER_LAYER)?;
    attach(&memory, CHANGES_LAYER)?;
    let made = of_layers(as_itself)?;
    attach(&made, LOWER_LAYER)
}

/// With all that is mounted below it.
pub(super) fn move_mount_of(from: &CStr, to: &CStr) -> rustix::io::Result<bool> {
    let (from, to) = (place(from)?, place(to)?);
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(from.as_fd(), c"", to.as_fd(), c"", flags)?;
    Ok(true)
}

fn place(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

fn memory(size: u64) -> rustix::io::Result<OwnedFd> {
    let mut digits = [0; 24];
    write!(&mut digits[..], "{size}").map_err(|_| Errno::INVAL)?;
    let size = CStr::from_bytes_until_nul(&digits).map_err(|_| Errno::INVAL)?;
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"size", size)?;
    fsconfig_set_string(context.as_fd(), c"nr_inodes", MOST_INODES)?;
    fsconfig_set_string(context.as_fd(), c"mode", c"700")?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
