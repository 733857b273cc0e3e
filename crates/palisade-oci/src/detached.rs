//! Mounts that are attached nowhere yet: of the host as they are to be seen inside, and in memory. They go with their last user, whatever
//! becomes of palisade.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use palisade_sys::idmap::Owners;
use palisade_sys::mount::{Attributes, set_attributes};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, chmodat, chownat, fstat, mkdirat, openat2,
};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};
use rustix::process::{Gid, Uid};

/// Files and directories a file system in memory may hold, as natively.
const MOST_INODES: &str = "1m";

/// Its user and group on the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent(pub(crate) (u32, u32));

impl Agent {
    /// Gives it something on a file system of ours.
    pub(crate) fn give(self, memory: &OwnedFd, name: &CStr) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.0.0), Gid::from_raw(self.0.1));
        Ok(chownat(
            memory,
            name,
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// Where an overlay keeps its changes in memory, for a folder of this mode.
    pub(crate) fn changes(self, size: u64, mode: Mode) -> io::Result<OwnedFd> {
        let memory = Detached::memory(size, 0o700, true)?;
        // The directory on top is the one whose permissions count.
        mkdirat(&memory, c"upper", mode)?;
        chmodat(&memory, c"upper", mode, AtFlags::empty())?;
        mkdirat(&memory, c"work", Mode::RWXU)?;
        for name in [c"", c"upper", c"work"] {
            self.give(&memory, name)?;
        }
        Ok(memory)
    }
}

/// What makes them.
#[derive(Debug)]
pub(crate) struct Detached {
    owners: Owners,
    keeps_owners: bool,
}

impl Detached {
    /// For whoever shows an agent its files; with `keeps_owners` they are whose they are on the host.
    pub(crate) fn new(agent: Agent, keeps_owners: bool) -> Self {
        let owners = Owners::new(agent.0);
        Self {
            owners,
            keeps_owners,
        }
    }

    /// For whoever makes files for an agent, too, as root, and gives them to it after that.
    pub(crate) fn for_root(agent: Agent) -> Self {
        Self {
            owners: Owners::with_root(agent.0),
            keeps_owners: false,
        }
    }

    /// A path of the host with all that is mounted below it, the owner's files being the agent's.
    pub(crate) fn mapped(&mut self, source: &Path, read_only: bool) -> io::Result<OwnedFd> {
        let place = open_place(source)?;
        let own = fstat(&place)?;
        let tree = copy(&place, OpenTreeFlags::AT_RECURSIVE)?;
        let mut attributes = attributes(read_only);
        if !self.keeps_owners {
            let owners = self.owners.of((own.st_uid, own.st_gid))?;
            attributes.owners = owners.map(AsFd::as_fd);
        }
        set_attributes(tree.as_fd(), attributes, true)?;
        Ok(tree)
    }

    /// A path of the host as it is, without what is mounted below it.
    pub(crate) fn plain(source: &Path, read_only: bool) -> io::Result<OwnedFd> {
        let tree = copy(&open_place(source)?, OpenTreeFlags::empty())?;
        set_attributes(tree.as_fd(), attributes(read_only), false)?;
        Ok(tree)
    }

    /// A file system in memory.
    pub(crate) fn memory(size: u64, mode: u32, exec: bool) -> io::Result<OwnedFd> {
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), c"size", size.to_string())?;
        fsconfig_set_string(context.as_fd(), c"nr_inodes", MOST_INODES)?;
        fsconfig_set_string(context.as_fd(), c"mode", format!("{mode:o}"))?;
        fsconfig_create(context.as_fd())?;
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !exec);
        Ok(fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            attributes,
        )?)
    }
}

fn attributes(read_only: bool) -> Attributes<'static> {
    Attributes {
        read_only,
        no_set_uid: true,
        no_devices: true,
        private: true,
        owners: None,
    }
}

/// Links were resolved when it was decided what is shown; one that turned up since could lead elsewhere.
fn open_place(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(
        CWD,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )?)
}

fn copy(place: &OwnedFd, recursive: OpenTreeFlags) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | recursive;
    Ok(open_tree(place, c"", flags)?)
}
