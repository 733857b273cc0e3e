//! Taking more than the session's share. Bounded: what is tried is a little more than the limit, and only where the machine
//! can spare it.

use std::fs;
use std::sync::Arc;
use std::thread::Builder;

use super::{Failed, Got, blocked};
use crate::stage::Stage;

/// What is tried beyond a limit.
const MORE_PROCESSES: u32 = 64;
const MORE_MEMORY: u64 = 64 << 20;
/// Most that is tried. A limit above is not tried.
const MOST_PROCESSES: u32 = 16_384;
/// Least that the kernel lets a thread have.
const STACK: usize = 16 << 10;
const PAGE: usize = 4096;
/// Memory is filled in parts, so that a limit is met as programs meet it.
const PART: usize = 16 << 20;

/// A limit of processes that is tried.
pub(crate) fn processes_to_try(limit: Option<u32>) -> Result<u32, String> {
    match limit {
        None => Err("no limit of processes is set".to_owned()),
        Some(limit) if limit > MOST_PROCESSES => {
            Err(format!("{limit} processes are too many to try"))
        }
        Some(limit) => Ok(limit),
    }
}

/// A limit of memory that is tried: the machine has to stay usable where it does not hold.
pub(crate) fn memory_to_try(limit: Option<u64>) -> Result<u64, String> {
    let limit = limit.ok_or("no limit of memory is set")?;
    let wanted = limit.saturating_add(MORE_MEMORY);
    if available().is_none_or(|available| wanted > available / 2) {
        return Err("the limit is more than half of the memory that is free".to_owned());
    }
    Ok(limit)
}

/// Threads, which the kernel counts as processes.
pub(crate) fn fork_bomb(stage: &Stage) -> Got {
    let limit = stage.processes.clone().map_err(Failed::Absent)?;
    let wanted = limit + MORE_PROCESSES;
    let wait = Arc::new(std::sync::Mutex::new(()));
    let held = wait.lock().map_err(|_| blocked("a thread ended"))?;
    let mut threads = Vec::new();
    let mut refused = None;
    for _ in 0..wanted {
        let wait = Arc::clone(&wait);
        let made = Builder::new()
            .stack_size(STACK)
            .spawn(move || drop(wait.lock()));
        match made {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let count = threads.len();
    drop(held);
    for thread in threads {
        // It did nothing but wait.
        let _ = thread.join();
    }
    match refused {
        None => Ok(format!("{count} at once, and the limit is {limit}")),
        Some(error) => Err(blocked(format!("{count} were made: {error}"))),
    }
}

pub(crate) fn memory_hog(stage: &Stage) -> Got {
    let limit = stage.memory.clone().map_err(Failed::Absent)?;
    let wanted = limit.saturating_add(MORE_MEMORY);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut taken = 0;
    while taken < wanted {
        let mut part = Vec::new();
        part.try_reserve_exact(PART)
            .map_err(|_| blocked(format!("{} MiB were had", taken >> 20)))?;
        part.resize(PART, 0);
        // Each page is written, or the kernel gives none.
        part.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        taken += PART as u64;
        parts.push(part);
    }
    std::hint::black_box(&parts);
    Ok(format!(
        "{} MiB, and the limit is {}",
        taken >> 20,
        limit >> 20
    ))
}

fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}
