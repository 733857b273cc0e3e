//! `palisade explain`: the effective policy in plain words.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use palisade_boundary::Enforcement;
use palisade_config::Effective;
use palisade_credential::Credentials;
use palisade_session::{Plan, Request, SessionId};

use super::policy_options::{PolicyOptions, load};
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
    let id = SessionId::new(SystemTime::now(), 0);
    let plan = Plan::new(
        id.clone(),
        &Request {
            policy,
            argv: &["true".into()],
            environment: &here.environment(policy),
            home: &here.home,
            current_dir: &here.current_dir,
            user: &backends::user_of(policy, here)?,
            program: None,
            own: &here.own_folders(),
            kept: &here.kept(&id),
            credentials: &Credentials::none(),
            masks_later: backend.masks_later(),
        },
    )?;
    let palette = Palette::for_stdout();
    println!("{}", palette.strong("held here"));
    let promises = plan.promises();
    for found in backend.assess(&plan.spec).into_iter().chain(promises) {
        let words = found.enforcement.to_string();
        let words = if matches!(found.enforcement, Enforcement::Enforced(_)) {
            words
        } else {
            palette.warn(&words)
        };
        println!("  {}: {words}", found.control);
    }
    if let Some(hidden) = plan.hidden() {
        masks::print_summary(hidden);
    }
    Ok(())
}
