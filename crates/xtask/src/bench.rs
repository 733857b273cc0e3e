//! `cargo xtask bench`: palisade beside its peers, in one run, as ratios.
//!
//! Absolute times depend on the machine and on what else it does; a ratio of interleaved runs does so much less.

mod boundaries;
mod gate;
mod inside;
mod memory;
mod place;
mod start;
mod statistics;
mod tree;
mod workspace;

use crate::shell::Done;

/// Runs the named parts, or all.
pub(crate) fn run(which: &[&str]) -> Done {
    let of_gate = || gate::PARTS.iter().map(|(name, _)| format!("gate.{name}"));
    let known: Vec<String> = [
        "start",
        "memory",
        "inside",
        "boundaries",
        "workspace",
        "gate",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(of_gate())
    .collect();
    if let Some(unknown) = which.iter().find(|name| !known.iter().any(|k| k == *name)) {
        return Err(format!(
            "there is no bench called {unknown}; there are {}",
            known.join(", ")
        ));
    }
    let wanted = |name: &str| which.is_empty() || which.contains(&name);
    let part = |name: &str| wanted("gate") || wanted(&format!("gate.{name}"));
    if ["start", "memory", "inside", "boundaries", "workspace"]
        .into_iter()
        .any(wanted)
    {
        let binaries = place::build()?;
        if wanted("start") {
            start::run(&binaries)?;
        }
        if wanted("memory") {
            memory::run(&binaries)?;
        }
        if wanted("inside") {
            inside::run(&binaries)?;
        }
        if wanted("boundaries") {
            boundaries::run(&binaries)?;
        }
        if wanted("workspace") {
            workspace::run(&binaries)?;
        }
    }
    if gate::PARTS.iter().any(|(name, _)| part(name)) {
        gate::run(part)?;
    }
    Ok(())
}
