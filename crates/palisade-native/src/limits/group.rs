//! A session's control groups: making, entering, reading, removing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use palisade_boundary::StartError;
use palisade_sys::cgroup::{self, Group};

use super::choice::Place;

/// What a group is to hold. Only what is asked of this group is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) memory: Option<u64>,
    pub(super) processes: Option<u32>,
    pub(super) cpus: Option<f64>,
}

/// Which files a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Unified,
    Legacy,
}

/// A group of this session, removed when dropped.
#[derive(Debug)]
pub(super) struct SessionGroup {
    group: Group,
    version: Version,
    room: Option<Room>,
}

/// Where the caller went to make room, and where it came from.
#[derive(Debug)]
struct Room {
    own: PathBuf,
    leaf: Group,
    enabled: Vec<&'static str>,
}

/// What the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) memory_kills: u64,
    pub(super) refused_processes: u64,
}

/// The scheduler's period; the kernel's own default.
const CPU_PERIOD_US: u32 = 100_000;
/// Removing waits for the kernel to let go of processes that have just died: 100 tries, 2 ms apart.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(2);
/// Entries looked at for left-over groups. More than a few hundred sessions at once are not expected.
const MAX_STALE_LOOK: usize = 4096;
const PREFIX: &str = "palisade-";

static NEXT: AtomicU32 = AtomicU32::new(0);

impl SessionGroup {
    /// A version 2 group.
    pub(super) fn unified(place: &Place, wanted: Wanted) -> Result<Self, StartError> {
        let (parent, room, wanted) = match place {
            Place::Beside { parent, between } => (parent, None, narrowed(wanted, between)),
            Place::Within {
                own,
                enable,
                make_room,
            } => {
                let room = make_room
                    .then(|| Room::make(own))
                    .transpose()
                    .map_err(|e| failure("make room in", own, &e))?;
                let mut room = room;
                for controller in enable {
                    cgroup::write(
                        &own.join("cgroup.subtree_control"),
                        &format!("+{controller}"),
                    )
                    .map_err(|e| failure("switch on a controller of", own, &e))?;
                    if let Some(room) = &mut room {
                        room.enabled.push(controller);
                    }
                }
                (own, room, wanted)
            }
        };
        Self::make(parent, Version::Unified, room, wanted)
    }

    /// A version 1 group below the caller's own.
    pub(super) fn legacy(own: &Path, wanted: Wanted) -> Result<Self, StartError> {
        Self::make(own, Version::Legacy, None, wanted)
    }

    fn make(
        parent: &Path,
        version: Version,
        room: Option<Room>,
        wanted: Wanted,
    ) -> Result<Self, StartError> {
        remove_stale(parent);
        let group =
            Group::create(parent, &new_name()).map_err(|e| failure("make one in", parent, &e))?;
        let made = Self {
            group,
            version,
            room,
        };
        for (file, value) in made.settings(wanted) {
            match made.group.set(file, &value) {
                // Swap is not always counted, and then there is nothing to limit.
                Err(e) if e.kind() == io::ErrorKind::NotFound && is_swap(file) => {}
                other => other.map_err(|e| failure(&format!("set {file} of"), made.path(), &e))?,
            }
        }
        Ok(made)
    }

    /// The files to write, in order (cgroup-v2.rst; cgroup-v1/memory.rst, pids.rst; scheduler/sched-bwc.rst).
    fn settings(&self, wanted: Wanted) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        let unified = self.version == Version::Unified;
        if let Some(bytes) = wanted.memory {
            if unified {
                settings.push(("memory.max", bytes.to_string()));
                settings.push((UNIFIED_SWAP, "0".to_owned()));
            } else {
                settings.push(("memory.limit_in_bytes", bytes.to_string()));
                // Memory and swap together.
                settings.push((LEGACY_SWAP, bytes.to_string()));
            }
        }
        if let Some(processes) = wanted.processes {
            settings.push(("pids.max", processes.to_string()));
        }
        if let Some(cpus) = wanted.cpus {
            // Far below 2^63; a fraction of a microsecond does not matter.
            let quota = (cpus * f64::from(CPU_PERIOD_US)) as u64;
            if unified {
                settings.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}")));
            } else {
                settings.push(("cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
                settings.push(("cpu.cfs_quota_us", quota.to_string()));
            }
        }
        settings
    }

