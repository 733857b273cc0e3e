//! Which means each limit is held by: decided by looking, without changing anything.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_boundary::{Enforcement, Limits, Weakness};
use rustix::fs::{Access, access};

use super::surroundings::{Surroundings, Unified};

/// Something a limit is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Memory,
    Processes,
    Cpus,
}

impl Control {
    /// The control group controller's name, the same in both versions.
    pub(super) fn controller(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Cpus => "cpu",
        }
    }
}

/// What holds one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// A version 2 control group.
    Unified,
    /// A version 1 control group below this one.
    Legacy(PathBuf),
    /// What the kernel has for single processes.
    Process,
}

/// Where a version 2 group is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the caller's own group. Groups with processes of their own cannot divide their resources (cgroups(7), "no
    /// internal processes"), so the caller first moves into a group beside the session's, unless it need not.
    Within {
        own: PathBuf,
        /// Controllers to be switched on for what lies below.
        enable: Vec<&'static str>,
        /// Whether the caller has to make room.
        make_room: bool,
    },
    /// In a group above the caller's own. What limits the groups in between limits the session as well.
    Beside {
        parent: PathBuf,
        between: Vec<PathBuf>,
    },
}

/// The decision for all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) place: Option<Place>,
    /// `None` where no limit is asked for.
    pub(super) memory: Option<Means>,
    pub(super) processes: Option<Means>,
    pub(super) cpus: Option<Means>,
}

/// Since Linux 5.14 `RLIMIT_NPROC` counts within a user namespace and its children, so that it holds a session alone.
pub(super) const PROCESSES_COUNTED_APART: (u32, u32) = (5, 14);

/// Groups looked at above the caller's own. Systemd nests about six.
const MAX_DEPTH: usize = 16;

/// How to get control groups without root.
const DELEGATION: &str = "run palisade as `systemd-run --user --scope -p Delegate=yes palisade …`, which gives it a \
     control group of its own";

/// The limits that want a control group.
pub(super) fn wanted(limits: &Limits, kernel: (u32, u32)) -> Vec<Control> {
    let mut wanted = Vec::new();
    if limits.memory.is_some() {
        wanted.push(Control::Memory);
    }
    if limits.cpus.is_some() {
        wanted.push(Control::Cpus);
    }
    if limits.processes.is_some() && kernel < PROCESSES_COUNTED_APART {
        wanted.push(Control::Processes);
    }
    wanted
}

impl Choice {
    pub(super) fn of(limits: &Limits, here: &Surroundings) -> Self {
        let wanted = wanted(limits, here.kernel);
        let unified = here.groups.unified.as_ref();
        let found = unified.and_then(|u| unified_place(u, &wanted));
        let (place, covered) = found.unzip();
        let covered = covered.unwrap_or_default();
        let means = |control: Control| {
            if covered.contains(&control) {
                return Means::Unified;
            }
            match here.groups.legacy(control.controller()) {
                Some(own) if writable(own) => Means::Legacy(own.to_owned()),
                _ => Means::Process,
            }
        };
        Self {
            place,
            memory: limits.memory.map(|_| means(Control::Memory)),
            cpus: limits.cpus.map(|_| means(Control::Cpus)),
            processes: limits.processes.map(|_| {
                if wanted.contains(&Control::Processes) {
                    means(Control::Processes)
                } else {
                    Means::Process
                }
            }),
        }
    }

    /// How well memory is limited, if it is to be.
    pub(super) fn judge_memory(&self) -> Option<Enforcement> {
        Some(match self.memory.as_ref()? {
            Means::Process => weaker(
                "no control group with the memory controller can be made here, so each process alone is held by \
                 RLIMIT_DATA and the sum is looked at from outside four times a second; files in memory are not counted",
                DELEGATION,
            ),
            group => enforced_by(group),
        })
    }

    /// How well the number of processes is limited, which it always is.
    pub(super) fn judge_processes(&self, here: &Surroundings) -> Enforcement {
        match &self.processes {
            Some(means) if *means != Means::Process => enforced_by(means),
            _ if here.kernel >= PROCESSES_COUNTED_APART => Enforcement::Enforced(
                "RLIMIT_NPROC, counted in the session's user namespace".into(),
            ),
            means => weaker(
                "this kernel is older than 5.14 and counts the user's processes outside as well (RLIMIT_NPROC)",
                // A group is only made for a number that the policy names.
                match means {
                    Some(_) => DELEGATION,
                    None => "use Linux 5.14 or newer",
                },
            ),
        }
    }

