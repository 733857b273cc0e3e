//! `palisade log`: what a session asked of the world, and what became of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use palisade_session::{SessionId, StateDir};
use serde_json::Value;

use crate::failure::{Failure, NO};
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// How often `--follow` looks for new lines. Fast enough to feel live, slow enough to cost nothing.
const FOLLOW: Duration = Duration::from_millis(100);

/// Show what a session asked for and what was decided.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<LogCommand>,
    /// The session: its name or a part of it [default: the newest].
    session: Option<String>,
    /// Only what was refused.
    #[arg(long)]
    denied: bool,
    /// The log's own lines, one JSON object each.
    #[arg(long)]
    json: bool,
    /// Wait for new lines until the session ends.
    #[arg(long, short)]
    follow: bool,
}

#[derive(Debug, clap::Subcommand)]
enum LogCommand {
    /// Check that no line was changed, removed, added or moved.
    Verify {
        /// The session: its name or a part of it [default: the newest].
        session: Option<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let state = Surroundings::read()?.state;
    if let Some(LogCommand::Verify { session }) = &args.command {
        return verify(&state, &find_session(&state, session.as_deref())?);
    }
    let id = find_session(&state, args.session.as_deref())?;
    match show(&state, &id, args) {
        // The reader has seen enough, as `palisade log | head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(format!("read the log of {id}: {error}"))),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// The session a person means: none for the newest, a name, or a part of one that fits a single session.
pub(crate) fn find_session(state: &StateDir, wanted: Option<&str>) -> Result<SessionId, Failure> {
    let sessions = state.sessions()?;
    let fits: Vec<_> = sessions
        .iter()
        .filter(|s| wanted.is_none_or(|part| s.id.contains(part)))
        .collect();
    let exact = fits.iter().find(|s| Some(s.id.as_str()) == wanted);
    let found = match (wanted, exact, fits.as_slice()) {
        (_, Some(exact), _) => exact,
        (None, _, [.., newest]) => newest,
        (Some(_), None, [only]) => only,
        (None, _, []) => {
            return Err(
                Failure::new("there is no session yet").hint("start one with `palisade run`")
            );
        }
        (Some(part), None, []) => {
            let hint = "`palisade sessions` lists them";
            return Err(
                Failure::new(format!("no session is named `{}`", harmless(part))).hint(hint),
            );
        }
        (Some(part), None, several) => {
            let names: Vec<_> = several.iter().take(5).map(|s| s.id.as_str()).collect();
            let message = format!(
                "`{}` fits {} sessions: {}",
                harmless(part),
                several.len(),
                names.join(", ")
            );
            return Err(Failure::new(message).hint("write more of the name"));
        }
    };
    SessionId::parse(&found.id)
        .ok_or_else(|| Failure::new("the session's record holds an impossible name"))
}

fn verify(state: &StateDir, id: &SessionId) -> Result<ExitCode, Failure> {
    let file = File::open(state.log(id))
        .map_err(|error| Failure::new(format!("open the log of {id}: {error}")))?;
    let running = state.running(id);
    let found = match palisade_audit::verify(id.as_str(), BufReader::new(file)) {
        Ok(found) => found,
        Err(error) => {
            println!("{id}: BROKEN: {error}");
            return Ok(ExitCode::from(NO));
        }
    };
    let (lines, head) = (found.lines, found.head.to_string());
    let record = state.record(id)?;
    match record.ended {
        Some(ended) if ended.lines != lines || ended.head != head => {
            println!(
                "{id}: BROKEN: the session ended with {} lines and head {}, the log has {lines} and {head}",
                ended.lines, ended.head
            );
            Ok(ExitCode::from(NO))
        }
        Some(_) => {
            println!("{id}: whole, {lines} lines, head {head}");
            Ok(ExitCode::SUCCESS)
        }
        None if running => {
            println!("{id}: whole so far, {lines} lines, the session is running");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!(
                "{id}: whole as far as it goes ({lines} lines), but the session never wrote its end: it was killed, or the tail was cut"
            );
            Ok(ExitCode::from(NO))
        }
    }
}

fn show(state: &StateDir, id: &SessionId, args: &Args) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(state.log(id))?);
    let palette = Palette::for_stdout();
    let mut out = io::stdout().lock();
    let mut line = String::new();
    loop {
        // Asked before reading: a line written just before the session ended must still be shown.
        let running = args.follow && state.running(id);
        while reader.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                // Half a line: the rest comes with the next read.
                break;
            }
            show_line(&mut out, line.trim_end(), args, palette)?;
            line.clear();
        }
        out.flush()?;
        if !running {
            return Ok(());
        }
        sleep(FOLLOW);
    }
}

fn show_line(out: &mut impl Write, line: &str, args: &Args, palette: Palette) -> io::Result<()> {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return writeln!(
            out,
            "{}",
            palette.bad(&format!("not an audit line: {}", harmless(line)))
        );
    };
    let text = |name: &str| harmless(value.get(name).and_then(Value::as_str).unwrap_or_default());
    if args.denied && text("decision") != "deny" {
        return Ok(());
    }
    if args.json {
        return writeln!(out, "{line}");
    }
    let time = text("time").get(11..23).unwrap_or_default().to_owned();
    let number = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or_default();
    match text("type").as_str() {
        "start" => {
            let what = format!("{} in a {} boundary", text("command"), text("boundary"));
            writeln!(out, "{} {}", palette.faint(&time), palette.strong(&what))
        }
        "frozen" => {
            let what = format!("frozen by {}: {}", text("by"), text("reason"));
            writeln!(out, "{} {}", palette.faint(&time), palette.bad(&what))
        }
        "end" => {
            let what = format!(
                "ended with {}: {} allowed, {} denied",
                number("status"),
                number("allowed"),
                number("denied")
            );
            writeln!(out, "{} {}", palette.faint(&time), palette.strong(&what))
        }
        _ => writeln!(
            out,
            "{} {}",
            palette.faint(&time),
            request_line(&value, &text, &number, palette)
        ),
    }
}

fn request_line(
    value: &Value,
    text: &dyn Fn(&str) -> String,
    number: &dyn Fn(&str) -> i64,
    palette: Palette,
) -> String {
    let denied = text("decision") == "deny";
    let decision = if denied {
        palette.bad("DENY ")
    } else {
        palette.good("allow")
    };
    let request = format!("{} {}", text("method"), text("path"));
    let status = value
        .get("status")
        .and_then(Value::as_u64)
        .map(|status| format!(" -> {status}"))
        .unwrap_or_default();
    let destination = match (text("entry").as_str(), number("port")) {
        ("dns", _) | (_, 0) => text("host"),
        (_, port) => format!("{}:{port}", text("host")),
    };
    let why = if denied { text("reason") } else { text("rule") };
    let traffic = format!(
        "{} up, {} down, {} ms",
        number("bytes_up"),
        number("bytes_down"),
        number("duration_us") / 1000
    );
    let error = Some(text("error"))
        .filter(|e| !e.is_empty())
        .map(|e| palette.warn(&format!(" [{e}]")))
        .unwrap_or_default();
    let request = request.trim();
    let gap = if request.is_empty() { "" } else { " " };
    format!(
        "{decision} {:<11} {destination}{gap}{request}{status}  {}{error}",
        text("entry"),
        palette.faint(&format!("{why}  ({traffic})"))
    )
}
