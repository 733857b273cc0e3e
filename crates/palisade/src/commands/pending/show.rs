//! The difference of one change, for people.

use std::io::{self, Write};

use palisade_workspace::changes::{Change, ChangeKind, Side, SideKind};
use palisade_workspace::review::{Form, Hunk, LineKind, TextDiff, hunk_header};

use super::summary::size;
use super::{Body, Entry, Session};
use crate::terminal_text::{Palette, harmless, harmless_line, harmless_path};

/// Writes what a change is, and its lines where it has some.
pub(crate) fn difference(
    out: &mut dyn Write,
    palette: Palette,
    session: &Session,
    entry: &Entry<'_>,
) -> io::Result<()> {
    heading(out, palette, entry)?;
    let change = entry.change;
    if entry.renamed_from.is_some() || is_link(&change.before) || is_link(&change.after) {
        // Its heading says it all.
        return Ok(());
    }
    let (before, after) = (session.before(change), session.after(change));
    bodies(out, palette, &before, &after)
}

/// The change in a line, and its flags.
pub(crate) fn heading(out: &mut dyn Write, palette: Palette, entry: &Entry<'_>) -> io::Result<()> {
    let change = entry.change;
    let mut what = match entry.renamed_from {
        Some(old) => format!("renamed from {}", harmless_path(&old.path)),
        None => said(change),
    };
    if let (Some(old), Some(new)) = (&change.before, &change.after)
        && old.mode != new.mode
        && change.kind != ChangeKind::Type
    {
        what += &format!(", mode {:04o} -> {:04o}", old.mode, new.mode);
    }
    let path = palette.strong(&harmless_path(&change.path));
    writeln!(out, "{path}  {}", palette.faint(&what))?;
    for flagged in &entry.flags {
        let seen = format!("! {}", harmless(&flagged.seen));
        writeln!(out, "{}", palette.warn(&seen))?;
    }
    if let Some(conflict) = change.conflict {
        writeln!(out, "{}", palette.bad(&format!("! conflict: {conflict}")))?;
    }
    Ok(())
}

/// `changed file`, `new link to ../x`, `folder became file`.
fn said(change: &Change) -> String {
    let name = |side: &Option<Side>| match side.as_ref().map(|side| &side.kind) {
        Some(SideKind::File) => "file".into(),
        Some(SideKind::Directory) => "folder".into(),
        Some(SideKind::Symlink(target)) => format!("link to {}", harmless_path(target)),
        Some(SideKind::Special) => "device".into(),
        None => "nothing".to_owned(),
    };
    let (before, after) = (name(&change.before), name(&change.after));
    match change.kind {
        ChangeKind::Added => format!("new {after}"),
        ChangeKind::Changed if is_link(&change.before) => format!("{before}, now {after}"),
        ChangeKind::Changed => format!("changed {after}"),
        ChangeKind::Removed => format!("removed {before}"),
        ChangeKind::Mode => format!("{after} with another mode"),
        ChangeKind::Attributes => format!("{after} with other attributes"),
        ChangeKind::Type => format!("{before} became {after}"),
    }
}

fn is_link(side: &Option<Side>) -> bool {
    let link = |side: &Side| matches!(side.kind, SideKind::Symlink(_));
    side.as_ref().is_some_and(link)
}

/// The difference of two contents.
pub(crate) fn bodies(
    out: &mut dyn Write,
    palette: Palette,
    before: &Body,
    after: &Body,
) -> io::Result<()> {
    for body in [before, after] {
        match body {
            Body::Unreadable(cause) => return writeln!(out, "cannot be read: {}", harmless(cause)),
            Body::Large => return writeln!(out, "too large to be shown"),
            _ => {}
        }
    }
    let [old, new] = [before, after].map(|body| body.bytes().unwrap_or_default());
    match Form::of_both(old, new) {
        Form::Text => {}
        Form::Long => return writeln!(out, "too many lines to be shown"),
        Form::Binary => {
            let [old, new] = [old, new].map(|side| size(side.len() as u64));
            return writeln!(out, "binary, {old} -> {new}");
        }
    }
    let diff = TextDiff::new(old, new);
    for shown in diff.hunks() {
        hunk(out, palette, &diff, &shown)?;
    }
    Ok(())
}

/// One hunk, as `git diff` shows it.
pub(crate) fn hunk(
    out: &mut dyn Write,
    palette: Palette,
    diff: &TextDiff<'_>,
    hunk: &Hunk,
) -> io::Result<()> {
    writeln!(out, "{}", palette.place(&hunk_header(hunk)))?;
    for (kind, line) in diff.lines(hunk) {
        let ended = line.strip_suffix(b"\n");
        let text = format!(
            "{}{}",
            char::from(kind.mark()),
            harmless_line(ended.unwrap_or(line))
        );
        let text = match kind {
            LineKind::Both => text,
            LineKind::Removed => palette.bad(&text),
            LineKind::Added => palette.good(&text),
        };
        writeln!(out, "{text}")?;
        if ended.is_none() {
            writeln!(out, "\\ No newline at end of file")?;
        }
    }
    Ok(())
}
