//! Stopping a whole session where it stands: by a control group's freezer where one can be had, which nothing inside can
//! undo, else by stopping each process until nobody runs any more.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use palisade_sys::cgroup::{Group, write};
use rustix::process::{Pid, Signal, kill_process};

use crate::limits::{GroupView, Surroundings, descendants};

/// Looks at who runs before it is given up. Each stops or moves all that are seen, so only what is started in between is left.
const MOST_LOOKS: u32 = 500;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);
/// Groups of sessions begin like this.
const PREFIX: &str = "palisade-";

/// A session that stands still.
#[derive(Debug)]
pub(crate) struct Frozen {
    means: Means,
}

#[derive(Debug)]
enum Means {
    /// The session's own version 2 group.
    Own,
    /// A version 2 group made for it.
    Unified(Group),
    /// A version 1 group made for it. What is frozen there does not even die before it is thawed.
    Legacy(Group),
    /// Each process was stopped.
    Signals,
}

/// Freezes a process and all its descendants.
///
/// # Errors
/// Something still runs.
pub(crate) fn freeze(init: u32) -> io::Result<Frozen> {
    let seen = |of: &str| {
        let groups = fs::read_to_string(format!("/proc/{of}/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        GroupView::parse(&groups, &mounts)
    };
    let here = Surroundings::read()?.groups;
    let by_group = unified(init, &here, &seen(&init.to_string()));
    let by_group = by_group.or_else(|_| legacy(init, &here));
    let means = by_group.or_else(|_| stop_each(init).map(|()| Means::Signals))?;
    Ok(Frozen { means })
}

impl Frozen {
    /// What holds it, in words that fit after "frozen by".
    pub(crate) fn by(&self) -> &'static str {
        match self.means {
            Means::Own | Means::Unified(_) | Means::Legacy(_) => "a control group",
            Means::Signals => "stopping each process",
        }
    }

    /// Lets what was killed die.
    pub(crate) fn release(&self) {
        let Means::Legacy(group) = &self.means else {
            return;
        };
        // Nothing of it may run a single instruction again.
        let held = group.get("cgroup.procs").unwrap_or_default();
        for pid in held.lines().filter_map(|line| line.parse().ok()) {
            signal(pid, Signal::KILL);
        }
        let _ = group.set("freezer.state", "THAWED");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Means::Unified(group) | Means::Legacy(group) = &self.means {
            // What cannot be removed is empty and harms nobody; the next session's limits remove it.
            let _ = group.remove();
        }
    }
}

fn unified(init: u32, here: &GroupView, there: &GroupView) -> io::Result<Means> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let own = &here.unified.as_ref().ok_or_else(missing)?.own;
    let inside = there.unified.as_ref().map(|unified| &unified.own);
    if let Some(group) = inside.filter(|group| *group != own && is_of_a_session(group)) {
        write(&group.join("cgroup.freeze"), "1")?;
        wait_for(|| says(&group.join("cgroup.events"), "frozen 1"))?;
        return Ok(Means::Own);
    }
    let group = Group::create(own, &name())?;
    let frozen = group
        .set("cgroup.freeze", "1")
        .and_then(|()| gather(init, &group))
        .and_then(|()| wait_for(|| says(&group.path().join("cgroup.events"), "frozen 1")));
    if let Err(error) = frozen {
        let _ = group.set("cgroup.freeze", "0");
        give_back(&group, own);
        return Err(error);
    }
    Ok(Means::Unified(group))
}

fn legacy(init: u32, here: &GroupView) -> io::Result<Means> {
    let own = here.legacy("freezer").ok_or(io::ErrorKind::NotFound)?;
    let group = Group::create(own, &name())?;
    let frozen = group
        .set("freezer.state", "FROZEN")
        .and_then(|()| gather(init, &group))
        .and_then(|()| wait_for(|| says(&group.path().join("freezer.state"), "FROZEN")));
    if let Err(error) = frozen {
        let _ = group.set("freezer.state", "THAWED");
        give_back(&group, own);
        return Err(error);
    }
    Ok(Means::Legacy(group))
}

/// Moves everybody into the group, until there is nobody left to move: what a member starts is a member.
fn gather(init: u32, group: &Group) -> io::Result<()> {
    for _ in 0..MOST_LOOKS {
        let members = group.get("cgroup.procs")?;
        let members: Vec<u32> = members.lines().filter_map(|pid| pid.parse().ok()).collect();
        let mut all = descendants(init).into_iter();
        let outside: Vec<u32> = all
            .by_ref()
            .filter(|pid| !members.contains(pid) && runs(*pid))
            .collect();
        if outside.is_empty() {
            return Ok(());
        }
        for pid in outside {
            match group.add(pid) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(ESRCH) => {}
                other => other?,
            }
        }
    }
    Err(still_runs())
}

const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// A group that did not freeze is left as it was found.
fn give_back(group: &Group, to: &Path) {
    let members = group.get("cgroup.procs").unwrap_or_default();
    for pid in members.lines() {
        let _ = write(&to.join("cgroup.procs"), pid);
    }
    let _ = group.remove();
}

/// Stops everybody, init first, which would tell of the others' stops. A process can let another go on, so all are looked at
/// again until none runs.
fn stop_each(init: u32) -> io::Result<()> {
    for _ in 0..MOST_LOOKS {
        let running: Vec<u32> = descendants(init)
            .into_iter()
            .filter(|pid| runs(*pid))
            .collect();
        if running.is_empty() {
            return Ok(());
        }
        for pid in running {
            signal(pid, Signal::STOP);
        }
        sleep(PAUSE);
    }
    Err(still_runs())
}

/// Neither stopped nor dead (proc(5), `stat`).
fn runs(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !"TtZXx".contains(state))
}

fn signal(pid: u32, signal: Signal) {
    // Whoever is gone needs none.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn says(file: &Path, line: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().any(|found| found == line))
}

fn wait_for(holds: impl Fn() -> bool) -> io::Result<()> {
    for _ in 0..MOST_LOOKS {
        if holds() {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(still_runs())
}

fn still_runs() -> io::Error {
    io::Error::other("something inside still runs")
}

fn is_of_a_session(group: &Path) -> bool {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX)
}

/// As a session's group is named, so that one left over is removed the same way.
fn name() -> String {
    format!("{PREFIX}{}-freezer", std::process::id())
}

#[cfg(test)]
mod tests;
