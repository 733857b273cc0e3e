//! What palisade mounts itself before there is a sandbox, in a mount namespace of its own: the workspace, whose owner's files are the
//! agent's (id-mapped mounts), overlays for `review` and `scratch`, and the masks in them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_boundary::{BoundarySpec, StartError};
use palisade_guest::hand::{Empties, Layers, composed};
use palisade_protocol::Changes;
use palisade_sys::clone::enter_new_mounts;
use rustix::fs::{CWD, FileType, Mode, fstat};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::process::chdir;

use super::place::Place;
use crate::backend::half_of_memory;
use crate::detached::{Agent, Detached};
use crate::engine::cannot;
use crate::late;
use crate::tree::{Layout, What};

/// What an overlay is made of, in its own folder.
const LAYERS: Layers = Layers {
    lower: c"lower",
    upper: c"kept/upper",
    work: c"kept/work",
};

/// Mounts it all, for the calling thread and what it starts. The thread has to end after that.
pub(super) fn mount(place: &Place, layout: &Layout, spec: &BoundarySpec) -> Result<(), StartError> {
    let own = |e: io::Error| cannot("make a mount namespace".into(), e.to_string());
    enter_new_mounts().map_err(own)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|e| own(e.into()))?;
    let agent = Agent((spec.identity.host_uid, spec.identity.host_gid));
    let mut layer = Layer {
        detached: Detached::for_root(agent),
        agent,
        memory: spec.limits.memory.unwrap_or_else(half_of_memory),
    };
    for (number, mount) in layout.mounts.iter().enumerate() {
        let laid = layer.lay(&place.layer(number), &mount.what);
        laid.map_err(|e| late::failed(&mount.target, &mount.what, &e))?;
    }
    let empties = empties(place).map_err(own)?;
    for mask in &layout.late {
        let laid = hide(&empties, place, layout, &mask.target);
        laid.map_err(|e| late::failed(&mask.target, &mask.what, &e))?;
    }
    Ok(())
}

/// What is shown of the session's folder is read-only from here on: masks are copies of it.
fn empties(place: &Place) -> io::Result<Empties> {
    let folder = place.folder();
    let inside = folder.inside();
    attach(&Detached::plain(&inside, true)?, &inside)?;
    let (file, directory) = (folder.empty(false), folder.empty(true));
    Ok(Empties::open(&name(&file)?, &name(&directory)?)?)
}

fn hide(empties: &Empties, place: &Place, layout: &Layout, target: &Path) -> io::Result<()> {
    let number = layout.number_of(target).ok_or(io::ErrorKind::NotFound)?;
    let mount = layout.mounts.get(number).ok_or(io::ErrorKind::NotFound)?;
    let rest = target.strip_prefix(&mount.target).unwrap_or(target);
    let path = name(&place.layer(number).join("merged").join(rest))?;
    // It may have become the other kind since it was looked at.
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
            _ => return Ok(()),
        };
        let merged = layer.join("merged");
        fs::create_dir_all(layer)?;
        match FileType::from_raw_mode(fstat(&made)?.st_mode) {
            FileType::Directory => fs::create_dir(&merged)?,
            _ => fs::write(&merged, "")?,
        }
        attach(&made, &merged)
    }

    fn overlay(&mut self, layer: &Path, source: &Path, changes: &Changes) -> io::Result<OwnedFd> {
        for name in ["lower", "kept"] {
            fs::create_dir_all(layer.join(name))?;
        }
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
