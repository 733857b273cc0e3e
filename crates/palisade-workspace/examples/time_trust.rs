//! How long it takes to read what this host trusts and to lay out the files that add one root to it.
//!
//! `cargo run --release -p palisade-workspace --example time_trust`
#![allow(clippy::print_stdout, reason = "a program for the person who measures")]

use std::path::Path;
use std::time::{Duration, Instant};

use palisade_protocol::TreeEntry;
use palisade_workspace::HostTrust;

/// Enough for the median to stand still.
const ROUNDS: usize = 201;
/// The outside of a certificate of usual size; its inside is read by nobody here.
const BODY: &str = "TUlJQ";

fn main() -> std::io::Result<()> {
    let root = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BODY.repeat(120)
    );
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let tree = HostTrust::read(Path::new("/"))?.tree(root.as_bytes());
        times.push(start.elapsed());
        bytes = tree.iter().map(size).sum();
    }
    times.sort_unstable();
    let median: Duration = times[ROUNDS / 2];
    println!(
        "median {median:?}, worst {:?}, {bytes} bytes",
        times[ROUNDS - 1]
    );
    Ok(())
}

fn size(entry: &TreeEntry) -> usize {
    match entry {
        TreeEntry::File { content, .. } => content.len(),
        _ => 0,
    }
}
