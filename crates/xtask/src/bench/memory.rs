//! What an idle session costs: processes beside the agent, and their memory.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::place::{Binaries, Place, places};
use super::start::POLICY;
use crate::shell::Done;

/// Long enough for a session to come to rest.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures as each user.
pub(super) fn run(binaries: &Binaries) -> Done {
    for place in places(binaries)? {
        let policy = place.write("policy.toml", POLICY)?;
        let mut session = place
            .command(binaries.path("palisade"))
            .args(["run", "--quiet", "--policy"])
            .arg(policy)
            .args(["--", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("start palisade: {error}"))?;
        std::thread::sleep(SETTLE);
        let measured = measure(&place, &session);
        end(&mut session);
        measured?;
    }
    Ok(())
}

fn measure(place: &Place, session: &Child) -> Done {
    let tree = with_descendants(session.id());
    let (agent, own): (Vec<u32>, Vec<u32>) = tree.into_iter().partition(|id| name(*id) == "sleep");
    println!("memory, as {}: a session that idles", place.user);
    if agent.is_empty() {
        return Err("the agent does not run".into());
    }
    let (mut total_pss, mut total_rss) = (0, 0);
    for id in &own {
        let (pss, rss) = memory(*id).ok_or_else(|| format!("read the memory of process {id}"))?;
        total_pss += pss;
        total_rss += rss;
        println!("  {:<18} PSS {pss:>6} KiB  RSS {rss:>6} KiB", name(*id));
    }
    let count = own.len();
    println!(
        "  together           PSS {total_pss:>6} KiB  RSS {total_rss:>6} KiB  {count} processes beside the agent"
    );
    Ok(())
}

/// Through its signal, so that palisade ends the session in order.
fn end(session: &mut Child) {
    let id = session.id().to_string();
    std::process::Command::new("/bin/kill")
        .args(["-TERM", &id])
        .status()
        .ok();
    session.wait().ok();
}

/// The process and everything below it.
fn with_descendants(id: u32) -> Vec<u32> {
    let mut found = vec![id];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        at += 1;
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    found
}

fn name(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// Proportional and resident memory in KiB.
fn memory(id: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("Pss:")?, field("Rss:")?))
}
