//! The memory of a session as seen from outside, where no control group counts it.

use std::fs;

/// Processes looked at in one go. A session is limited to fewer.
const MAX_PROCESSES: usize = 16_384;

/// Bytes in use by a process and all its descendants. What they share counts once or a little more: resident sizes are
/// summed first, which is cheap and too much, and only if that sum is above `limit` are the shares worked out.
pub(super) fn memory_in_use(init: u32, limit: u64) -> u64 {
    let processes = descendants(init);
    let sum: u64 = processes.iter().filter_map(|p| resident(*p)).sum();
    if sum <= limit {
        return sum;
    }
    processes
        .iter()
        .filter_map(|p| proportional(*p).or_else(|| resident(*p)))
        .sum()
}

/// The process and everything below it. Orphans of a process namespace become children of its init.
pub(crate) fn descendants(init: u32) -> Vec<u32> {
    let mut found = vec![init];
    let mut next = 0;
    while next < found.len() && found.len() < MAX_PROCESSES {
        let pid = found[next];
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|c| c.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// Second number of `statm`, in pages (proc(5)).
fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// `Pss` of `smaps_rollup` (Linux 4.14), in KiB.
fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_and_grandchildren_are_counted() {
        let mut child = Command::new("perl")
            .args([
                "-e",
                "my $p = fork; my $x = 'a' x (32 << 20); print 'r'; close STDOUT; sleep 60",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl");
        // Both have said that their memory is there once the pipe is closed on both sides.
        let mut said = String::new();
        let mut pipe = child.stdout.take().expect("pipe");
        std::io::Read::read_to_string(&mut pipe, &mut said).expect("read");
        let pid = child.id();
        let processes = descendants(pid);
        let in_use = memory_in_use(pid, 0);
        let alone = proportional(pid).expect("share of one");
        for process in processes.iter().rev() {
            let number = i32::try_from(*process)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(number.expect("pid"), rustix::process::Signal::KILL)
                .expect("kill");
        }
        child.wait().expect("wait");
        assert_eq!(said, "rr");
        assert_eq!(processes.len(), 2);
        assert!(alone >= 32 << 20, "{alone}");
        assert!(in_use >= 64 << 20, "{in_use}");
        assert!(in_use < 256 << 20, "{in_use}");
    }
}
