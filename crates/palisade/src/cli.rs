//! The command line: one definition that feeds the parser, the help, the man pages and the completions.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    apply, check, demo, discard, doctor, explain, log, plan, review, run, sandbox, schema, serve,
    sessions, verify, volume,
};
use crate::failure;

/// Run an AI agent inside a boundary, with one gate as its only way out.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit status: the agent's own; 125 if palisade itself failed, 126 if the command cannot be \
executed, 127 if it was not found, 128+N if signal N ended it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Serve(serve::Args),
    Plan(plan::Args),
    Check(check::Args),
    Explain(explain::Args),
    Review(review::Args),
    Apply(apply::Args),
    Discard(discard::Args),
    Log(log::Args),
    Sessions(sessions::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
    Verify(verify::Args),
    Volume(volume::Args),
    Sandbox(sandbox::Args),
    Schema(schema::Args),
}

/// Prints clap's message. Help and version are no failure; a wrong command line is palisade's own, not the agent's.
pub(crate) fn usage_exit(error: &clap::Error) -> ExitCode {
    // Nothing sensible is left to do when standard output is closed.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(failure::FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
