//! Overlays: a host directory below, what is changed above.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Mode, OFlags, StatVfsMountFlags, XattrFlags, chmodat, fremovexattr, fsetxattr, fstat,
    fstatvfs, mkdirat, openat,
};
use rustix::mount::{FsOpenFlags, MountAttrFlags, fsconfig_set_flag, fsconfig_set_string, fsopen};

use super::{put, take_off};
use crate::tree::Overlay;

/// An attribute of the kind the overlay keeps its notes in.
const TRIAL: &CStr = c"user.palisade.trial";

/// Makes an overlay of what is shown at its places below the working directory, the new root, and takes that off: the
/// overlay holds on to copies of its own.
pub(super) fn mount(root: BorrowedFd<'_>, overlay: &Overlay) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lower = openat(root, &*overlay.lower, flags, Mode::empty())?;
    if overlay.empty {
        // The directory on top is the one whose permissions count.
        let mode = Mode::from_raw_mode(fstat(&lower)?.st_mode);
        mkdirat(root, &*overlay.upper, mode)?;
        chmodat(root, &*overlay.upper, mode, AtFlags::empty())?;
        mkdirat(root, &*overlay.work, Mode::RWXU)?;
    }
    let upper = openat(root, &*overlay.upper, flags, Mode::empty())?;
    keeps_attributes(upper.as_fd())?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    // An overlay does not ask how its layers are mounted.
    let no_exec = fstatvfs(&lower)?.f_flag.contains(StatVfsMountFlags::NOEXEC);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, no_exec);
    drop((lower, upper));
    let mounted = compose(&overlay.lower, &overlay.upper, &overlay.work, attributes)?;
    take_off(&overlay.lower)?;
    take_off(&overlay.changes)?;
    put(&mounted, root, &overlay.target)
}

/// An overlay of these layers, not attached yet. Their paths start at the working directory.
pub(crate) fn compose(
    lower: &CStr,
    upper: &CStr,
    work: &CStr,
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Notes in trusted.* could not be read by who reviews the changes without root.
    fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    // The default is the distribution's. Where it is on, the kernel falls back to off in a user namespace, and says so in
    // its log.
    fsconfig_set_string(context.as_fd(), c"index", c"off")?;
    fsconfig_set_string(context.as_fd(), c"lowerdir", lower)?;
    fsconfig_set_string(context.as_fd(), c"upperdir", upper)?;
    fsconfig_set_string(context.as_fd(), c"workdir", work)?;
    super::mount(&context, attributes)
}

/// Without attributes an overlay mounts all the same, but a directory that was removed could not be made again.
pub(crate) fn keeps_attributes(upper: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fsetxattr(upper, TRIAL, b"y", XattrFlags::empty())?;
    fremovexattr(upper, TRIAL)
}
