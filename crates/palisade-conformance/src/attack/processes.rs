//! Reaching other processes of the host. Inside there may be another process with the number of the one to attack; it is
//! told apart by its command line.

use std::fs;
use std::path::PathBuf;

use palisade_sys::rare;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Got, any, blocked};
use crate::stage::Stage;

/// Most processes that are looked at.
const MOST: usize = 4096;

pub(crate) fn seen(stage: &Stage) -> Got {
    match command_line(stage.victim) {
        Some(line) if line.contains(&stage.token) => Ok("a process of the host is seen".to_owned()),
        Some(_) => Err(blocked("that number is another process's")),
        None => Err(blocked("no such process")),
    }
}

pub(crate) fn signal(stage: &Stage) -> Got {
    let pid = victim(stage)?;
    test_kill_process(pid)?;
    // One that is there to be ignored.
    kill_process(pid, Signal::CONT)?;
    Ok("a process of the host can be sent signals".to_owned())
}

pub(crate) fn trace(stage: &Stage) -> Got {
    rare::trace(victim(stage)?)?;
    Ok("a process of the host can be traced".to_owned())
}

/// Where the rest is closed, the first process is what a way out is looked for in.
pub(crate) fn first(_: &Stage) -> Got {
    any(["environ", "maps"], "", |name| {
        let path = format!("/proc/1/{name}");
        let text = fs::read(&path)?;
        // What was overwritten with zeros tells nothing.
        if text.iter().all(|byte| *byte == 0) {
            return Err(blocked(format!("{path} is empty")));
        }
        Ok(format!("{path} can be read"))
    })
}

/// A file of the host by the root of every process that is seen, the first one among them.
pub(crate) fn roots(stage: &Stage) -> Got {
    let below = stage
        .outside_file
        .strip_prefix("/")
        .unwrap_or(&stage.outside_file);
    any(of_each_process("root"), "", |root| {
        let path = root.join(below);
        let text = fs::read_to_string(&path)?;
        if !text.contains(&stage.token) {
            return Err(blocked("another file"));
        }
        Ok(format!("{} can be read", path.display()))
    })
}

/// The environment of every other process that is seen; the process to attack has the decoy in it.
pub(crate) fn environments(stage: &Stage) -> Got {
    let own = PathBuf::from(format!("/proc/{}/environ", std::process::id()));
    let others = of_each_process("environ")
        .into_iter()
        .filter(|path| *path != own);
    any(others, "", |path| {
        let text = fs::read(&path)?;
        let found = stage.secrets.iter().any(|secret| secret.is_in(&text));
        found
            .then(|| format!("{} holds a secret", path.display()))
            .ok_or_else(|| blocked("no secret in the environments seen"))
    })
}

/// A file of each process that is seen, by number, the process itself last.
pub(super) fn of_each_process(name: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut numbers: Vec<u32> = all.filter_map(number).take(MOST).collect();
    numbers.sort_unstable();
    let paths = numbers
        .iter()
        .map(|number| format!("/proc/{number}/{name}"));
    paths
        .chain([format!("/proc/self/{name}")])
        .map(PathBuf::from)
        .collect()
}

/// The process to attack, unless the number is seen to be another's.
fn victim(stage: &Stage) -> Result<Pid, super::Failed> {
    let another = command_line(stage.victim).is_some_and(|line| !line.contains(&stage.token));
    match Pid::from_raw(stage.victim) {
        Some(pid) if !another => Ok(pid),
        _ => Err(blocked("that number is another process's")),
    }
}

fn command_line(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).into_owned())
}
