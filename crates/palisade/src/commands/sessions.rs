//! `palisade sessions`: what ran, and how it ended.

use std::io::{self, Write};
use std::process::ExitCode;

use palisade_session::{SessionId, SessionRecord};

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// List sessions, the newest last.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object a session.
    #[arg(long)]
    json: bool,
    /// Only the ones that run now.
    #[arg(long)]
    running: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let state = Surroundings::read()?.state;
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