    pub(super) fn path(&self) -> &Path {
        self.group.path()
    }

    /// Moves a process in, and so all it starts from now on.
    pub(super) fn enter(&self, pid: u32) -> Result<(), StartError> {
        self.group
            .add(pid)
            .map_err(|e| failure("move the session into", self.path(), &e))
    }

    pub(super) fn events(&self) -> Events {
        let memory = match self.version {
            Version::Unified => self.counter("memory.events", "oom_kill"),
            Version::Legacy => self.counter("memory.oom_control", "oom_kill"),
        };
        Events {
            memory_kills: memory,
            refused_processes: self.counter("pids.events", "max"),
        }
    }

    /// A file that is absent has counted nothing.
    fn counter(&self, file: &str, name: &str) -> u64 {
        let text = self.group.get(file).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for SessionGroup {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            match self.group.remove() {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => thread::sleep(REMOVE_PAUSE),
                // What cannot be removed now is removed by the next session as left over.
                _ => break,
            }
        }
        if let Some(room) = self.room.take() {
            room.give_back();
        }
    }
}

impl Room {
    fn make(own: &Path) -> io::Result<Self> {
        let leaf = Group::create(own, &new_name())?;
        let room = Self {
            own: own.to_owned(),
            leaf,
            enabled: Vec::new(),
        };
        if let Err(error) = room.leaf.add(std::process::id()) {
            room.give_back();
            return Err(error);
        }
        Ok(room)
    }

    /// Undoes everything; what fails leaves an empty group behind and harms nobody.
    fn give_back(self) {
        for controller in &self.enabled {
            let _ = cgroup::write(
                &self.own.join("cgroup.subtree_control"),
                &format!("-{controller}"),
            );
        }
        let me = std::process::id().to_string();
        let _ = cgroup::write(&self.own.join("cgroup.procs"), &me);
        let _ = self.leaf.remove();
    }
}

const UNIFIED_SWAP: &str = "memory.swap.max";
const LEGACY_SWAP: &str = "memory.memsw.limit_in_bytes";

fn is_swap(file: &str) -> bool {
    [UNIFIED_SWAP, LEGACY_SWAP].contains(&file)
}

fn new_name() -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}", std::process::id())
}

/// Groups whose palisade was killed. One with processes cannot be removed, so a live one is safe in any case.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.take(MAX_STALE_LOOK).flatten() {
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|n| n.strip_prefix(PREFIX))
            .and_then(|n| n.split_once('-'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if let Some(pid) = maker
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The limits of groups that the session's group does not lie in, though its maker does.
fn narrowed(wanted: Wanted, between: &[PathBuf]) -> Wanted {
    let number = |group: &Path, file: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let mut narrowed = wanted;
    for group in between {
        let memory = number(group, "memory.max");
        narrowed.memory = narrowed
            .memory
            .map(|m| memory.map_or(m, |other| m.min(other)));
        let processes = number(group, "pids.max").and_then(|p| u32::try_from(p).ok());
        narrowed.processes = narrowed
            .processes
            .map(|p| processes.map_or(p, |other| p.min(other)));
        let cpus = fs::read_to_string(group.join("cpu.max")).ok();
        let cpus = cpus.as_deref().and_then(parse_cpu_max);
        narrowed.cpus = narrowed.cpus.map(|c| cpus.map_or(c, |other| c.min(other)));
    }
    narrowed
}

/// `quota period`, or `max period` for no limit.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

fn failure(doing: &str, path: &Path, error: &io::Error) -> StartError {
    StartError {
        what: "limit the session's resources by a control group".to_owned(),
        cause: format!("could not {doing} {}: {error}", path.display()),
        fix: Some(
            "run palisade in a control group of its own (`systemd-run --user --scope -p Delegate=yes palisade …`), or \
             leave the limit out of the policy"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
