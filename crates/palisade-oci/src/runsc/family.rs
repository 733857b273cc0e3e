//! The processes that a sandbox is made of: gVisor's kernel, its gofer, and what they start. They end with `runsc run`, but by themselves and
//! a moment later, and a session is over only when nothing of it is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Those below one process.
pub(super) struct Family(Vec<OwnedFd>);

impl Family {
    /// While that process has not been waited for.
    pub(super) fn of(process: u32) -> Self {
        let mut found = Vec::new();
        let mut ask = vec![process];
        while let Some(parent) = ask.pop() {
            for child in children(parent) {
                let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
                let opened = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                found.extend(opened);
                ask.push(child);
            }
        }
        Self(found)
    }

    /// Waits until all have ended. Those that take longer are killed.
    pub(super) fn wait(self, patience: Duration) {
        let left = still_there(self.0, patience);
        for process in &left {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        still_there(left, patience);
    }
}

fn still_there(mut processes: Vec<OwnedFd>, patience: Duration) -> Vec<OwnedFd> {
    let deadline = Instant::now() + patience;
    while let Some(first) = processes.first() {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        // Readable once it has ended (pidfd_open(2)).
        match poll(&mut [PollFd::new(first, PollFlags::IN)], left.as_ref()) {
            Ok(0) => break,
            Ok(_) => drop(processes.remove(0)),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    processes
}

/// Of all its threads (proc_tid_children(5)).
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers = |list: String| -> Vec<u32> {
        let words = list.split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    lists.flat_map(numbers).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_started_is_waited_for_and_killed_if_need_be() {
        let script = "sh -c 'sleep 600; :' & echo up; sleep 600";
        let mut parent = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let own = std::process::id();
        assert!(children(own).contains(&parent.id()));
        let deadline = Instant::now() + Duration::from_secs(60);
        // The shell in the background, its sleep, and the one beside it.
        let family = loop {
            let family = Family::of(parent.id());
            if family.0.len() == 3 {
                break family;
            }
            assert!(Instant::now() < deadline, "{}", family.0.len());
        };
        let copies = family.0.iter().map(OwnedFd::try_clone);
        let copies: Vec<OwnedFd> = copies.collect::<Result<_, _>>().expect("copies");
        parent.kill().expect("killed");
        parent.wait().expect("waited for");
        family.wait(Duration::from_millis(10));
        assert!(still_there(copies, Duration::ZERO).is_empty());
    }
}
