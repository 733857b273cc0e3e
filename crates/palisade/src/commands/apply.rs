//! `palisade apply`: lets pending changes land in the workspace, or in a commit on a new branch.

mod branch;
pub(super) mod conflicts;
pub(super) mod outcome;
mod picker;

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use palisade_workspace::apply::{Allow, LeavingLinks, Selection};
use palisade_workspace::review::Except;

use super::pending::ask::{ask, need_terminal};
use super::pending::{Examined, Located, Session, Which, summary};
use super::review::{for_people, through_pager};
use crate::failure::{Failure, NO};
use crate::surroundings::Surroundings;
use crate::terminal_text::Palette;
use picker::Picked;

/// Lines of each part of the summary before the question: all of them are seen without going back.
pub(super) const MOST_LISTED: usize = 20;

/// Let a session's changes land in your files, or in a commit on a new branch.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all that was asked for has landed, or nothing was pending; 1 something is left \
(a conflict, a refusal, or you said no); 125 palisade failed."
)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Leave out what fits; without a slash a name at any depth, `**` crosses folders. May be given again.
    #[arg(long, value_name = "GLOB")]
    except: Vec<String>,
    /// Do not ask. Conflicts, and links that lead out of the workspace, are left.
    #[arg(long, short, conflicts_with = "pick")]
    yes: bool,
    /// Overwrite what changed on the host meanwhile, keep set-user-ID bits and the like, make links that lead out.
    #[arg(long)]
    force: bool,
    /// Choose file by file and hunk by hunk.
    #[arg(long, short, visible_alias = "patch", conflicts_with = "branch")]
    pick: bool,
    /// Finish what an earlier apply began and could not end.
    #[arg(long, conflicts_with_all = ["except", "force", "pick", "branch"])]
    resume: bool,
    /// End what an earlier apply began where it came to; the rest stays pending.
    #[arg(long, conflicts_with_all = ["resume", "except", "force", "pick", "branch"])]
    give_up: bool,
    /// Make a commit on this new branch of your git repository; files and index stay as they are.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The message of that commit.
    #[arg(long, short, value_name = "TEXT", requires = "branch")]
    message: Option<String>,
}

/// What the person decided.
enum Decision {
    All,
    Some(Picked),
    Nothing,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let except = Except::parse(&args.except).map_err(|error| {
        Failure::from(error).hint("write it as in a .gitignore, such as --except '*.lock'")
    })?;
    let Some(located) = args.which.locate(&here)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if args.resume || args.give_up {
        return end_interrupted(args, &located);
    }
    if located.pending.interrupted() {
        let message = format!("an apply of session {} was cut short", located.id);
        return Err(Failure::new(message).hint(outcome::how_to_finish(&located.id)));
    }
    let Some(session) = located.read(&here, except)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if !args.yes {
        need_terminal()?;
    }
    let palette = Palette::for_stdout();
    let examined = session.examine();
    let shown = show(palette, &session, &examined);
    shown.map_err(|error| Failure::new(format!("write the summary: {error}")))?;
    let decision = decide(args, palette, &session, &examined);
    match decision.map_err(|error| Failure::new(format!("ask: {error}")))? {
        Decision::Nothing => Ok(ExitCode::from(NO)),
        Decision::Some(picked) => land(args, &session, &picked),
        Decision::All => match &args.branch {
            Some(name) => on_branch(args, &session, name),
            None => land(args, &session, &everything(&session)),
        },
    }
}

/// Finishes, or gives up, what was cut short.
fn end_interrupted(args: &Args, located: &Located) -> Result<ExitCode, Failure> {
    if !located.pending.interrupted() {
        println!("no apply of session {} was cut short", located.id);
        return Ok(ExitCode::SUCCESS);
    }
    let ended = match args.give_up {
        true => located.pending.give_up(),
        false => located.pending.resume(),
    };
    outcome::report(&located.id, &ended?, "applied", &[])
}

fn show(palette: Palette, session: &Session, examined: &Examined<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = summary::write(&mut out, palette, session, examined, MOST_LISTED)
        .and_then(|()| conflicts::write(&mut out, palette, session, &examined.entries))
        .and_then(|()| writeln!(out));
    match written {
        // Whoever closed the output asked for it to be done, not to be told.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn decide(
    args: &Args,
    palette: Palette,
    session: &Session,
    examined: &Examined<'_>,
) -> io::Result<Decision> {
    let pick = || picker::pick(session, &examined.entries, palette);
    if args.yes {
        return Ok(Decision::All);
    }
    if args.pick {
        return pick().map(Decision::Some);
    }
    let question = match &args.branch {
        Some(_) => "Commit these changes",
        None => "Apply these changes",
    };
    let letters = [
        ('y', "all of them, but for conflicts and what is refused"),
        ('n', "none; they stay pending"),
        ('v', "view the differences"),
        ('p', "choose file by file, hunk by hunk"),
    ];
    let letters = &letters[..letters.len() - usize::from(args.branch.is_some())];
    loop {
        match ask(palette, question, letters)? {
            'y' => return Ok(Decision::All),
            'v' => match through_pager(|out| for_people(out, palette, session, false)) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            },
            'p' => return pick().map(Decision::Some),
            _ => return Ok(Decision::Nothing),
        }
    }
}

/// All that the command line means, with the new folders it lies in.
fn everything(session: &Session) -> Picked {
    let changes = session.set.changes().iter();
    let meant = changes.filter(|change| session.means(&change.path));
    let mut picked = Picked {
        paths: meant.map(|change| change.path.clone()).collect(),
        ..Picked::default()
    };
    picked.add_folders(session);
    picked
}

fn land(args: &Args, session: &Session, picked: &Picked) -> Result<ExitCode, Failure> {
    if picked.paths.is_empty() {
        println!("nothing was applied");
        return Ok(outcome::code(0, summary::refused_of(session).len()));
    }
    let chosen: HashSet<&Path> = picked.paths.iter().map(PathBuf::as_path).collect();
    let mut selection = Selection::all();
    if chosen.len() < session.set.changes().len() {
        selection = selection.except(|path| !chosen.contains(path));
    }
    for (path, contents) in &picked.contents {
        selection = selection.with_contents(path, contents.clone());
    }
    let allow = Allow {
        conflicts: args.force,
        special_bits: args.force,
        leaving_links: if args.force {
            LeavingLinks::All
        } else {
            LeavingLinks::Named(named_links(session))
        },
    };
    let applied = session.pending.apply(&session.set, &selection, &allow)?;
    let refused = summary::refused_of(session);
    outcome::report(&session.id, &applied, "applied", &refused)
}

/// Paths of the command line that are links themselves: naming one is a yes of its own.
fn named_links(session: &Session) -> BTreeSet<PathBuf> {
    session.paths.iter().cloned().collect()
}

fn on_branch(args: &Args, session: &Session, name: &str) -> Result<ExitCode, Failure> {
    let message = args
        .message
        .clone()
        .unwrap_or_else(|| format!("Changes of palisade session {}", session.id));
    let committed = branch::commit(session, name, &message, args.force)?;
    let files = match committed.files {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    println!(
        "{files} committed as {} on the new branch {name}",
        committed.id
    );
    for (count, why) in &committed.left_out {
        println!("left out: {count} {why}");
    }
    println!(
        "they are pending still; `palisade discard {}` throws them away",
        session.id
    );
    Ok(outcome::code(
        committed.left_out.len(),
        summary::refused_of(session).len(),
    ))
}
