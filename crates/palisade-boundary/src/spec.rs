//! What a session asks of a backend, as data.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use palisade_protocol::{EgressWanted, TreeEntry};

use crate::assess::Control;

/// Everything a backend needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundarySpec {
    /// What to run.
    pub command: Command,
    /// Who the agent is inside.
    pub identity: Identity,
    /// The host name inside.
    pub hostname: String,
    /// The file tree, in building order.
    pub tree: Vec<TreeEntry>,
    /// Whether more may have to be masked while the agent runs ([`Running::masker`](crate::Running::masker)).
    pub late_masks: bool,
    /// Resource limits.
    pub limits: Limits,
    /// Controls that may be held less well than their words say. A start that would hold another one less well is an error,
    /// whatever an assessment before it said: the machine may be another one by then.
    pub accepted: Vec<Control>,
    /// The way to the gate.
    pub egress: EgressWanted,
    /// Whether the agent gets the terminal at once (standard input and output are the terminal and palisade's
    /// process group owns it). Otherwise it gets it when it first asks, as a background job would.
    pub foreground: bool,
}

/// The agent's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. A program without a slash is searched in `PATH` of `environment`, inside.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory, inside.
    pub directory: PathBuf,
}

/// The agent's identity inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User and group id inside. Never 0.
    pub uid: u32,
    /// Group id inside. Never 0.
    pub gid: u32,
    /// The host's user that this id is outside: the caller's own, or, run by root, an otherwise unused one.
    pub host_uid: u32,
    /// The same for the group.
    pub host_gid: u32,
}

/// Resource limits of the whole session. `None` means the backend's default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, such as 1.5.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

impl Eq for Limits {}

impl Limits {
    /// Which of them were reached, in words for people: so many processes were killed for memory, so many refused.
    pub fn reached(&self, killed: u64, refused: u64) -> Vec<String> {
        let mut reached = Vec::new();
        if let (Some(limit), 1..) = (self.memory, killed) {
            let processes = if killed == 1 { "process" } else { "processes" };
            let limit = Bytes(limit);
            reached.push(format!(
                "memory limit of {limit} reached ({killed} {processes} killed)"
            ));
        }
        if let (Some(limit), 1..) = (self.processes, refused) {
            reached.push(format!(
                "process limit of {limit} reached ({refused} refused)"
            ));
        }
        reached
    }
}

/// A number of bytes for people.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let unit = units
            .into_iter()
            .find(|(_, shift)| self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift));
        match unit {
            Some((name, shift)) => write!(f, "{} {name}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}
