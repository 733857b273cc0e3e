//! Volumes: folders of the agent's that are kept between sessions.
//!
//! ```text
//!   <state>/volumes/pip/data    what is shown inside
//!                       used    locked by each session that shows it; its time is that of the last one's start
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use palisade_boundary::Identity;
use palisade_workspace::{VolumeName, volume_folder};
use rustix::fs::{FlockOperation, flock};

use crate::removal::remove_tree;
use crate::state::{StateDir, StateError};

/// The file that says that and when a volume is used.
const USED: &str = "used";

/// What is known of a volume.
#[derive(Clone, Debug)]
pub struct VolumeState {
    /// Its name.
    pub name: VolumeName,
    /// Bytes that its files take on the disk.
    pub bytes: u64,
    /// When a session last began to use it.
    pub last_used: Option<SystemTime>,
    /// Whether one uses it now.
    pub in_use: bool,
}

impl StateDir {
    /// The folder of all volumes.
    pub fn volumes(&self) -> PathBuf {
        self.path().join("volumes")
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// The folder of volumes, or one of them, cannot be read.
    pub fn all_volumes(&self) -> Result<Vec<VolumeState>, StateError> {
        let folder = self.volumes();
        let failed = |error| StateError::new("read", &folder, error);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str().and_then(VolumeName::parse) {
                all.push(volume_state(&folder, name));
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Removes a volume that no session uses.
    ///
    /// # Errors
    /// There is none of this name, a session uses it, or it cannot be removed.
    pub fn remove_volume(&self, name: &VolumeName) -> Result<(), StateError> {
        let folder = volume_folder(&self.volumes(), name);
        let failed = |error| StateError::new("remove", &folder, error);
        fs::symlink_metadata(&folder).map_err(failed)?;
        let used = lock_file(&folder).map_err(failed)?;
        flock(&used, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| failed(io::ErrorKind::ResourceBusy.into()))?;
        // No name of a volume begins with a dot, so nobody takes half a volume for one.
        let going = self.volumes().join(format!(".{name}"));
        remove_tree(&going).map_err(failed)?;
        fs::rename(&folder, &going).map_err(failed)?;
        remove_tree(&going).map_err(failed)
    }
}

/// Makes a volume if it is not there, and holds it for as long as the file is open.
pub(crate) fn hold(
    volumes: &Path,
    name: &VolumeName,
    agent: &Identity,
) -> Result<File, StateError> {
    let folder = volume_folder(volumes, name);
    let failed = |error| StateError::new("use", &folder, error);
    let private = |path: &Path, recursive: bool| {
        DirBuilder::new()
            .recursive(recursive)
            .mode(0o700)
            .create(path)
    };
    let used = loop {
        private(&folder, true).map_err(failed)?;
        let used = lock_file(&folder).map_err(failed)?;
        flock(&used, FlockOperation::LockShared).map_err(|error| failed(error.into()))?;
        // Waiting for the lock may have been waiting for the volume's end.
        if is_still(&used, &folder.join(USED)) {
            break used;
        }
    };
    used.set_modified(SystemTime::now()).map_err(failed)?;
    let data = folder.join("data");
    match private(&data, false) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(used),
        other => other.map_err(failed)?,
    }
    if rustix::process::geteuid().as_raw() != agent.host_uid {
        chown(&data, Some(agent.host_uid), Some(agent.host_gid)).map_err(failed)?;
    }
    Ok(used)
}

fn is_still(file: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => same(&open, &there),
        _ => false,
    }
}

fn lock_file(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join(USED))
}

fn volume_state(volumes: &Path, name: VolumeName) -> VolumeState {
    let folder = volume_folder(volumes, &name);
    let used = File::open(folder.join(USED));
    VolumeState {
        bytes: bytes(&folder.join("data")),
        last_used: fs::metadata(folder.join(USED))
            .and_then(|found| found.modified())
            .ok(),
        in_use: used
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()),
        name,
    }
}

/// What the files below a folder take. What cannot be looked at counts nothing.
fn bytes(folder: &Path) -> u64 {
    let mut total = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            total += found.blocks() * 512;
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, StateDir, VolumeName, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_path_buf());
        let own = rustix::process::geteuid().as_raw();
        let agent = Identity {
            uid: 1000,
            gid: 1000,
            host_uid: own,
            host_gid: rustix::process::getegid().as_raw(),
        };
        (folder, state, VolumeName::parse("pip").unwrap(), agent)
    }

    #[test]
    fn a_volume_is_kept_until_it_is_removed_and_not_removed_while_it_is_used() {
        let (_folder, state, name, agent) = world();
        assert!(state.all_volumes().unwrap().is_empty());
        assert!(state.remove_volume(&name).is_err());
        let first = hold(&state.volumes(), &name, &agent).unwrap();
        let second = hold(&state.volumes(), &name, &agent).unwrap();
        let data = volume_folder(&state.volumes(), &name).join("data");
        fs::write(data.join("file"), vec![1; 5000]).unwrap();
        let [listed] = &state.all_volumes().unwrap()[..] else {
            panic!("one")
        };
        assert!(listed.in_use && listed.bytes >= 5000 && listed.last_used.is_some());
        drop(first);
        assert!(state.remove_volume(&name).is_err(), "the second uses it");
        drop(second);
        assert!(!state.all_volumes().unwrap()[0].in_use);
        state.remove_volume(&name).unwrap();
        assert!(!data.exists());
        assert!(state.all_volumes().unwrap().is_empty());
    }
}
