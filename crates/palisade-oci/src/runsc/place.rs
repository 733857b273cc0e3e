//! The session's folder on the host, with what a sandbox needs beside what every session does.
//!
//! ```text
//!   BASE/NAME/            as for containers, and
//!     root/               links, empty folders, places for mounts
//!     bundle/config.json  what runsc is told
//!     state/              what runsc remembers
//!     layers/N/           what palisade mounts itself
//!     beforehand          a list of that, where another process has to
//!     helper              where that process calls
//!     inside/gate         where relayed connections go
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use palisade_protocol::GuestPlan;

use crate::engine::{PATIENCE, finish};
use crate::folder::{SessionFolder, look_through, remove};

/// See the module. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Place(SessionFolder);

/// Where the guest calls, and where its connections come.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) control: OwnedFd,
    pub(super) gate: Option<OwnedFd>,
}

impl Place {
    pub(super) fn make(base: &Path) -> io::Result<Self> {
        let place = Self(SessionFolder::make(base)?);
        for folder in [place.root(), place.bundle(), place.state()] {
            fs::create_dir(folder)?;
        }
        // The agent comes through its own root.
        fs::set_permissions(place.root(), fs::Permissions::from_mode(0o755))?;
        Ok(place)
    }

    /// Writes the plan and opens both sockets.
    pub(super) fn open(&self, plan: &GuestPlan) -> io::Result<Sockets> {
        let control = self.0.open(plan)?;
        let gate = Some(self.0.open_gate()?);
        Ok(Sockets { control, gate })
    }

    /// Takes the socket for control away, once the guest has called.
    pub(super) fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    pub(super) fn folder(&self) -> &SessionFolder {
        &self.0
    }

    /// The sandbox's name, which no other has.
    pub(super) fn name(&self) -> String {
        format!("palisade-{}", self.0.name())
    }

    pub(super) fn base(&self) -> PathBuf {
        self.0.base()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.path().join("bundle")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Of the overlay at this place of the layout.
    pub(super) fn layer(&self, number: usize) -> PathBuf {
        self.path().join("layers").join(number.to_string())
    }

    /// Where it lies.
    pub(super) fn path(&self) -> PathBuf {
        self.base().join(self.0.name())
    }
}

/// Removes what sessions left over whose palisade was killed. Their sandboxes end with their connection; one that does not is
/// ended here. Whatever stands in the way now is tried again by the next session.
pub(super) fn remove_stale(runsc: &Path, base: &Path) {
    let Ok((_, dead)) = look_through(base) else {
        return;
    };
    for folder in dead {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if end(runsc, &folder.join("state"), &format!("palisade-{name}")) {
            let _ = remove(&folder);
        }
    }
}

/// Ends a sandbox that may still be there, and says whether none is left.
pub(super) fn end(runsc: &Path, state: &Path, name: &str) -> bool {
    // What it remembers of a sandbox is named after it, and gone with it.
    let remembered = || fs::read_dir(state).map_or(0, Iterator::count);
    // A sandbox of an ordinary user's ends with `runsc run`, by the kernel's hand, and nobody outside its user namespace can be told of it.
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    if remembered() == 0 {
        return true;
    }
    let _ = tell(runsc, state, &["delete", "--force", name]);
    remembered() == 0
}

/// Stops everything in a sandbox.
pub(super) fn pause(runsc: &Path, state: &Path, name: &str) -> io::Result<()> {
    let status = tell(runsc, state, &["pause", name])?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("runsc pause: {status}")))
    }
}

/// The words for that, where others run them.
pub(super) fn pausing(runsc: &Path, place: &Place) -> Vec<OsString> {
    let state = format!("--root={}", place.state().display());
    let name = place.name();
    vec![runsc.into(), state.into(), "pause".into(), name.into()]
}

fn tell(runsc: &Path, state: &Path, words: &[&str]) -> io::Result<ExitStatus> {
    let mut command = Command::new(runsc);
    command
        .arg(format!("--root={}", state.display()))
        .args(words);
    let output = finish(&mut command, b"", PATIENCE)?;
    output
        .map(|output| output.status)
        .ok_or(io::ErrorKind::TimedOut.into())
}
