//! `palisade discard`: throws pending changes away. The workspace is never touched.

use std::io::{self, Write};
use std::process::ExitCode;

use palisade_workspace::apply::Selection;
use palisade_workspace::review::Except;

use super::apply::{MOST_LISTED, outcome};
use super::pending::ask::{ask, need_terminal};
use super::pending::{Session, Which, summary};
use crate::failure::{Failure, NO};
use crate::surroundings::Surroundings;
use crate::terminal_text::Palette;

/// Throw away what a session changed; your files stay as they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all of it is gone, or nothing was pending; 1 something is left, or you said \
no; 125 palisade failed."
)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let Some(located) = args.which.locate(&here)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let Some(session) = located.read(&here, Except::default())? else {
        return Ok(ExitCode::SUCCESS);
    };
    if !args.yes {
        need_terminal()?;
        let said = asked(&session).map_err(|error| Failure::new(format!("ask: {error}")))?;
        if !said {
            return Ok(ExitCode::from(NO));
        }
    }
    let selection = match session.paths.as_slice() {
        [] => Selection::all(),
        paths => Selection::paths(paths),
    };
    let discarded = session.pending.discard(&session.set, &selection)?;
    outcome::report(&session.id, &discarded, "discarded", &[])
}

fn asked(session: &Session) -> io::Result<bool> {
    let palette = Palette::for_stdout();
    let examined = session.examine();
    let mut out = io::stdout().lock();
    summary::write(&mut out, palette, session, &examined, MOST_LISTED)?;
    writeln!(out)?;
    drop(out);
    let letters = [('y', "all of them are gone"), ('n', "they stay pending")];
    Ok(ask(palette, "Throw these changes away", &letters)? == 'y')
}
