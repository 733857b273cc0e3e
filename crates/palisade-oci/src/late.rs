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

pub(crate) fn failed(target: &Path, what: &What, error: &io::Error) -> StartError {
    let words = match what {
        What::Empty { .. } => format!("hide {} inside", target.display()),
        _ => format!("show {} inside", target.display()),
    };
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
            // It may have become the other kind since it was looked at.
            What::Empty { directory } => {
                if !self.hand.mask(target, *directory)? {
                    self.hand.mask(target, !directory)?;
                }
                Ok(())
            }
            What::Mapped { source, read_only } => {
                let tree = self.detached.mapped(source, *read_only)?;
                self.attach(target, tree)
            }
            What::Bind { source, read_only } => {
                self.attach(target, Detached::plain(source, *read_only)?)
            }
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
