//! `cargo xtask fuzz [TARGET] [--seconds N]`: builds the fuzz targets and runs them, from the seeds that are kept and from
//! what earlier runs have found.
//!
//! With the stable compiler and without clang: coverage comes from LLVM itself, and address sanitizer would only watch over
//! libraries, since our own code has none that is unsafe outside of one crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::shell::{self, Done};

/// The version the options below were written for.
const CARGO_FUZZ: &str = "0.13.2";
/// Bytes of an input: some head lines, a ClientHello with a post-quantum key share.
const INPUT_MAX: u32 = 4096;
/// One input that takes longer than this many seconds is a finding.
const TIMEOUT: u32 = 5;
/// MiB of memory; a target needs some 100.
const MEMORY: u32 = 1024;

/// What to run, and for how long each.
struct Wanted {
    targets: Vec<String>,
    seconds: u32,
}

/// Runs the named target, or all.
pub(crate) fn run(arguments: &[&str]) -> Done {
    let wanted = read(arguments)?;
    let folder = build()?;
    each(&wanted, &folder)
}

/// A short run of every target, for the tests.
pub(crate) fn briefly() -> Done {
    run(&["--seconds", "6"])
}

fn read(arguments: &[&str]) -> Done<Wanted> {
    let known = targets()?;
    let mut wanted = Wanted {
        targets: Vec::new(),
        seconds: 60,
    };
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if *word == "--seconds" {
            let number = rest.next().and_then(|number| number.parse().ok());
            wanted.seconds = number.ok_or("--seconds takes a number")?;
        } else if known.iter().any(|name| name == word) {
            wanted.targets.push((*word).to_owned());
        } else {
            let known = known.join(", ");
            return Err(format!("there is no fuzz target {word}; there are {known}"));
        }
    }
    if wanted.targets.is_empty() {
        wanted.targets = known;
    }
    Ok(wanted)
}

fn home() -> PathBuf {
    shell::root().join("fuzz")
}

fn targets() -> Done<Vec<String>> {
    let folder = home().join("fuzz_targets");
    let failed = |error| format!("read {}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds all targets. Returns the folder of the programs.
fn build() -> Done<PathBuf> {
    let tool = cargo_fuzz()?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), PathBuf::from)
        .join("fuzz");
    let mut command = Command::new(tool);
    command
        .args(["fuzz", "build", "--sanitizer", "none", "--target-dir"])
        .arg(&target)
        .current_dir(shell::root())
        .env("RUSTC_BOOTSTRAP", "1");
    shell::run(&mut command)?;
    let built =
        fs::read_dir(&target).map_err(|error| format!("read {}: {error}", target.display()))?;
    let mut programs = built.flatten().map(|entry| entry.path().join("release"));
    programs
        .find(|folder| folder.join("request_head").is_file())
        .ok_or_else(|| format!("no fuzz targets in {}", target.display()))
}

fn cargo_fuzz() -> Done<PathBuf> {
    let own = shell::tools().join("bin/cargo-fuzz");
    if !own.is_file() {
        shell::run(
            shell::cargo()
                .args([
                    "install",
                    // It only starts cargo.
                    "--debug",
                    "cargo-fuzz",
                    "--locked",
                    "--version",
                    CARGO_FUZZ,
                    "--root",
                ])
                .arg(shell::tools()),
        )?;
    }
    Ok(own)
}

/// Runs the targets, as many at a time as there are processors, and names those that found something.
fn each(wanted: &Wanted, programs: &Path) -> Done {
    let scratch = Scratch::new()?;
    let waiting = Mutex::new(wanted.targets.iter());
    let failed = Mutex::new(Vec::new());
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(wanted.targets.len()) {
            scope.spawn(|| {
                loop {
                    let Some(name) = waiting.lock().ok().and_then(|mut next| next.next()) else {
                        return;
                    };
                    match one(name, wanted.seconds, programs, &scratch.0) {
                        Ok(line) => eprintln!("fuzz {name}: {line}"),
                        Err(message) => {
                            eprintln!("fuzz {name}: {message}");
                            if let Ok(mut failed) = failed.lock() {
                                failed.push(name.clone());
                            }
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    match failed.as_slice() {
        [] => Ok(()),
        _ => Err(format!(
            "fuzz targets that found something: {}",
            failed.join(", ")
        )),
    }
}

fn one(name: &str, seconds: u32, programs: &Path, scratch: &Path) -> Done<String> {
    let (corpus, artifacts) = (
        home().join("corpus").join(name),
        home().join("artifacts").join(name),
    );
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder)
            .map_err(|error| format!("make {}: {error}", folder.display()))?;
    }
    let before = inputs(&artifacts);
    let mut command = Command::new(programs.join(name));
    command
        .arg(&corpus)
        .arg(home().join("corpus-seed").join(name))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_MAX}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg("-print_final_stats=1")
        .env("TMPDIR", scratch)
        .stdin(Stdio::null());
    let done = command
        .output()
        .map_err(|error| format!("start {name}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        let figure = |label: &str| {
            let line = said.lines().rev().find(|line| line.contains(label));
            line.and_then(|line| line.split_whitespace().last())
                .unwrap_or("?")
                .to_owned()
        };
        let runs = figure("stat::number_of_executed_units");
        return Ok(format!("{runs} inputs in {seconds} s, nothing found"));
    }
    let mut found = inputs(&artifacts);
    found.retain(|path| !before.contains(path));
    let found: Vec<String> = found
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let lines: Vec<&str> = said.lines().collect();
    let end = lines[lines.len().saturating_sub(40)..].join("\n");
    Err(format!("{end}\nthe input is kept in {}", found.join(", ")))
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Where targets may write. Gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Done<Self> {
        let path = std::env::temp_dir().join(format!("palisade-fuzz-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
