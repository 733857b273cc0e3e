//! What an engine's overlay leaves beside the changes: a folder of root's, closed to all, and in it names for what was removed
//! (`workdir`, overlayfs.rst). An ordinary user could not remove it, and with it not the session's record.

use std::fs;
use std::io;
use std::path::Path;

use palisade_protocol::{GUEST_FOLDER, GUEST_PLAN, SWEEP_FOLDER, SWEEP_PLAN};

use crate::engine::{Engine, PATIENCE, finish};
use crate::flags::{HARDENING, HostMount, LABEL_BASE, LABEL_SESSION, Wanted, bind};
use crate::folder::{GUEST, SessionFolder};

/// Empties the working folder of each overlay, once nothing is mounted any more. What cannot be removed stays: it is in the way
/// of nothing but its own removal.
pub(crate) fn sweep(engine: Engine, folder: &SessionFolder, wanted: &Wanted) {
    for mount in &wanted.mounts {
        let HostMount::Overlay { layers, .. } = mount else {
            continue;
        };
        match fs::remove_dir(layers.work.join("work")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let _ = by_the_engine(engine, folder, wanted, &layers.work);
            }
            _ => {}
        }
    }
}

/// The engine has the rights to: in a container that sees that folder alone.
fn by_the_engine(
    engine: Engine,
    folder: &SessionFolder,
    wanted: &Wanted,
    work: &Path,
) -> io::Result<()> {
    let shown = folder.sweep();
    fs::create_dir_all(shown.join(SWEEP_FOLDER))?;
    fs::write(shown.join(GUEST), "")?;
    fs::write(shown.join(GUEST_PLAN), SWEEP_PLAN)?;
    let inside = Path::new(GUEST_FOLDER);
    let mount = |source: &Path, target: &Path, read_only: bool| {
        format!("--mount={}", bind(source, target, read_only))
    };
    let mut run = engine.command();
    run.arg("run")
        .args(HARDENING)
        .args(FIXED)
        .arg(format!("--label={LABEL_SESSION}={}", wanted.session))
        .arg(format!("--label={LABEL_BASE}={}", wanted.base.display()))
        .arg(mount(&shown, inside, true))
        .arg(mount(&wanted.guest, &inside.join(GUEST), true))
        .arg(mount(work, &inside.join(SWEEP_FOLDER), false))
        .arg(&wanted.image);
    finish(&mut run, b"", PATIENCE).map(drop)
}

/// Where the host has labels (SELinux), those of containers forbid to write there.
const FIXED: [&str; 4] = [
    "--cap-add=DAC_OVERRIDE",
    "--security-opt=label=disable",
    "--pids-limit=8",
    "--memory=64m",
];
