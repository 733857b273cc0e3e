//! One file a command.

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod discard;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod log;
mod pending;
pub(crate) mod plan;
mod policy_options;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod verify;
pub(crate) mod volume;

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if prints_and_ends(&cli.command) {
        // As other programs do: one whose reader has gone ends without a word (`palisade explain | head`).
        palisade_session::default_signals();
    }
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Discard(args) => discard::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Sessions(args) => sessions::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Volume(args) => volume::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Schema(args) => schema::run(&args),
    }
}

/// Whether a command prints what it has to say and does nothing that must not be cut short.
fn prints_and_ends(command: &Command) -> bool {
    matches!(
        command,
        Command::Check(_)
            | Command::Explain(_)
            | Command::Plan(_)
            | Command::Sessions(_)
            | Command::Schema(_)
    )
}