    /// How well processor time is limited, if it is to be.
    pub(super) fn judge_cpus(&self, cpus: Option<f64>, here: &Surroundings) -> Option<Enforcement> {
        let (means, cpus) = (self.cpus.as_ref()?, cpus?);
        let whole = whole_processors(cpus);
        Some(match means {
            Means::Process if cpus >= f64::from(here.processors.count()) => {
                Enforcement::Enforced("the machine, which has no more processors".into())
            }
            Means::Process if f64::from(whole) <= cpus => Enforcement::Enforced(format!(
                "binding the session to {whole} of the machine's processors"
            )),
            Means::Process => weaker(
                format!(
                    "no control group with the cpu controller can be made here, so the session is bound to {whole} \
                     processor(s) instead of {cpus}"
                ),
                DELEGATION,
            ),
            group => enforced_by(group),
        })
    }
}

/// Processors that are at least as much as `cpus`.
pub(super) fn whole_processors(cpus: f64) -> u32 {
    // The caller has checked that it is positive; a saturating conversion is right above.
    (cpus.ceil() as u32).max(1)
}

fn weaker(why: impl Into<String>, fix: &str) -> Enforcement {
    Enforcement::Weaker(Weakness {
        why: why.into(),
        fix: Some(fix.to_owned()),
    })
}

fn enforced_by(means: &Means) -> Enforcement {
    Enforcement::Enforced(match means {
        Means::Unified => "a control group (version 2)".into(),
        _ => "a control group (version 1)".into(),
    })
}

/// The place that serves most of what is wanted, the nearest first.
fn unified_place(unified: &Unified, wanted: &[Control]) -> Option<(Place, Vec<Control>)> {
    let mut best: Option<(Place, Vec<Control>)> = None;
    for (place, covered) in places(unified, wanted) {
        let better = best.as_ref().map_or(0, |(_, c)| c.len());
        if covered.len() > better {
            best = Some((place, covered));
        }
    }
    best
}

fn places(unified: &Unified, wanted: &[Control]) -> Vec<(Place, Vec<Control>)> {
    let mut found: Vec<(Place, Vec<Control>)> = within(&unified.own, wanted).into_iter().collect();
    let mut between = vec![unified.own.clone()];
    let above = unified.own.ancestors().skip(1);
    for parent in above
        .take_while(|p| p.starts_with(&unified.top))
        .take(MAX_DEPTH)
    {
        // What stands above is not switched on here: that would reach into groups of others.
        let covered = among(wanted, &words(parent, "cgroup.subtree_control"));
        if writable(parent) && writable(&parent.join("cgroup.procs")) {
            let place = Place::Beside {
                parent: parent.to_owned(),
                between: between.clone(),
            };
            found.push((place, covered));
        }
        between.push(parent.to_owned());
    }
    found
}

fn within(own: &Path, wanted: &[Control]) -> Option<(Place, Vec<Control>)> {
    let reachable = ["", "cgroup.procs", "cgroup.subtree_control"];
    if !reachable.iter().all(|file| writable(&own.join(file))) {
        return None;
    }
    // Only the true root of the hierarchy lacks this file; it may hold processes and divide its resources.
    let is_root = !own.join("cgroup.type").exists();
    let processes = words(own, "cgroup.procs");
    let alone = processes == [std::process::id().to_string()];
    if !is_root && !alone {
        return None;
    }
    let covered = among(wanted, &words(own, "cgroup.controllers"));
    let on = words(own, "cgroup.subtree_control");
    let place = Place::Within {
        own: own.to_owned(),
        enable: covered
            .iter()
            .map(|c| c.controller())
            .filter(|c| !on.iter().any(|o| o == c))
            .collect(),
        make_room: !is_root,
    };
    Some((place, covered))
}

fn among(wanted: &[Control], controllers: &[String]) -> Vec<Control> {
    wanted
        .iter()
        .copied()
        .filter(|w| controllers.iter().any(|c| c == w.controller()))
        .collect()
}

fn words(directory: &Path, file: &str) -> Vec<String> {
    // What cannot be read offers nothing.
    fs::read_to_string(directory.join(file))
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests;
