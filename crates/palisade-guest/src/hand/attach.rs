//! Attaching what the supervisor made: mounts of the host as they are to be seen inside. For use after `clone`.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, XattrFlags, fremovexattr, fsetxattr, fstat,
    fstatvfs, open, openat2,
};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits,
    set_thread_res_gid, set_thread_res_uid,
};

/// Where the layers of an overlay are attached while it is made: folders of the session's own, so that no character of a
/// path has a meaning in the mount options.
pub const LOWER: &str = "/run/palisade/lower";
/// See [`LOWER`].
pub const CHANGES: &str = "/run/palisade/changes";

pub(super) const LOWER_LAYER: &CStr = c"/run/palisade/lower";
pub(super) const CHANGES_LAYER: &CStr = c"/run/palisade/changes";
const LAYERS: Layers = Layers {
    lower: LOWER_LAYER,
    upper: c"/run/palisade/changes/upper",
    work: c"/run/palisade/changes/work",
};

/// Names of what an overlay is made of, without any character that means something in mount options.
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    /// What it lies over.
    pub lower: &'static CStr,
    /// Where changes land, owned by the agent.
    pub upper: &'static CStr,
    /// What the kernel needs beside it.
    pub work: &'static CStr,
}

/// An attribute of the kind the overlay keeps its notes in.
const TRIAL: &CStr = c"user.palisade.trial";

pub(super) fn attach(mount: &OwnedFd, path: &CStr) -> rustix::io::Result<bool> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd(), c"", place.as_fd(), c"", flags)?;
    Ok(true)
}

/// The overlay holds on to copies of its layers, so that they are taken off again.
pub(super) fn overlay(path: &CStr) -> rustix::io::Result<bool> {
    attach(&of_layers(as_user)?, path)
}

/// Makes an overlay of what lies at the two places, as whom `by` says, and clears them.
pub(super) fn of_layers(by: By) -> rustix::io::Result<OwnedFd> {
    let made = composed_by(LAYERS, by);
    // The kernel forgets it at each change of rights (prctl(2), PR_SET_PDEATHSIG).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let made = made?;
    for layer in [LOWER_LAYER, CHANGES_LAYER] {
        unmount(layer, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(made)
}

type Make<'a> = &'a dyn Fn() -> rustix::io::Result<OwnedFd>;
/// As whom an overlay is mounted, given who owns its upper.
pub(super) type By = fn((u32, u32), Make<'_>) -> rustix::io::Result<OwnedFd>;

/// As who serves.
pub(super) fn as_itself(_: (u32, u32), make: Make<'_>) -> rustix::io::Result<OwnedFd> {
    make()
}

/// An overlay of these, attached nowhere, for a calling thread with the rights of root.
///
/// # Errors
/// The kernel refused.
pub fn composed(layers: Layers) -> rustix::io::Result<OwnedFd> {
    composed_by(layers, as_user)
}

fn composed_by(layers: Layers, by: By) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lower = open(layers.lower, flags, Mode::empty())?;
    // An overlay does not ask how its layers are mounted.
    let no_exec = fstatvfs(&lower)?.f_flag.contains(StatVfsMountFlags::NOEXEC);
    // Without attributes an overlay mounts all the same, but a directory that was removed could not be made again.
    let upper = open(layers.upper, flags, Mode::empty())?;
    fsetxattr(&upper, TRIAL, b"y", XattrFlags::empty())?;
    fremovexattr(&upper, TRIAL)?;
    let agent = fstat(&upper)?;
    drop((lower, upper));
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, no_exec);
    by((agent.st_uid, agent.st_gid), &|| {
        compose(layers, attributes)
    })
}

fn compose(layers: Layers, attributes: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    fsconfig_set_string(context.as_fd(), c"index", c"off")?;
    fsconfig_set_string(context.as_fd(), c"lowerdir", layers.lower)?;
    fsconfig_set_string(context.as_fd(), c"upperdir", layers.upper)?;
    fsconfig_set_string(context.as_fd(), c"workdir", layers.work)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// An overlay makes files of its own as whoever mounted it. Where owners are mapped only the agent may (others have no number
/// there), and an overlay that cannot is read-only. The rights stay (capabilities(7)).
fn as_user((uid, gid): (u32, u32), make: Make<'_>) -> rustix::io::Result<OwnedFd> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let (root, wheel) = (Uid::ROOT, Gid::ROOT);
    // They are kept by whatever is started after that, so they are as they were again.
    let before = capabilities_secure_bits()?;
    set_capabilities_secure_bits(before | CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    set_thread_res_gid(wheel, group, wheel)?;
    set_thread_res_uid(root, user, root)?;
    let done = make();
    set_thread_res_uid(root, root, root)?;
    set_thread_res_gid(wheel, wheel, wheel)?;
    set_capabilities_secure_bits(before)?;
    done
}
