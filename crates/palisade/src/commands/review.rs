//! `palisade review`: what a session changed, before any of it lands.

mod json;
mod pager;
mod patch;

use std::io::{self, Write};
use std::process::ExitCode;

use palisade_workspace::review::Except;

use super::apply::conflicts;
use super::pending::{Session, Which, show, summary};
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::Palette;

/// Show what a session changed: what to look at first, a summary, and the differences.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0, also if nothing is pending; 125 if palisade failed.")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The summary alone.
    #[arg(long, conflicts_with_all = ["json", "patch"])]
    stat: bool,
    /// All of it as one JSON object (docs/review.md).
    #[arg(long, conflicts_with = "patch")]
    json: bool,
    /// A patch that `git apply` takes.
    #[arg(long)]
    patch: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let located = args.which.locate(&here)?;
    let session = match located {
        Some(located) => {
            if located.pending.interrupted() {
                eprintln!(
                    "palisade: an apply was cut short; finish it with `palisade apply {} --resume`",
                    located.id
                );
            }
            located.read(&here, Except::default())?
        }
        None => None,
    };
    let Some(session) = session else {
        if args.json {
            println!("{}", json::nothing());
        }
        return Ok(ExitCode::SUCCESS);
    };
    if args.patch {
        return patch::write(&session);
    }
    let written = if args.json {
        json::write(&mut io::stdout().lock(), &session)
    } else {
        let palette = Palette::for_stdout();
        pager::through(|out| for_people(out, palette, &session, args.stat))
    };
    finish(written)
}

/// The reader may have seen enough, as `palisade review | head` has.
fn finish(written: io::Result<()>) -> Result<ExitCode, Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(format!("write the review: {error}"))),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Summary and differences, those that are flagged first.
pub(super) fn for_people(
    out: &mut dyn Write,
    palette: Palette,
    session: &Session,
    short: bool,
) -> io::Result<()> {
    let examined = session.examine();
    summary::write(out, palette, session, &examined, usize::MAX)?;
    if short {
        return Ok(());
    }
    let shown = || examined.entries.iter().filter(|entry| entry.is_shown());
    let flagged = shown().filter(|entry| !entry.flags.is_empty());
    for entry in flagged.chain(shown().filter(|entry| entry.flags.is_empty())) {
        writeln!(out)?;
        show::difference(out, palette, session, entry)?;
    }
    conflicts::write(out, palette, session, &examined.entries)
}

pub(super) use pager::through as through_pager;
pub(super) use patch::is_folder;
