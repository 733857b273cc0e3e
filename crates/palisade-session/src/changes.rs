//! The change set of a session whose workspace is reviewed: made before its start, counted at its end, taken over by a
//! later one.
//!
//! ```text
//!   <state>/sessions/<ID>/changes/upper    what the agent changed, written by the kernel
//!                                 work     the kernel's own
//!                                 began    made just before the mount: its ctime is the session's start
//!                                 process  which process is there for as long as anything writes to `upper`
//! ```
//!
//! The session's folder is its user's alone, so nobody else gets at what the agent leaves there, such as a program with the
//! set-user-id bit.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use palisade_boundary::Identity;
use palisade_protocol::{Changes, TreeEntry};
use palisade_workspace::WorkspaceAccess;
use palisade_workspace::changes::{Change, ChangeSet, ChangesError, Owners, Pending, Side};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::SessionId;
use crate::plan::Plan;
use crate::removal::remove_tree;
use crate::state::{SessionRecord, StateDir, StateError};

/// The file that names the process.
const PROCESS: &str = "process";

/// Whose the files of a change set are there, and whose they become on the host: the agent of a session that root runs is a
/// user of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOwners {
    /// User and group in the change set.
    pub from: (u32, u32),
    /// User and group of the workspace.
    pub to: (u32, u32),
}

impl From<RecordedOwners> for Owners {
    fn from(recorded: RecordedOwners) -> Self {
        Self {
            from: recorded.from,
            to: recorded.to,
        }
    }
}

/// What a session with review has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This much of it differs.
    Paths {
        /// Files and links.
        files: usize,
        /// Folders that are new, gone, or have other permissions.
        folders: usize,
    },
    /// They are kept, but could not be read.
    Unreadable(String),
}

/// Why a session cannot go on with the changes of another.
#[derive(Debug, thiserror::Error)]
pub enum ContinueError {
    /// There is none of this name, or it cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It has none.
    #[error("session {0} has no pending changes")]
    None(SessionId),
    /// It runs.
    #[error("session {0} still runs")]
    Runs(SessionId),
    /// Its workspace is another one.
    #[error("session {id} changed {theirs}, and the workspace here is {ours}", theirs = .theirs.display(), ours = .ours.display())]
    Workspace {
        /// The session.
        id: SessionId,
        /// Its workspace.
        theirs: PathBuf,
        /// This session's.
        ours: PathBuf,
    },
    /// Only what is reviewed is kept.
    #[error(
        "the access of this session is \"{0}\", and only changes under \"review\" can be continued"
    )]
    Access(WorkspaceAccess),
    /// Another palisade applies or discards them, or one was cut short.
    #[error("the changes of session {0} are being applied")]
    Busy(SessionId),
}

impl StateDir {
    /// Where the changes of a session are kept, if it has any.
    pub fn changes(&self, id: &SessionId) -> PathBuf {
        self.session(id).join("changes")
    }

    /// Whether a session left changes that are not decided yet. Cheap: nothing is compared.
    pub fn has_pending(&self, record: &SessionRecord) -> bool {
        SessionId::parse(&record.id).is_some_and(|id| holds_changes(&self.changes(&id)))
    }

    /// The changes of a session, opened, if it has any. It must not run.
    ///
    /// # Errors
    /// They, or the workspace, cannot be opened.
    pub fn pending(&self, record: &SessionRecord) -> Result<Option<Pending>, ChangesError> {
        if !self.has_pending(record) {
            return Ok(None);
        }
        let Some(id) = SessionId::parse(&record.id) else {
            return Ok(None);
        };
        let owners = record.owners.map(Owners::from);
        Pending::open(&record.workspace, &self.changes(&id), owners).map(Some)
    }
}

/// Whether anything is in an upper, or an apply of it was cut short: after its last change there is a journal alone.
fn holds_changes(folder: &Path) -> bool {
    let upper = fs::read_dir(folder.join("upper"));
    upper.is_ok_and(|mut entries| entries.next().is_some()) || folder.join("journal").exists()
}

/// Where the changes of a planned session go, if they are kept.
pub(crate) fn kept_folder(plan: &Plan) -> Option<&Path> {
    plan.spec.tree.iter().find_map(|entry| match entry {
        TreeEntry::Overlay {
            changes: Changes::Kept(folder),
            ..
        } => Some(folder.as_path()),
        _ => None,
    })
}

