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
        /// How many of the newest to keep. Sessions that run are kept as well.
        #[arg(long, value_name = "NUMBER")]
        keep: usize,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let state = Surroundings::read()?.state;
    if let Some(SessionsCommand::Prune { keep }) = args.command {
        return prune(&state, keep);
    }
    let mut out = io::stdout().lock();
    let palette = Palette::for_stdout();
    for record in state.sessions()? {
        let running = record.ended.is_none()
            && SessionId::parse(&record.id).is_some_and(|id| state.running(&id));
        if args.running && !running {
            continue;
        }
        let line = if args.json {
            json_line(&record, running)
        } else {
            text_line(&record, running, palette)
        };
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(state: &StateDir, keep: usize) -> Result<ExitCode, Failure> {
    let sessions = state.sessions()?;
    let old = &sessions[..sessions.len().saturating_sub(keep)];
    let ended = old
        .iter()
        .filter_map(|record| SessionId::parse(&record.id))
        .filter(|id| !state.running(id));
    let mut removed = 0;
    for id in ended {
        state.remove(&id)?;
        removed += 1;
    }
    println!("removed {removed}, kept {}", sessions.len() - removed);
    Ok(ExitCode::SUCCESS)
}

fn json_line(record: &SessionRecord, running: bool) -> String {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    value["running"] = running.into();
    value.to_string()
}

fn text_line(record: &SessionRecord, running: bool, palette: Palette) -> String {
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
    format!(
        "{}  {outcome}  {what}  {}",
        record.id,
        palette.faint(&counts)
    )
}
