//! `palisade explain`: the effective policy in plain words.

use std::ffi::OsString;
use std::process::ExitCode;

use super::policy_options::{PolicyOptions, load};
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// Say in plain words what a session may do, and where each rule was written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    policy: PolicyOptions,
    /// The command it would be for: a known agent brings its own profile.
    #[arg(value_name = "COMMAND")]
    command: Option<OsString>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let policy = load(&args.policy, &here, args.command.as_deref())?;
    let palette = Palette::for_stdout();
    for section in palisade_config::explain(&policy).sections {
        println!("{}", palette.strong(section.title));
        for line in &section.lines {
            println!("  {}", harmless(line));
        }
    }
    for note in &policy.notes {
        println!("{} {}", palette.warn("note:"), harmless(note));
    }
    Ok(ExitCode::SUCCESS)
}
