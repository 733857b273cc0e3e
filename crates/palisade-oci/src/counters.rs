//! Which limit ended or refused something: the container's control group counts it.
//!
//! Its files are opened while the container runs, because the engine removes the group with it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use palisade_boundary::Limits;

/// Where control groups are mounted (the file hierarchy standard of systemd, which engines rely on as well).
const GROUPS: &str = "/sys/fs/cgroup";
/// Longest of these files; they have a dozen short lines.
const MOST_BYTES: usize = 4096;

/// See the module. Where the groups lie elsewhere it counts nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    limits: Limits,
    memory: Option<File>,
    processes: Option<File>,
}

impl Counters {
    /// Those of the container that this process is in.
    pub(crate) fn of(process: u32, limits: Limits) -> Self {
        let table = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        let open = |controller: &str, file: &str, older: &str| {
            let path = file_of(Path::new(GROUPS), &table, controller, file, older)?;
            File::open(path).ok()
        };
        Self {
            limits,
            memory: open("memory", "memory.events", "memory.oom_control"),
            processes: open("pids", "pids.events", "pids.events"),
        }
    }

    /// Which limits were reached so far, in words for people.
    pub(crate) fn outcome(&self) -> Option<String> {
        let killed = count(self.memory.as_ref(), "oom_kill");
        let refused = count(self.processes.as_ref(), "max");
        let reached = self.limits.reached(killed, refused);
        (!reached.is_empty()).then(|| reached.join("; "))
    }
}

/// A controller of version 1 has a hierarchy of its own; all others are in that of version 2 (cgroups(7)).
fn file_of(
    groups: &Path,
    table: &str,
    controller: &str,
    file: &str,
    older: &str,
) -> Option<PathBuf> {
    let mut unified = None;
    for line in table.lines() {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let below = |hierarchy: &Path| hierarchy.join(group.trim_start_matches('/'));
        if controllers.split(',').any(|one| one == controller) {
            return Some(below(&groups.join(controllers)).join(older));
        }
        if controllers.is_empty() {
            unified = Some(below(groups).join(file));
        }
    }
    unified
}

fn count(file: Option<&File>, name: &str) -> u64 {
    let mut bytes = [0; MOST_BYTES];
    let read = file.and_then(|file| file.read_at(&mut bytes, 0).ok());
    let text = bytes.get(..read.unwrap_or(0)).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(key, _)| *key == name);
    found
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_both_versions_are_found() {
        let of = |table: &str| {
            let groups = Path::new("/g");
            file_of(
                groups,
                table,
                "memory",
                "memory.events",
                "memory.oom_control",
            )
        };
        let first = "9:name=systemd:/x\n4:memory:/docker/1\n0::/\n";
        assert_eq!(
            of(first),
            Some("/g/memory/docker/1/memory.oom_control".into())
        );
        let second = "0::/system.slice/docker-1.scope\n";
        let expected = "/g/system.slice/docker-1.scope/memory.events";
        assert_eq!(of(second), Some(expected.into()));
        assert_eq!(of(""), None);
    }

    #[test]
    fn what_was_reached_is_said_in_words() {
        let folder = tempfile::tempdir().expect("folder");
        let put = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("written");
            File::open(folder.path().join(name)).ok()
        };
        let limits = Limits {
            memory: Some(256 << 20),
            cpus: None,
            processes: Some(64),
        };
        let counters = |memory: &str, processes: &str| Counters {
            limits,
            memory: put("memory", memory),
            processes: put("processes", processes),
        };
        let none = counters("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "max 0\n");
        assert_eq!(none.outcome(), None);
        let both = counters("oom_kill_disable 0\noom_kill 1\n", "max 7\n");
        let words = "memory limit of 256 MiB reached (1 process killed); process limit of 64 reached (7 refused)";
        assert_eq!(both.outcome().as_deref(), Some(words));
    }
}
