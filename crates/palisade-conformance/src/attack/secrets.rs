//! Looking for secrets by their fingerprints: in the environment, in memory, in files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::processes::of_each_process;
use super::{Got, absent, blocked};
use crate::stage::Stage;

/// Most that is read of the memory of one process, and of all.
const MOST_OF_ONE: u64 = 16 << 20;
const MOST_OF_ALL: u64 = 64 << 20;
/// Memory is read in parts of this.
const PART: u64 = 1 << 20;
/// Most files that are looked into, and most that is read of one: secrets stand in small files.
const MOST_FILES: usize = 20_000;
const MOST_OF_FILE: u64 = 256 << 10;

pub(crate) fn environment(stage: &Stage) -> Got {
    if is_in(stage, &fs::read("/proc/self/environ")?) {
        return Ok("the environment holds a secret".to_owned());
    }
    Err(blocked("no secret in the environment"))
}

/// Of every process that lets itself be read, the attacker's own first: what can be written, which the stack is part of, and
/// with it what a program was started with.
pub(crate) fn memory(stage: &Stage) -> Got {
    let mut left = MOST_OF_ALL;
    let mut read = 0;
    let mut maps = of_each_process("maps");
    maps.rotate_right(1);
    for maps in &maps {
        let Some(folder) = maps.parent() else {
            continue;
        };
        // Processes of others, and those that ended meanwhile, cannot be read.
        match of_one(stage, folder, left.min(MOST_OF_ONE)) {
            Ok((true, _)) => return Ok(format!("{}/mem holds a secret", folder.display())),
            Ok((false, bytes)) => {
                left -= bytes;
                read += 1;
            }
            Err(_) => {}
        }
    }
    Err(blocked(format!(
        "no secret in the memory of {read} processes"
    )))
}

pub(crate) fn files(stage: &Stage) -> Got {
    if stage.searched.is_empty() {
        return absent("no folder to look in");
    }
    let mut folders: VecDeque<PathBuf> = stage.searched.iter().cloned().collect();
    let mut count = 0;
    while let Some(folder) = folders.pop_front() {
        // A folder that cannot be read shows nothing.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push_back(entry.path());
            } else if kind.is_file() && count < MOST_FILES {
                count += 1;
                if file_holds(stage, &entry.path()).unwrap_or(false) {
                    return Ok(format!("{} holds a secret", entry.path().display()));
                }
            }
        }
        if count >= MOST_FILES {
            break;
        }
    }
    Err(blocked(format!("no secret in {count} files")))
}

/// Whether the memory of a process holds a secret, and how much of it was read.
fn of_one(stage: &Stage, folder: &Path, most: u64) -> io::Result<(bool, u64)> {
    let memory = File::open(folder.join("mem"))?;
    let maps = fs::read_to_string(folder.join("maps"))?;
    let overlap = stage.secrets.iter().map(|secret| secret.overlap());
    let overlap = overlap.max().unwrap_or(0);
    let mut left = most;
    let mut part = Vec::new();
    for (start, end) in maps.lines().filter_map(writable) {
        let end = end.min(start.saturating_add(left));
        left -= end - start;
        part.clear();
        let mut at = start;
        while at < end {
            let length = usize::try_from(PART.min(end - at)).unwrap_or(0);
            let kept = part.len();
            part.resize(kept + length, 0);
            // Guard pages and device memory cannot be read; what comes after is looked at on its own.
            if memory.read_exact_at(&mut part[kept..], at).is_err() {
                part.clear();
            } else if is_in(stage, &part) {
                return Ok((true, most - left));
            }
            part.drain(..part.len().saturating_sub(overlap));
            at += length as u64;
        }
    }
    Ok((false, most - left))
}

/// The range of a line of `maps`, if it can be read and written.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw").then_some((hex(start)?, hex(end)?))
}

fn file_holds(stage: &Stage, path: &Path) -> io::Result<bool> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MOST_OF_FILE)
        .read_to_end(&mut text)?;
    Ok(is_in(stage, &text))
}

fn is_in(stage: &Stage, bytes: &[u8]) -> bool {
    stage.secrets.iter().any(|secret| secret.is_in(bytes))
}
