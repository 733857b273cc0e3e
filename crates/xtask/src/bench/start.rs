//! Starting and ending a session around `true`: palisade with policy, gate and audit; bubblewrap with the same tree and
//! no gate; sandbox-runtime.

mod container;
mod gvisor;
mod pairs;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::place::{Binaries, Place, places};
use super::statistics::Times;
use super::tree;
use crate::containers::Daemon;
use crate::shell::{self, Done};

/// Pairs. So many make the median steady on a machine that does other things too.
const PAIRS: usize = 60;
/// Pairs that are thrown away: caches fill, the CPU wakes.
const WARM_UP: usize = 5;
/// sandbox-runtime takes half a second each, so it gets fewer.
const SRT_EVERY: usize = 10;

/// A policy like one a person writes: profiles, rules, limits.
pub(super) const POLICY: &str = "\
version = 1
extends = [\"git\", \"node\"]

[[network.allow]]
host = \"api.example.com\"
ports = [443]

[[network.deny]]
host = \"gist.github.com\"

[limits]
processes = 512
";

/// Measures as each user.
pub(super) fn run(binaries: &Binaries) -> Done {
    let daemon = Daemon::if_there(&binaries.path("docker"))?;
    for place in places(binaries)? {
        let place = place.with_engine(daemon.as_ref().map(Daemon::address));
        as_user(binaries, &place)?;
        container::run(binaries, &place)?;
        gvisor::run(binaries, &place)?;
    }
    Ok(())
}

fn as_user(binaries: &Binaries, place: &Place) -> Done {
    let policy = place.write("policy.toml", POLICY)?;
    let palisade: Vec<String> = [
        &binaries.path("palisade").display().to_string(),
        "run",
        "--quiet",
        "--policy",
        &policy.display().to_string(),
        "--",
    ]
    .map(str::to_owned)
    .into();
    // Nobody starts an agent in a folder that was made a moment ago: what is in one is looked at each time.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let bwrap = bwrap(place, &palisade)?;
    let srt = srt(place)?;
    let mut ours = Times::default();
    let mut theirs = Times::default();
    let mut slowest = Times::default();
    for pair in 0..PAIRS + WARM_UP {
        // Each goes first in every other pair.
        let theirs_now = |first: bool| bwrap.as_ref().filter(|_| (pair % 2 == 0) == first);
        let before = theirs_now(true)
            .map(|bwrap| once(place, bwrap))
            .transpose()?;
        let own = once(place, &with_true(&palisade))?;
        let after = theirs_now(false)
            .map(|bwrap| once(place, bwrap))
            .transpose()?;
        let other = before.or(after);
        if pair < WARM_UP {
            continue;
        }
        ours.push(own);
        if let Some(other) = other {
            theirs.push(other);
        }
        if let Some(srt) = srt.as_ref().filter(|_| pair % SRT_EVERY == 0) {
            slowest.push(once(place, srt)?);
        }
    }
    println!(
        "start, as {}: `true` in a session, {PAIRS} interleaved runs",
        place.user
    );
    row("palisade, gate and audit on", &ours, &ours);
    row("bubblewrap, same tree, no gate", &theirs, &ours);
    row("sandbox-runtime", &slowest, &ours);
    Ok(())
}

fn row(name: &str, times: &Times, ours: &Times) {
    if times.count() == 0 {
        println!("  {name:<32} not installed");
        return;
    }
    let ratio = if times.count() == ours.count() {
        ours.paired_ratio(times)
    } else {
        ours.median().as_secs_f64() / times.median().as_secs_f64()
    };
    println!(
        "  {name:<32} median {:>8.2?}  p90 {:>8.2?}  palisade takes {ratio:.3} of it ({} runs)",
        times.median(),
        times.quantile(0.9),
        times.count()
    );
}

fn with_true(run: &[String]) -> Vec<String> {
    run.iter().cloned().chain(["true".to_owned()]).collect()
}

fn bwrap(place: &Place, palisade: &[String]) -> Done<Option<Vec<String>>> {
    let Some(program) = shell::program("bwrap") else {
        return Ok(None);
    };
    let mut words = vec![program.display().to_string()];
    words.extend(tree::arguments(place, palisade)?);
    words.push("--".into());
    Ok(Some(with_true(&words)))
}

/// sandbox-runtime's command line up to the command to run.
pub(super) fn srt_program() -> Option<Vec<String>> {
    let cli: PathBuf =
        shell::tools().join("node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js");
    let node = shell::program("node")?;
    let needs = ["bwrap", "socat", "rg"];
    let complete = cli.is_file() && needs.iter().all(|name| shell::program(name).is_some());
    complete.then(|| [node, cli].map(|path| path.display().to_string()).into())
}

fn srt(place: &Place) -> Done<Option<Vec<String>>> {
    let settings = r#"{"network": {"allowedDomains": ["api.example.com"], "deniedDomains": []},
        "filesystem": {"denyRead": [], "allowRead": [], "allowWrite": ["."], "denyWrite": []}}"#;
    let settings = place.write("srt.json", settings)?;
    let Some(mut words) = srt_program() else {
        return Ok(None);
    };
    words.extend(["--settings".into(), settings.display().to_string()]);
    words.extend(["-c".into(), "true".into()]);
    Ok(Some(words))
}

fn once(place: &Place, words: &[String]) -> Done<std::time::Duration> {
    let (program, rest) = words.split_first().ok_or("no command to run")?;
    let mut command: Command = place.command(program);
    command
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let child = command
        .spawn()
        .map_err(|error| format!("start {program}: {error}"))?;
    let done = child
        .wait_with_output()
        .map_err(|error| format!("wait for {program}: {error}"))?;
    let elapsed = started.elapsed();
    match done.status.success() {
        true => Ok(elapsed),
        false => Err(format!(
            "{} failed: {}\n{}",
            words.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}
