//! What palisade's own hand lays once the container is there and before the agent starts, where palisade is run by root: the
//! agent is a user who owns nothing on the host, and sees the files of the workspace's owner as its own (id-mapped mounts).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use palisade_boundary::{BoundarySpec, StartError};
use palisade_guest::hand::{CHANGES, Hand, LOWER};
use palisade_protocol::Changes;
use rustix::fs::{Mode, fstat};
use rustix::io::Errno;

use crate::detached::{Agent, Detached};
use crate::engine::cannot;
use crate::flags::{HostMount, Wanted};
use crate::folder::SessionFolder;
use crate::tree::{Mount, What};

/// Files of the tree that are made up have numbers from here on, so that they are others than the engine's.
const FIRST_FILE: usize = 1 << 20;

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
    let agent = Agent((spec.identity.host_uid, spec.identity.host_gid));
    let mut layer = Layer {
        hand,
        detached: Detached::new(agent, keeps_owners),
        agent,
        memory: spec.limits.memory.unwrap_or(memory),
    };
    for (number, Mount { target, what }) in mounts.iter().enumerate() {
        let laid = match what {
            What::Made { content } => folder
                .make_file(FIRST_FILE + number, content)
                .and_then(|made| layer.attach(target, Detached::plain(&made, true)?)),
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

pub(crate) fn failed(target: &Path, what: &What, error: &io::Error) -> StartError {
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
    detached: Detached,
    agent: Agent,
    /// Most bytes of a file system in memory that names no size.
    memory: u64,
}

impl Layer<'_> {
    fn lay(&mut self, target: &Path, what: &What) -> io::Result<()> {
        match what {
            What::Empty { directory } => mask(self.hand, target, *directory),
            What::Mapped { source, read_only } => {
                let tree = self.detached.mapped(source, *read_only)?;
                self.attach(target, tree)
            }
            What::Bind {
                source, read_only, ..
            } => self.attach(target, Detached::plain(source, *read_only)?),
            What::Memory { size, mode, exec } => {
                let memory = Detached::memory(size.unwrap_or(self.memory), *mode, *exec)?;
                self.agent.give(&memory, c"")?;
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
        let lower = self.detached.mapped(source, true)?;
        let mode = Mode::from_raw_mode(fstat(&lower)?.st_mode);
        self.attach(Path::new(LOWER), lower)?;
        let changed = match changes {
            Changes::Kept(folder) => self.detached.mapped(folder, false)?,
            Changes::Memory { size } => self.agent.changes(size.unwrap_or(self.memory), mode)?,
        };
        self.attach(Path::new(CHANGES), changed)?;
        self.hand.overlay(target)
    }
}
