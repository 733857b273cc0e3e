//! Attributes of mounts that exist as descriptors (`mount_setattr(2)`, Linux 5.12). For use after `clone`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Set-user-id bits have no meaning on it.
    pub no_set_uid: bool,
    /// Device files on it cannot be opened.
    pub no_devices: bool,
    /// Mounts made on it or below stay here, and those of elsewhere stay there.
    pub private: bool,
    /// Owners are shown as this user namespace maps them. Only for a tree that is not attached yet.
    pub owners: Option<BorrowedFd<'a>>,
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes a mount, and all mounts below it if `recursive`, entirely or not at all.
///
/// # Errors
/// `EPERM` for what an unprivileged namespace may not change; `EINVAL` when a file system does not let owners be mapped.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: Attributes<'_>,
    recursive: bool,
) -> io::Result<()> {
    let bit = |on: bool, bit: u64| if on { bit } else { 0 };
    let attr = MountAttr {
        attr_set: bit(attributes.read_only, libc::MOUNT_ATTR_RDONLY)
            | bit(attributes.no_set_uid, libc::MOUNT_ATTR_NOSUID)
            | bit(attributes.no_devices, libc::MOUNT_ATTR_NODEV)
            | bit(attributes.owners.is_some(), libc::MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: bit(attributes.private, libc::MS_PRIVATE),
        userns_fd: attributes.owners.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: needed because no wrapper has this call. Sound because the path is an empty null-ended string, `attr` has the
    // kernel's layout and stated size, both live through the call and are only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
