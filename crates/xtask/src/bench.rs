//! `cargo xtask bench`: palisade beside its peers, in one run, as ratios.
//!
//! Absolute times depend on the machine and on what else it does; a ratio of interleaved runs does so much less.

mod gate;
mod inside;
mod memory;
mod place;
mod start;
mod statistics;
mod tree;

use crate::shell::Done;

/// Runs the named parts, or all.
pub(crate) fn run(which: &[&str]) -> Done {
    const PARTS: [&str; 4] = ["start", "memory", "inside", "gate"];
    if let Some(unknown) = which.iter().find(|name| !PARTS.contains(name)) {
        return Err(format!(
            "there is no bench called {unknown}; there are {}",
            PARTS.join(", ")
        ));
    }
    let wanted = |name: &str| which.is_empty() || which.contains(&name);
    if ["start", "memory", "inside"].into_iter().any(wanted) {
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
    }
    if wanted("gate") {
        gate::run()?;
    }
    Ok(())
}
