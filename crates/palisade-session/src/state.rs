//! What a session leaves behind on purpose: its record and its audit log.
//!
//! ```text
//!   <state>/sessions/20261123-031502-k3f9c/session.json   what runs or ran
//!                                          audit.jsonl    the audit log, locked while the session runs
//!                                          ended.json     how it ended, once it has
//!                                          changes/       what it changed, where that is reviewed (see `changes`)
//!                                          continued.json which session went on with those
//! ```
//!
//! Each file is written once. Replacing one by rename would cost more than the rest together where many sessions start:
//! ext4 keeps the freed inodes out of use for some seconds and searches past them for each new file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::SessionId;
use crate::changes::{RecordedOwners, process_lives};
use crate::removal::remove_tree;

/// Says who went on with a session's changes.
const CONTINUED: &str = "continued.json";

/// The folder that holds all sessions of one user.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// What is kept about a session, beside its log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its name.
    pub id: String,
    /// Microseconds since 1970 at its start: sessions of one second have an order.
    pub started_us: u64,
    /// The agent's program. Arguments are left out, since they may hold secrets.
    pub command: String,
    /// The workspace.
    pub workspace: PathBuf,
    /// How the workspace could be used, as a policy says it. Records of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// Whose the pending changes are and become, in a session that root ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<RecordedOwners>,
    /// The session whose pending changes this one went on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// The session that went on with the pending changes of this one. Kept in a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_by: Option<String>,
    /// The backend.
    pub boundary: String,
    /// Once it ended: how. Kept in a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ending>,
}

/// How a session ended. The head is the log's anchor: a log that was cut short or rewritten from the start does not
/// fit it any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// Microseconds since 1970.
    pub time_us: u64,
    /// The exit status palisade passed on.
    pub status: i32,
    /// Requests permitted.
    pub allowed: u64,
    /// Requests refused.
    pub denied: u64,
    /// Lines in the log.
    pub lines: u64,
    /// Hash of the log's last line.
    pub head: String,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {error}")]
pub struct StateError {
    operation: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl StateError {
    pub(crate) fn new(operation: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self {
            operation,
            path: path.to_path_buf(),
            error: error.into(),
        }
    }
}

impl StateDir {
    /// The state folder at this path, such as `~/.local/state/palisade`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of one session.
    pub fn session(&self, id: &SessionId) -> PathBuf {
        self.0.join("sessions").join(id.as_str())
    }

    /// Where it is kept what is known of secrets in what sessions show.
    pub fn masks(&self) -> PathBuf {
        self.0.join("masks")
    }

    /// The audit log of one session.
    pub fn log(&self, id: &SessionId) -> PathBuf {
        self.session(id).join("audit.jsonl")
    }

    /// All sessions, the newest last. Folders that hold no readable record are passed over.
    ///
    /// # Errors
    /// The folder exists and cannot be read.
    pub fn sessions(&self) -> Result<Vec<SessionRecord>, StateError> {
        let path = self.0.join("sessions");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(StateError {
                    operation: "read",
                    path,
                    error,
                });
            }
        };
        let ids = entries.filter_map(|entry| SessionId::parse(entry.ok()?.file_name().to_str()?));
        let mut records: Vec<_> = ids.filter_map(|id| self.record(&id).ok()).collect();
        records.sort_by(|a, b| (a.started_us, &a.id).cmp(&(b.started_us, &b.id)));
        Ok(records)
    }

    /// The record of one session.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn record(&self, id: &SessionId) -> Result<SessionRecord, StateError> {
        let path = self.session(id).join("session.json");
        let read = fs::read(&path)
            .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other));
        let mut record: SessionRecord = read.map_err(|error| StateError {
            operation: "read",
            path,
            error,
        })?;
        // Half a file, as a crash may leave it, tells no more than none.
        let ended = fs::read(self.session(id).join("ended.json")).ok();
        record.ended = ended.and_then(|text| serde_json::from_slice(&text).ok());
        let continued = fs::read(self.session(id).join(CONTINUED)).ok();
        record.continued_by = continued.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(record)
    }

    /// Whether the session runs now: its log is locked for as long as palisade does, and where palisade was killed, what
    /// was inside may outlive it by a moment.
    pub fn running(&self, id: &SessionId) -> bool {
        let Ok(file) = File::open(self.log(id)) else {
            return false;
        };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
            || process_lives(&self.changes(id))
    }

    /// Removes what is kept of a session that has ended.
    ///
    /// # Errors
    /// It runs, or its folder cannot be removed.
    pub fn remove(&self, id: &SessionId) -> Result<(), StateError> {
        let path = self.session(id);
        let removed = if self.running(id) {
            Err(io::ErrorKind::ResourceBusy.into())
        } else {
            remove_tree(&path)
        };
        removed.map_err(|error| StateError {
            operation: "remove",
            path,
            error,
        })
    }

    /// Makes the folder of a new session, writes its record and opens its log.
    pub(crate) fn create(
        &self,
        id: &SessionId,
        record: &SessionRecord,
    ) -> Result<File, StateError> {
        let folder = self.session(id);
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        private(&folder).map_err(|error| StateError {
            operation: "create",
            path: folder.clone(),
            error,
        })?;
        let path = self.log(id);
        let open = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let log = open.map_err(|error| StateError {
            operation: "create",
            path: path.clone(),
            error,
        })?;
        flock(&log, FlockOperation::NonBlockingLockExclusive).map_err(|error| StateError {
            operation: "lock",
            path,
            error: error.into(),
        })?;
        self.write(id, "session.json", record)?;
        Ok(log)
    }

    /// Writes which session went on with the changes of another.
    pub(crate) fn continued(&self, id: &SessionId, by: &SessionId) -> Result<(), StateError> {
        self.write(id, CONTINUED, &by.as_str())
    }

    /// Writes how a session ended.
    pub(crate) fn end(&self, id: &SessionId, ending: &Ending) -> Result<(), StateError> {
        self.write(id, "ended.json", ending)
    }

    fn write(&self, id: &SessionId, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let path = self.session(id).join(name);
        let written = serde_json::to_vec(value)
            .map_err(io::Error::from)
            .and_then(|text| {
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)?;
                file.write_all(&text)
            });
        written.map_err(|error| StateError {
            operation: "write",
            path,
            error,
        })
    }
}
