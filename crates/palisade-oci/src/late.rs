//! What palisade's own hand lays once the container is there and before the agent starts, where palisade is run by root: the
//! agent is a user who owns nothing on the host, and sees the files of the workspace's owner as its own (id-mapped mounts).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use palisade_boundary::{BoundarySpec, StartError};
use palisade_guest::hand::{CHANGES, Hand, LOWER};
use palisade_protocol::Changes;
use palisade_sys::idmap::Owners;
use palisade_sys::mount::{Attributes, set_attributes};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, chmodat, chownat, fstat, mkdirat, openat2,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};
use rustix::process::{Gid, Uid};

use crate::engine::cannot;
use crate::flags::{HostMount, Wanted};
use crate::folder::SessionFolder;
use crate::tree::{Mount, What};

/// Files of the tree that are made up have numbers from here on, so that they are others than the engine's.
const FIRST_FILE: usize = 1 << 20;

/// Files and directories a file system in memory may hold, as natively.
const MOST_INODES: &str = "1m";

/// Lays these, parents first.
///
/// # Errors
/// The first that cannot be laid.
pub(crate) fn lay(
    hand: &Hand,
    mounts: &[Mount],
    spec: &BoundarySpec,
    folder: &SessionFolder,
    memory: u64,
    keeps_owners: bool,
) -> Result<(), StartError> {
    let agent = (spec.identity.host_uid, spec.identity.host_gid);
    let mut layer = Layer {
        hand,
        owners: Owners::new(agent),
        keeps_owners,
        agent,
        memory: spec.limits.memory.unwrap_or(memory),
    };
    for (number, Mount { target, what }) in mounts.iter().enumerate() {
        let laid = match what {
            What::Made { content } => folder
                .make_file(FIRST_FILE + number, content)
                .and_then(|made| layer.attach(target, layer.plain(&made, true)?)),
            other => layer.lay(target, other),
        };
        laid.map_err(|error| failed(target, what, &error))?;
    }
    Ok(())
}

/// Lays these where the host's files can be shown by the engine alone: over its mounts, changes that are kept apart, and masks.
///
/// # Errors
/// The first that cannot be laid.
pub(crate) fn lay_inside(
    hand: &Hand,
    mounts: &[Mount],
    wanted: &Wanted,
    memory: u64,
) -> Result<(), StartError> {
    let spec = &wanted.spec;
    let owner = (spec.identity.host_uid, spec.identity.host_gid);
    for Mount { target, what } in mounts {
        let laid = match what {
            What::Layers {
                changes: Changes::Memory { size },
                ..
            } => {
                let most = spec.limits.memory.unwrap_or(memory);
                apart(hand, target, size.unwrap_or(most), owner, &wanted.mounts)
            }
            What::Empty { directory } => mask(hand, target, *directory),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        laid.map_err(|error| cannot(words(target, what), error.to_string()))?;
    }
    Ok(())
}

/// What the engine mounted within is moved to where the overlay waits, and it over what it is made of.
fn apart(
    hand: &Hand,
    target: &Path,
    size: u64,
    owner: (u32, u32),
    engines: &[HostMount],
) -> io::Result<()> {
    hand.apart(target, size, owner)?;
    let staged = Path::new(LOWER);
    let mut moved: Vec<&Path> = Vec::new();
    for place in engines.iter().map(HostMount::target) {
        let Some(rest) = place.strip_prefix(target).ok().filter(|_| place != target) else {
            continue;
        };
        // With what lies in it.
        if !moved.iter().any(|one| place.starts_with(one)) {
            hand.move_mount(place, &staged.join(rest))?;
            moved.push(place);
        }
    }
    hand.move_mount(staged, target)
}

/// It may have become the other kind since it was looked at.
fn mask(hand: &Hand, target: &Path, directory: bool) -> io::Result<()> {
    if !hand.mask(target, directory)? {
        hand.mask(target, !directory)?;
    }
    Ok(())
}

fn words(target: &Path, what: &What) -> String {
    match what {
        What::Empty { .. } => format!("hide {} inside", target.display()),
        _ => format!("show {} inside", target.display()),
    }
}

fn failed(target: &Path, what: &What, error: &io::Error) -> StartError {
    let words = words(target, what);
    match (what, Errno::from_io_error(error)) {
        (What::Mapped { .. } | What::Layers { .. }, Some(Errno::INVAL | Errno::PERM)) => StartError {
            what: words,
            cause: "its file system, or one mounted below it, does not let owners be mapped (id-mapped mounts)".into(),
            fix: Some(
                "run palisade as the user who owns these files, or keep them on ext4, xfs, btrfs or tmpfs (Linux 6.3)".into(),
            ),
        },
        _ => cannot(words, error.to_string()),
    }
}

struct Layer<'a> {
    hand: &'a Hand,
    owners: Owners,
    keeps_owners: bool,
    agent: (u32, u32),
    /// Most bytes of a file system in memory that names no size.
    memory: u64,
}

impl Layer<'_> {
    fn lay(&mut self, target: &Path, what: &What) -> io::Result<()> {
        match what {
            What::Empty { directory } => mask(self.hand, target, *directory),
            What::Mapped { source, read_only } => {
                let tree = self.mapped(source, *read_only)?;
                self.attach(target, tree)
            }
            What::Bind { source, read_only } => {
                self.attach(target, self.plain(source, *read_only)?)
            }
            What::Memory { size, mode, exec } => {
                let memory = file_system(size.unwrap_or(self.memory), *mode, *exec)?;
                self.give(&memory, c"")?;
                self.attach(target, memory)
            }
            What::Layers { source, changes } => self.layers(target, source, changes),
            What::Made { .. } | What::Overlay { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn attach(&self, target: &Path, mount: OwnedFd) -> io::Result<()> {
        self.hand.attach(target, mount.as_fd())
    }

    fn layers(&mut self, target: &Path, source: &Path, changes: &Changes) -> io::Result<()> {
        let lower = self.mapped(source, true)?;
        let mode = Mode::from_raw_mode(fstat(&lower)?.st_mode);
        self.attach(Path::new(LOWER), lower)?;
        let changed = match changes {
            Changes::Kept(folder) => self.mapped(folder, false)?,
            Changes::Memory { size } => {
                let memory = file_system(size.unwrap_or(self.memory), 0o700, true)?;
                // The directory on top is the one whose permissions count.
                mkdirat(&memory, c"upper", mode)?;
                chmodat(&memory, c"upper", mode, AtFlags::empty())?;
                mkdirat(&memory, c"work", Mode::RWXU)?;
                for name in [c"", c"upper", c"work"] {
                    self.give(&memory, name)?;
                }
                memory
            }
        };
        self.attach(Path::new(CHANGES), changed)?;
        self.hand.overlay(target)
    }

    /// Gives something on a file system of ours to the agent.
    fn give(&self, memory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.agent.0), Gid::from_raw(self.agent.1));
        Ok(chownat(
            memory,
            name,
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// A path of the host with all that is mounted below it, the owner's files being the agent's.
    fn mapped(&mut self, source: &Path, read_only: bool) -> io::Result<OwnedFd> {
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
    fn plain(&self, source: &Path, read_only: bool) -> io::Result<OwnedFd> {
        let tree = copy(&open_place(source)?, OpenTreeFlags::empty())?;
        set_attributes(tree.as_fd(), attributes(read_only), false)?;
        Ok(tree)
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

/// A file system in memory, attached nowhere: it goes with its last user, whatever becomes of palisade.
fn file_system(size: u64, mode: u32, exec: bool) -> io::Result<OwnedFd> {
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
