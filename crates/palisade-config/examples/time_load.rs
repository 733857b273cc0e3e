//! Measures what a policy costs at every start: `cargo run --release -p palisade-config --example time_load`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use palisade_config::{Options, Surroundings, explain, load};
use palisade_workspace::{AgentAccount, Kept};

const RUNS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let home = scratch.path().canonicalize()?.join("home");
    for folder in [
        "project",
        ".config",
        ".claude/projects",
        ".local/bin",
        ".nvm/versions",
    ] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    let around = Surroundings {
        home: home.clone(),
        current_dir: home.join("project"),
        config_dir: home.join(".config"),
        backends: &["native"],
    };
    let claude = Options {
        program: Some("claude".into()),
        ..Options::default()
    };
    let mut out = std::io::stdout().lock();
    let policy = load(&claude, &around)?;
    let account = AgentAccount::new("ada", 1000, 1000, &home, "box");
    let kept = Kept {
        changes: home.join("changes"),
        volumes: home.join("volumes"),
        masks: home.join("masks"),
    };
    let tree = policy.tree(Path::new("/"), &account, &kept)?;
    let median = |mut work: Box<dyn FnMut() + '_>| -> Duration {
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[RUNS / 2]
    };
    let loaded = median(Box::new(|| drop(load(&claude, &around))));
    let planned = median(Box::new(|| {
        drop(policy.tree(Path::new("/"), &account, &kept))
    }));
    let explained = median(Box::new(|| drop(explain(&policy).to_string())));
    writeln!(
        out,
        "load claude-code {loaded:?}, plan the tree {planned:?} ({} entries), explain {explained:?}",
        tree.len()
    )?;

    let mut many = String::from("version = 1\n");
    for at in 0..10_000 {
        writeln!(
            many,
            "[[network.allow]]\nhost = \"h{at}.example.com\"\nports = [443]"
        )?;
    }
    std::fs::write(home.join("project/many.toml"), many)?;
    let options = Options {
        policy: Some("many.toml".into()),
        ..Options::default()
    };
    let start = Instant::now();
    drop(load(&options, &around)?);
    writeln!(out, "load 10,000 rules {:?}", start.elapsed())?;
    Ok(())
}
