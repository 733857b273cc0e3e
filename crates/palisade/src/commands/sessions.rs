//! `palisade sessions`: what ran, and how it ended.

use std::io::{self, Write};
use std::process::ExitCode;

use palisade_session::{SessionId, SessionRecord, StateDir};

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// List sessions, the newest last.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    /// One JSON object a session.
    #[arg(long)]
    json: bool,
    /// Only the ones that run now.
    #[arg(long)]
    running: bool,
}

#[derive(Debug, clap::Subcommand)]
enum SessionsCommand {
    /// Remove the records and logs of old sessions.
    Prune {
        /// How many of the newest to keep. Sessions that run, or have changes that are not decided, are kept as well.
        #[arg(long, value_name = "NUMBER")]
        keep: usize,
        /// Remove sessions with pending changes too: what they changed is lost.
        #[arg(long)]
        discard_changes: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let state = Surroundings::read()?.state;
    if let Some(SessionsCommand::Prune {
        keep,
        discard_changes,
    }) = args.command
    {
        return prune(&state, keep, discard_changes);
    }
    let mut out = io::stdout().lock();
    let palette = Palette::for_stdout();
    for record in state.sessions()? {
        let running = record.ended.is_none()
            && SessionId::parse(&record.id).is_some_and(|id| state.running(&id));
        if args.running && !running {
            continue;
        }
        let pending = !running && state.has_pending(&record);
        let line = if args.json {
            json_line(&record, running, pending)
        } else {
            text_line(&record, running, pending, palette)
        };
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(state: &StateDir, keep: usize, discard_changes: bool) -> Result<ExitCode, Failure> {
    let sessions = state.sessions()?;
    let old = &sessions[..sessions.len().saturating_sub(keep)];
    let ended = old
        .iter()
        .filter_map(|record| SessionId::parse(&record.id))
        .filter(|id| !state.running(id));
    let (mut removed, mut undecided) = (0, 0);
    for id in ended {
        if !discard_changes && state.record(&id).is_ok_and(|r| state.has_pending(&r)) {
            undecided += 1;
            continue;
        }
        state.remove(&id)?;
        removed += 1;
    }
    println!("removed {removed}, kept {}", sessions.len() - removed);
    if undecided > 0 {
        println!(
            "{undecided} of them for their pending changes: see `palisade review SESSION`, or remove them with --discard-changes"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn json_line(record: &SessionRecord, running: bool, pending: bool) -> String {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    value["running"] = running.into();
    value["pending_changes"] = pending.into();
    value.to_string()
}

fn text_line(record: &SessionRecord, running: bool, pending: bool, palette: Palette) -> String {
    let outcome = match &record.ended {
        Some(ended) => format!("exit {:<3}", ended.status),
        None if running => palette.good("running "),
        None => palette.warn("killed  "),
    };
    let counts = record
        .ended
        .as_ref()
        .map(|e| format!("{} allowed, {} denied", e.allowed, e.denied))
        .unwrap_or_default();
    let what = format!(
        "{} in {}",
        harmless(&record.command),
        harmless(&record.workspace.to_string_lossy())
    );
    let pending = match (pending, &record.continued_by) {
        (true, _) => palette.warn("  changes pending"),
        (false, Some(by)) => palette.faint(&format!("  changes went on to {}", harmless(by))),
        (false, None) => String::new(),
    };
    format!(
        "{}  {outcome}  {what}  {}{pending}",
        record.id,
        palette.faint(&counts)
    )
}
