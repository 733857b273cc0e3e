//! `palisade explain`: the effective policy in plain words.

use std::ffi::OsString;
use std::process::ExitCode;

use palisade_config::Effective;
use palisade_credential::Credentials;

use super::plan::print_held;
use super::policy_options::{PolicyOptions, load};
use super::run::planned;
use crate::backends;
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

pub(super) mod masks;

/// Say in plain words what a session may do, and where each rule was written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command it would be for: a known agent brings its own profile.
    #[arg(value_name = "COMMAND")]
    command: Option<OsString>,
    /// List every path that is hidden or protected here, and by which rule.
    #[arg(long)]
    masks: bool,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let policy = load(&args.policy, &here, args.command.as_deref())?;
    let palette = Palette::for_stdout();
    if args.masks {
        masks::print(&policy, &here)?;
        return Ok(ExitCode::SUCCESS);
    }
    for section in palisade_config::explain(&policy).sections {
        println!("{}", palette.strong(section.title));
        for line in &section.lines {
            println!("  {}", harmless(line));
        }
    }
    print_enforcement(&policy, &here)?;
    for note in &policy.notes {
        println!("{} {}", palette.warn("note:"), harmless(note));
    }
    Ok(ExitCode::SUCCESS)
}

/// How well each control would be held on this machine.
fn print_enforcement(policy: &Effective, here: &Surroundings) -> Result<(), Failure> {
    let backend = backends::of_policy(policy, here)?;
    // Whatever the command is, it is held by the same.
    let mut plan = planned(policy, here, &["true".into()], &Credentials::none())?;
    plan.confirm_masks()?;
    print_held(&plan.held(&*backend));
    if let Some(hidden) = plan.hidden() {
        masks::print_summary(hidden);
    }
    Ok(())
}
