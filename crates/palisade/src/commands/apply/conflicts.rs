//! A conflict with its three sides: what both started from, what the host has now, what the session made.

use std::io::{self, Write};

use palisade_workspace::changes::Conflict;

use crate::commands::pending::git::Repository;
use crate::commands::pending::{Body, Entry, Session, show};
use crate::terminal_text::{Palette, harmless_path};

/// Conflicts shown before the question; `palisade review` shows them all.
const MOST_SHOWN: usize = 5;

/// Writes the conflicts among these changes.
pub(in crate::commands) fn write(
    out: &mut dyn Write,
    palette: Palette,
    session: &Session,
    entries: &[Entry<'_>],
) -> io::Result<()> {
    let conflicts: Vec<_> = entries
        .iter()
        .filter_map(|e| Some((e, e.change.conflict?)))
        .collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    // No repository, no base: said with each.
    let repository = Repository::of(&session.record.workspace).ok();
    for (entry, conflict) in conflicts.iter().take(MOST_SHOWN) {
        writeln!(out)?;
        three_sides(out, palette, session, entry, *conflict, repository.as_ref())?;
    }
    if let Some(more @ 1..) = conflicts.len().checked_sub(MOST_SHOWN) {
        writeln!(out, "\nand {more} more conflicts")?;
    }
    Ok(())
}

fn three_sides(
    out: &mut dyn Write,
    palette: Palette,
    session: &Session,
    entry: &Entry<'_>,
    conflict: Conflict,
    repository: Option<&Repository>,
) -> io::Result<()> {
    let path = palette.strong(&harmless_path(&entry.change.path));
    writeln!(
        out,
        "{path}  {}",
        palette.bad(&format!("conflict: {conflict}"))
    )?;
    let (host, made) = (session.before(entry.change), session.after(entry.change));
    let Some((place, base)) = repository.and_then(|r| r.kept(&entry.change.path)) else {
        let said =
            "how it was when the session began was not kept; from the host's now to the session's:";
        writeln!(out, "{}", palette.faint(said))?;
        return show::bodies(out, palette, &host, &made);
    };
    let base = Body::Bytes(base);
    for (whose, side) in [("the host's now", &host), ("the session's", &made)] {
        writeln!(
            out,
            "{}",
            palette.faint(&format!("from {place} to {whose}:"))
        )?;
        show::bodies(out, palette, &base, side)?;
    }
    Ok(())
}