/// Whether the session that is planned can go on with the changes of another, and whose those are.
pub(crate) fn check_continued(
    state: &StateDir,
    id: &SessionId,
    plan: &Plan,
    access: WorkspaceAccess,
) -> Result<SessionRecord, ContinueError> {
    let record = state.record(id)?;
    if access != WorkspaceAccess::Review {
        return Err(ContinueError::Access(access));
    }
    if state.running(id) {
        return Err(ContinueError::Runs(id.clone()));
    }
    if record.workspace != plan.workspace {
        return Err(ContinueError::Workspace {
            id: id.clone(),
            theirs: record.workspace,
            ours: plan.workspace.clone(),
        });
    }
    if !state.has_pending(&record) {
        return Err(ContinueError::None(id.clone()));
    }
    Ok(record)
}

/// Takes the changes of an earlier session over, whole: its marker of when they began stays with them.
pub(crate) fn take_over(
    state: &StateDir,
    from: &SessionId,
    to: &Path,
) -> Result<(), ContinueError> {
    let folder = state.changes(from);
    let failed = |error| StateError::new("continue", &folder, error);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(failed)?;
    let taken = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    if !taken || folder.join("journal").exists() {
        return Err(ContinueError::Busy(from.clone()));
    }
    fs::rename(&folder, to).map_err(failed)?;
    Ok(())
}

/// Makes the folders that an overlay is mounted of. The one on top decides on the permissions of the workspace inside.
pub(crate) fn make(folder: &Path, workspace: &Path, agent: &Identity) -> Result<(), StateError> {
    let failed = |path: &Path, error| StateError::new("create", path, error);
    let own = rustix::process::geteuid().as_raw() == agent.host_uid;
    let directory = |path: &Path, mode: u32| {
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .and_then(|()| match own {
                true => Ok(()),
                false => chown(path, Some(agent.host_uid), Some(agent.host_gid)),
            })
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
            .map_err(|error| failed(path, error))
    };
    let mode = fs::metadata(workspace)
        .map_err(|error| StateError::new("read", workspace, error))?
        .mode();
    directory(folder, 0o700)?;
    directory(&folder.join("upper"), mode & 0o777)?;
    directory(&folder.join("work"), 0o700)?;
    let marker = folder.join("began");
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600);
    made.open(&marker)
        .map(drop)
        .map_err(|error| failed(&marker, error))
}

/// Notes the process that is there for as long as anything inside lives.
pub(crate) fn note_process(folder: &Path, process: Option<u32>) -> io::Result<()> {
    let known = process.and_then(|number| Some((number, started(number)?)));
    match known {
        Some((number, started)) => fs::write(folder.join(PROCESS), format!("{number} {started}")),
        None => Ok(()),
    }
}

/// Whether the process that was noted is still there, by its number and the time of its start.
pub(crate) fn process_lives(folder: &Path) -> bool {
    let Ok(noted) = fs::read_to_string(folder.join(PROCESS)) else {
        return false;
    };
    let noted = noted.split_once(' ');
    noted.is_some_and(|(number, start)| {
        let number = number.parse().ok();
        number.and_then(started).as_deref() == Some(start)
    })
}

/// When a process started, in ticks since the machine did: field 22 of proc_pid_stat(5), the second being a name in brackets
/// that may hold anything.
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Owners of what the agent leaves: none to speak of where the agent is the user who runs palisade.
pub(crate) fn owners(workspace: &Path, agent: &Identity) -> io::Result<Option<RecordedOwners>> {
    if rustix::process::geteuid().as_raw() == agent.host_uid {
        return Ok(None);
    }
    let workspace = fs::metadata(workspace)?;
    Ok(Some(RecordedOwners {
        from: (agent.host_uid, agent.host_gid),
        to: (workspace.uid(), workspace.gid()),
    }))
}

/// What the session has changed, once nothing of it lives. Where that is nothing, nothing is kept.
pub(crate) fn conclude(folder: &Path, record: &SessionRecord) -> Option<Changed> {
    if !holds_changes(folder) {
        // What is left behind says nothing of anybody.
        let _ = remove_tree(folder);
        return None;
    }
    let owners = record.owners.map(Owners::from);
    let read = Pending::open(&record.workspace, folder, owners).and_then(|pending| pending.read());
    match read {
        Ok(set) if set.is_empty() => {
            let _ = remove_tree(folder);
            None
        }
        Ok(set) => Some(counted(&set)),
        Err(error) => Some(Changed::Unreadable(error.to_string())),
    }
}

fn counted(set: &ChangeSet) -> Changed {
    let is_folder = |change: &&Change| {
        let sides = [&change.before, &change.after];
        sides.into_iter().flatten().all(Side::is_directory)
    };
    let folders = set.changes().iter().filter(is_folder).count();
    Changed::Paths {
        files: set.changes().len() - folders + set.refused().len(),
        folders,
    }
}

/// For a session that did not start.
pub(crate) fn forget_if_empty(folder: &Path) {
    if !holds_changes(folder) {
        let _ = remove_tree(folder);
    }
}

#[cfg(test)]
mod tests;
