//! `palisade discard`: throws pending changes away. The workspace is never touched.

use std::io::{self, Write};
use std::process::ExitCode;

use palisade_workspace::apply::Selection;
use palisade_workspace::review::Except;

use super::apply::{MOST_LISTED, outcome};
use super::pending::ask::{ask, need_terminal};
use super::pending::{Located, Session, Which, summary};
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
    /// All of a session's changes without looking at them: also where there are too many to show, or where they cannot be read.
    #[arg(long)]
    unread: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let Some(located) = args.which.locate(&here)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if args.unread {
        return unread(args, &located);
    }
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

fn unread(args: &Args, located: &Located) -> Result<ExitCode, Failure> {
    if located.names_paths() {
        let message = "`--unread` throws all of a session's changes away, and paths are named";
        return Err(Failure::new(message).hint("take the paths out, or `--unread`"));
    }
    if !args.yes {
        need_terminal()?;
        let question = format!(
            "Throw away all changes of {} without looking at them",
            located.id
        );
        let letters = [('y', "all of them are gone"), ('n', "they stay pending")];
        let said = ask(Palette::for_stdout(), &question, &letters)
            .map_err(|error| Failure::new(format!("ask: {error}")))?;
        if said != 'y' {
            return Ok(ExitCode::from(NO));
        }
    }
    located.pending.discard_all()?;
    println!("{}: all changes discarded", located.id);
    Ok(ExitCode::SUCCESS)
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
