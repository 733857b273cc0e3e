//! What palisade mounts itself before there is a sandbox, in a mount namespace of its own: the workspace, whose owner's files are the
//! agent's (id-mapped mounts), overlays for `review` and `scratch`, and the masks in them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use palisade_boundary::{BoundarySpec, StartError};
use palisade_guest::hand::{Empties, Layers, composed};
use palisade_protocol::Changes;
use palisade_sys::clone::enter_new_mounts;
use rustix::fs::{CWD, Mode, fstat};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::process::chdir;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::backend::half_of_memory;
use crate::detached::{Agent, Detached};
use crate::engine::cannot;
use crate::late;
use crate::tree::{Layout, Mount, What};

/// Where the result is, in the folder of each.
pub(super) const MERGED: &str = "merged";

/// What an overlay is made of, in its own folder.
const LAYERS: Layers = Layers {
    lower: c"lower",
    upper: c"kept/upper",
    work: c"kept/work",
};

/// All of it, as data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beforehand {
    /// What of the session's folder is shown.
    inside: PathBuf,
    /// Each with a folder for it.
    mounts: Vec<(PathBuf, Mount)>,
    /// Each with its place.
    masks: Vec<(PathBuf, Mount)>,
    /// Its user and group on the host.
    agent: (u32, u32),
    /// Whether the caller is root: owners are mapped then.
    by_root: bool,
    /// Most bytes of a file system in memory that names no size.
    memory: u64,
}

impl Beforehand {
    pub(super) fn new(place: &Place, layout: &Layout, spec: &BoundarySpec) -> Self {
        let mounts = layout.mounts.iter().enumerate();
        let own = |mount: &Mount| matches!(mount.what, What::Mapped { .. } | What::Layers { .. });
        let mounts = mounts.filter(|(_, mount)| own(mount));
        let masks = layout.late.iter().filter_map(|mask| {
            let number = layout.number_of(&mask.target)?;
            let within = &layout.mounts.get(number)?.target;
            let rest = mask.target.strip_prefix(within).ok()?;
            Some((place.layer(number).join(MERGED).join(rest), mask.clone()))
        });
        Self {
            inside: place.folder().inside(),
            mounts: mounts
                .map(|(number, mount)| (place.layer(number), mount.clone()))
                .collect(),
            masks: masks.collect(),
            agent: (spec.identity.host_uid, spec.identity.host_gid),
            by_root: rustix::process::geteuid().is_root(),
            memory: spec.limits.memory.unwrap_or_else(half_of_memory),
        }
    }

    /// Makes a place for each, which is the caller's and so can be removed by the caller.
    pub(super) fn make_places(&self) -> io::Result<()> {
        for (folder, mount) in &self.mounts {
            let names: &[&str] = match &mount.what {
                What::Layers { .. } => &["lower", "kept", MERGED],
                What::Mapped { source, .. } if source.is_dir() => &[MERGED],
                _ => &[],
            };
            fs::create_dir_all(folder)?;
            for name in names {
                fs::create_dir(folder.join(name))?;
            }
            if names.is_empty() {
                fs::write(folder.join(MERGED), "")?;
            }
        }
        Ok(())
    }

    /// Mounts it, for the calling thread and what it starts. The thread has to end after that.
    pub(super) fn mount(&self) -> Result<(), StartError> {
        let own = |e: io::Error| cannot("make a mount namespace".into(), e.to_string());
        enter_new_mounts().map_err(own)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|e| own(e.into()))?;
        let agent = Agent(self.agent);
        let mut layer = Layer {
            detached: match self.by_root {
                true => Detached::for_root(agent),
                false => Detached::new(agent, true),
            },
            agent,
            memory: self.memory,
        };
        for (folder, mount) in &self.mounts {
            let laid = layer.lay(folder, &mount.what);
            laid.map_err(|e| late::failed(&mount.target, &mount.what, &e))?;
        }
        let empties = self.empties().map_err(own)?;
        for (path, mask) in &self.masks {
            let laid = hide(&empties, path);
            laid.map_err(|e| late::failed(&mask.target, &mask.what, &e))?;
        }
        Ok(())
    }

    /// What is shown of the session's folder is read-only from here on: masks are copies of it.
    fn empties(&self) -> io::Result<Empties> {
        attach(&Detached::plain(&self.inside, true)?, &self.inside)?;
        let at = |file: &str| name(&self.inside.join(file));
        Ok(Empties::open(&at("file")?, &at("folder")?)?)
    }
}

/// It may have become the other kind since it was looked at.
fn hide(empties: &Empties, path: &Path) -> io::Result<()> {
    let path = name(path)?;
    if !empties.lay(&path, false)? {
        empties.lay(&path, true)?;
    }
    Ok(())
}

struct Layer {
    detached: Detached,
    agent: Agent,
    /// Most bytes of a file system in memory that names no size.
    memory: u64,
}

impl Layer {
    fn lay(&mut self, layer: &Path, what: &What) -> io::Result<()> {
        let made = match what {
            What::Mapped { source, read_only } => self.detached.mapped(source, *read_only)?,
            What::Layers { source, changes } => self.overlay(layer, source, changes)?,
            // The sandbox's own.
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        attach(&made, &layer.join(MERGED))
    }

    fn overlay(&mut self, layer: &Path, source: &Path, changes: &Changes) -> io::Result<OwnedFd> {
        let lower = self.detached.mapped(source, true)?;
        let mode = Mode::from_raw_mode(fstat(&lower)?.st_mode);
        attach(&lower, &layer.join("lower"))?;
        let changed = match changes {
            Changes::Kept(folder) => self.detached.mapped(folder, false)?,
            Changes::Memory { size } => self.agent.changes(size.unwrap_or(self.memory), mode)?,
        };
        attach(&changed, &layer.join("kept"))?;
        // Of this thread alone: it has a working directory of its own.
        chdir(layer)?;
        let made = composed(LAYERS);
        chdir("/")?;
        Ok(made?)
    }
}

fn attach(mount: &OwnedFd, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount.as_fd(), c"", CWD, path, flags)?)
}

fn name(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
