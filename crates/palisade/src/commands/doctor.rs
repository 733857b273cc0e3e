//! `palisade doctor`: what this machine can do, and how to get what it lacks, and which secrets here git shows; with `--inside`,
//! which clients trust the gate.

mod agent;
mod clients;
mod inside;
mod workspace;

use std::net::SocketAddr;
use std::process::ExitCode;

use palisade_boundary::{Capability, CapabilityState};
use serde_json::json;

use super::policy_options::{PolicyOptions, as_typed, load};
use crate::backends;
use crate::failure::{Failure, NO};
use crate::surroundings::Surroundings;
use crate::terminal_text::Palette;

/// Say what this machine can do, and for each thing missing what would give it; and warn of masked files that git tracks here.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Run each client that is found inside a session and say which ones trust the gate when it looks into TLS.
    #[arg(long)]
    inside: bool,
    /// Be the session (used by the doctor itself).
    #[arg(long, hide = true, value_name = "ADDRESS")]
    inside_origin: Option<SocketAddr>,
    /// Be the agent of that session (used by the doctor itself).
    #[arg(long, hide = true, value_name = "HOST")]
    inside_agent: Option<String>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(host) = &args.inside_agent {
        return agent::run(host);
    }
    if let Some(origin) = args.inside_origin {
        return inside::session(&args.policy, origin);
    }
    if args.inside {
        return inside::run(&as_typed("doctor", &["--inside", "--json"]), args.json);
    }
    probe(args)
}

fn probe(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let mut usable = false;
    let mut report = Vec::new();
    // What is wrong with a policy is said below; this machine is looked at all the same.
    let policy = load(&args.policy, &here, None);
    let said = policy.map(|policy| (policy.container, policy.gvisor));
    let (container, gvisor) = said.unwrap_or_default();
    for name in backends::NAMES {
        let probe = backends::by_name(name, &here, &container, &gvisor)?.probe();
        usable |= probe.usable();
        if args.json {
            let capabilities: Vec<_> = probe.capabilities.iter().map(as_json).collect();
            report.push(
                json!({ "boundary": name, "usable": probe.usable(), "capabilities": capabilities }),
            );
        } else {
            print_probe(name, &probe);
        }
    }
    let hidden = workspace::look(&args.policy);
    if args.json {
        println!(
            "{}",
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "boundaries": report,
                "workspace": workspace::as_json(&hidden),
            })
        );
    } else {
        workspace::print(&hidden);
    }
    Ok(if usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

fn print_probe(name: &str, probe: &palisade_boundary::Probe) {
    let palette = Palette::for_stdout();
    let summary = if probe.usable() {
        palette.good("ready")
    } else {
        palette.bad("cannot run here")
    };
    println!("{} boundary: {summary}", palette.strong(name));
    for Capability { name, state } in &probe.capabilities {
        match state {
            CapabilityState::Present(detail) => println!(
                "  {} {name:<20} {}",
                palette.good("ok     "),
                palette.faint(detail)
            ),
            CapabilityState::Degraded { cause, fix } => {
                print_lack(&palette.warn("weaker "), name, cause, fix)
            }
            CapabilityState::Missing { cause, fix } => {
                print_lack(&palette.bad("missing"), name, cause, fix)
            }
        }
    }
}

fn print_lack(mark: &str, name: &str, cause: &str, fix: &str) {
    println!("  {mark} {name:<20} {cause}");
    println!("          {:<20} fix: {fix}", "");
}

fn as_json(capability: &Capability) -> serde_json::Value {
    let (state, detail, fix) = match &capability.state {
        CapabilityState::Present(detail) => ("present", detail, None),
        CapabilityState::Degraded { cause, fix } => ("degraded", cause, Some(fix)),
        CapabilityState::Missing { cause, fix } => ("missing", cause, Some(fix)),
    };
    json!({ "name": capability.name, "state": state, "detail": detail, "fix": fix })
}
