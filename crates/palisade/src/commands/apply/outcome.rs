//! What was done and what is left, and the exit status that says the same.

use std::path::PathBuf;
use std::process::ExitCode;

use palisade_session::SessionId;
use palisade_workspace::apply::Applied;
use palisade_workspace::changes::Refused;

use crate::failure::{Failure, NO};
use crate::terminal_text::{harmless, harmless_path};

/// Paths that are named; more are counted.
const MOST_NAMED: usize = 20;

/// Says what was done, such as `applied`, and what is left: of what was tried, and what cannot be chosen at all.
pub(in crate::commands) fn report(
    id: &SessionId,
    applied: &Applied,
    done: &str,
    refused: &[&Refused],
) -> Result<ExitCode, Failure> {
    println!("{done} {}", changes(&applied.done));
    for left in applied.left.iter().take(MOST_NAMED) {
        let reason = harmless(&left.reason.to_string());
        println!("left: {}: {reason}", harmless_path(&left.path));
    }
    for refused in refused.iter().take(MOST_NAMED) {
        let reason = harmless(&refused.reason.to_string());
        println!("left: {} {reason}", harmless_path(&refused.path));
    }
    let named = applied.left.len().min(MOST_NAMED) + refused.len().min(MOST_NAMED);
    let all = applied.left.len() + refused.len();
    if all > named {
        println!("and {} more are left", all - named);
    }
    match &applied.stopped {
        Some(error) => {
            Err(Failure::new(format!("it ended early: {error}")).hint(how_to_finish(id)))
        }
        None => Ok(code(applied.left.len(), refused.len())),
    }
}

/// What to do about an apply that was cut short.
pub(super) fn how_to_finish(id: &SessionId) -> String {
    format!("`palisade apply {id} --resume` finishes it, `--give-up` leaves the rest pending")
}

/// 1 if anything that was asked for is left.
pub(super) fn code(left: usize, refused: usize) -> ExitCode {
    if left + refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    }
}

/// A folder that came or went with what is in it is no change of its own to people.
fn changes(done: &[PathBuf]) -> String {
    let holds = |pair: &[PathBuf]| pair[1].starts_with(&pair[0]);
    match done.len() - done.windows(2).filter(|pair| holds(pair)).count() {
        1 => "1 change".into(),
        count => format!("{count} changes"),
    }
}
