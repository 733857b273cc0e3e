//! The boundaries side by side: what common operations cost inside each, and what passes through the gate from inside.
//!
//! The same program and the same load run outside and in each boundary that this machine has, in one run.

use std::collections::BTreeMap;

use super::inside::{self, Upstream};
use super::place::{Binaries, Place, places};
use super::statistics::median;
use crate::containers::Daemon;
use crate::shell::{self, Done};

/// Rounds of the operations; each is itself the best of several.
const ROUNDS: usize = 3;

/// A boundary that can be had, with what has to be said to get it.
pub(super) struct Boundary {
    pub(super) name: &'static str,
    pub(super) options: Vec<String>,
}

/// Those that are looked for.
const ALL: [&str; 3] = ["native", "container", "gvisor"];

/// Measures as root in a workspace of an ordinary user, which every boundary takes.
pub(super) fn run(binaries: &Binaries) -> Done {
    let folder = binaries.path("docker");
    let daemon = Daemon::if_there(&folder)?;
    let mut places = places(binaries)?;
    let place = places.pop().ok_or("no user to measure as")?.by_root();
    let place = place.with_engine(daemon.as_ref().map(Daemon::address));
    let boundaries = found(binaries, &place);
    operations(binaries, &place, &boundaries)?;
    traffic(binaries, &place, &boundaries)
}

/// The boundaries that a session can be started in, as `true` shows.
fn found(binaries: &Binaries, place: &Place) -> Vec<Boundary> {
    let mut found = Vec::new();
    for name in ALL {
        let mut options = vec![format!("--boundary={name}")];
        if name == "gvisor" {
            // What it holds less well costs no time.
            options.push("--accept-weaker=limits.processes".into());
        }
        let boundary = Boundary { name, options };
        let words = session(binaries, &boundary, &["true".to_owned()]);
        match inside::output(place, &words) {
            Ok(_) => found.push(boundary),
            Err(why) => println!(
                "{name}: left out: {}",
                why.lines().last().unwrap_or_default()
            ),
        }
    }
    found
}

fn session(binaries: &Binaries, boundary: &Boundary, command: &[String]) -> Vec<String> {
    let head = [
        binaries.path("palisade").display().to_string(),
        "run".to_owned(),
        "--quiet".to_owned(),
    ];
    let all = head.iter().chain(&boundary.options);
    all.cloned()
        .chain(["--".to_owned()])
        .chain(command.iter().cloned())
        .collect()
}

fn operations(binaries: &Binaries, place: &Place, boundaries: &[Boundary]) -> Done {
    // In the workspace, so that each boundary shows it.
    let program = place.copy(&binaries.path("calls"), "project/calls")?;
    let workspace = place.workspace().display().to_string();
    let command = |memory: &str| {
        let words = [
            program.display().to_string(),
            workspace.clone(),
            memory.to_owned(),
        ];
        words.to_vec()
    };
    let mut columns = vec![("outside", Vec::new())];
    columns.extend(
        boundaries
            .iter()
            .map(|boundary| (boundary.name, Vec::new())),
    );
    for _ in 0..ROUNDS {
        columns[0]
            .1
            .push(inside::output(place, &command("/dev/shm"))?);
        for (at, boundary) in boundaries.iter().enumerate() {
            let words = session(binaries, boundary, &command("/tmp"));
            columns[at + 1].1.push(inside::output(place, &words)?);
        }
    }
    let medians: Vec<_> = columns.iter().map(|(_, texts)| medians(texts)).collect();
    println!("operations, medians of {ROUNDS} rounds; of what it takes outside in brackets");
    let names = columns.iter().map(|(name, _)| format!("{name:>20}"));
    println!("  {:<44}{}", "", names.collect::<String>());
    let outside = medians.first().ok_or("nothing was measured")?;
    for name in columns[0].1[0]
        .lines()
        .filter_map(|line| line.split_once('\t'))
    {
        let cells = medians.iter().map(|medians| {
            let (time, base) = (medians.get(name.0), outside.get(name.0));
            cell(time.copied(), base.copied())
        });
        println!("  {:<44}{}", name.0, cells.collect::<String>());
    }
    Ok(())
}

fn cell(time: Option<f64>, base: Option<f64>) -> String {
    let (Some(time), Some(base)) = (time, base) else {
        return format!("{:>20}", "-");
    };
    let text = match time {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    };
    format!("{:>20}", format!("{text} ({:.2})", time / base))
}

fn medians(texts: &[String]) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, time) in texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.split_once('\t'))
    {
        if let Ok(time) = time.parse() {
            all.entry(name.to_owned()).or_default().push(time);
        }
    }
    all.into_iter()
        .map(|(name, times)| (name, median(times)))
        .collect()
}

fn traffic(binaries: &Binaries, place: &Place, boundaries: &[Boundary]) -> Done {
    if shell::program("wrk").is_none() || shell::program("taskset").is_none() {
        println!("traffic: wrk or taskset is not installed");
        return Ok(());
    }
    let upstream = Upstream::start(binaries)?;
    let mut ways = vec![inside::direct(upstream.port)];
    for boundary in boundaries {
        ways.push(inside::within(binaries, place, upstream.port, boundary)?);
    }
    println!(
        "through the gate from inside, transparent; {} rounds, medians",
        inside::ROUNDS
    );
    inside::compare(place, &ways)
}
