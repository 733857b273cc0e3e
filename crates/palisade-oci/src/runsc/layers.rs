//! Overlays of the host's, for `review` and `scratch`, in a mount namespace of their own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use palisade_boundary::{Identity, StartError};
use palisade_protocol::Changes;
use palisade_sys::clone::enter_new_mounts;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount as mount_kind, mount_bind, mount_change,
};
use rustix::process::chdir;

use super::place::Place;
use crate::engine::cannot;
use crate::tree::{Layout, What};

/// Whether there are any.
pub(super) fn are_wanted(layout: &Layout) -> bool {
    let overlay = |what: &What| matches!(what, What::Layers { .. });
    layout.mounts.iter().any(|mount| overlay(&mount.what))
}

/// Mounts them, for the calling thread and what it starts. The thread has to end after that.
pub(super) fn mount(place: &Place, layout: &Layout, agent: &Identity) -> Result<(), StartError> {
    let failed = |target: &Path, error: io::Error| {
        let mut failure = cannot(
            format!("lay an overlay over {} inside", target.display()),
            error.to_string(),
        );
        failure.fix = Some("use access = \"read\" or \"write\", or the native boundary".into());
        failure
    };
    enter_new_mounts()
        .and_then(|()| {
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            Ok(mount_change("/", private)?)
        })
        .map_err(|e| cannot("make a mount namespace".into(), e.to_string()))?;
    for (number, mount) in layout.mounts.iter().enumerate() {
        let layer = place.layer(number);
        let What::Layers { source, changes } = &mount.what else {
            continue;
        };
        let mounted = match changes {
            Changes::Kept(folder) => kept(&layer, folder),
            Changes::Memory { size } => in_memory(&layer, source, *size, agent),
        };
        let mounted = mounted.and_then(|()| over(&layer, source));
        mounted.map_err(|e| failed(&mount.target, e))?;
    }
    Ok(())
}

/// Changes are kept in this folder.
fn kept(layer: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(layer.join("kept"))?;
    Ok(mount_bind(folder, layer.join("kept"))?)
}

/// Changes are kept in memory, and shown as the folder itself is: its owner and permissions are those of the upper.
fn in_memory(layer: &Path, source: &Path, size: Option<u64>, agent: &Identity) -> io::Result<()> {
    let kept = layer.join("kept");
    fs::create_dir_all(&kept)?;
    let size = size.map_or_else(String::new, |bytes| format!("size={bytes}"));
    let options = CString::new(size).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_kind("palisade", &kept, "tmpfs", flags, options.as_c_str())?;
    let shown = fs::metadata(source)?;
    for name in ["upper", "work"] {
        fs::create_dir(kept.join(name))?;
    }
    fs::set_permissions(kept.join("upper"), shown.permissions())?;
    let (uid, gid) = (Some(agent.host_uid), Some(agent.host_gid));
    std::os::unix::fs::chown(kept.join("upper"), uid, gid)
}

/// Its parts are bound to names of ours first, so that no character of a path has a meaning in the options.
fn over(layer: &Path, source: &Path) -> io::Result<()> {
    for name in ["lower", "merged"] {
        fs::create_dir_all(layer.join(name))?;
    }
    // Of this thread alone: it has a working directory of its own.
    chdir(layer)?;
    mount_bind(source, "lower")?;
    let options = c"lowerdir=lower,upperdir=kept/upper,workdir=kept/work,userxattr";
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_kind("overlay", "merged", "overlay", flags, options)?;
    Ok(chdir("/")?)
}
