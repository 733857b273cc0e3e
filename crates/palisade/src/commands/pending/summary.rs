//! The summary: how much changed, what to look at first, what stands in the way, and each path on a line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use palisade_workspace::changes::{Change, ChangeKind, Refused, SideKind};

use super::{Entry, Examined, Lines, Session};
use crate::terminal_text::{Palette, harmless, harmless_path};

/// Writes all of it, of each part no more than `most` lines.
pub(crate) fn write(
    out: &mut dyn Write,
    palette: Palette,
    session: &Session,
    examined: &Examined<'_>,
    most: usize,
) -> io::Result<()> {
    let of = format!(
        "session {} ({}) in {}",
        session.id,
        harmless(&session.record.command),
        harmless_path(&session.record.workspace)
    );
    writeln!(out, "{}\n{}", palette.strong(&of), counts(examined))?;
    let first = palette.warn("Look at these first");
    section(out, &first, &flags(palette, examined), most)?;
    let left = palette.bad("In conflict; left alone without --force");
    section(out, &left, &conflicts(examined), most)?;
    section(out, &palette.bad("Cannot land"), &refused(session), most)?;
    list(out, palette, examined, most)
}

/// What the session made and cannot land, as far as it is meant.
pub(crate) fn refused_of(session: &Session) -> Vec<&Refused> {
    let refused = session.set.refused().iter();
    refused
        .filter(|refused| session.means(&refused.path))
        .collect()
}

/// `2 added, 1 changed, 3 renamed; 1 binary, 1 in conflict`.
pub(crate) fn counts(examined: &Examined<'_>) -> String {
    let entries = &examined.entries;
    let count = |wanted: &dyn Fn(&Entry<'_>) -> bool| {
        let said = entries.iter().filter(|entry| !entry.holds_more);
        said.filter(|entry| wanted(entry)).count()
    };
    let of_kind = |kind: ChangeKind| {
        count(&|e| e.change.kind == kind && e.renamed_from.is_none() && e.renamed_to.is_none())
    };
    let first = [
        (of_kind(ChangeKind::Added), "added"),
        (of_kind(ChangeKind::Changed), "changed"),
        (of_kind(ChangeKind::Removed), "removed"),
        (count(&|e| e.renamed_from.is_some()), "renamed"),
        (of_kind(ChangeKind::Mode), "with another mode"),
        (of_kind(ChangeKind::Type), "of another type"),
        (of_kind(ChangeKind::Attributes), "with other attributes"),
    ];
    let second = [
        (count(&|e| e.lines == Lines::Binary), "binary"),
        (count(&|e| e.lines == Lines::Large), "too large to compare"),
        (count(&|e| e.change.conflict.is_some()), "in conflict"),
        (count(&|e| !e.flags.is_empty()), "flagged"),
    ];
    let words = |counts: &[(usize, &str)]| {
        let some = counts.iter().filter(|(count, _)| *count > 0);
        let some = some.map(|(count, what)| format!("{count} {what}"));
        some.collect::<Vec<_>>().join(", ")
    };
    let (first, second) = (words(&first), words(&second));
    let gap = if second.is_empty() { "" } else { "; " };
    let new: u64 = entries
        .iter()
        .filter_map(|e| e.change.after.as_ref())
        .map(|s| s.size)
        .sum();
    format!("{first}{gap}{second} ({})", size(new))
}

fn flags(palette: Palette, examined: &Examined<'_>) -> Vec<String> {
    let entries = examined.entries.iter();
    let mut flagged: Vec<_> = entries.filter(|e| !e.flags.is_empty()).collect();
    // By the worst of each; the order of paths among equals.
    flagged.sort_by_key(|entry| entry.flags[0].flag);
    let line = |entry: &Entry<'_>| {
        let seen: Vec<_> = entry.flags.iter().map(|f| harmless(&f.seen)).collect();
        let path = palette.strong(&harmless_path(&entry.change.path));
        format!("{path}  {}", palette.warn(&seen.join("; ")))
    };
    flagged.into_iter().map(line).collect()
}

fn conflicts(examined: &Examined<'_>) -> Vec<String> {
    let line = |entry: &Entry<'_>| {
        let conflict = entry.change.conflict?;
        Some(format!("{}: {conflict}", harmless_path(&entry.change.path)))
    };
    examined.entries.iter().filter_map(line).collect()
}

fn refused(session: &Session) -> Vec<String> {
    let line = |refused: &Refused| {
        let reason = harmless(&refused.reason.to_string());
        format!("{} {reason}", harmless_path(&refused.path))
    };
    refused_of(session).into_iter().map(line).collect()
}

/// A part under its title, if there is anything in it.
fn section(out: &mut dyn Write, title: &str, lines: &[String], most: usize) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for line in lines.iter().take(most) {
        writeln!(out, "  {line}")?;
    }
    say_more(out, lines.len().saturating_sub(most))
}

fn say_more(out: &mut dyn Write, more: usize) -> io::Result<()> {
    match more {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more; `palisade review` shows them all"),
    }
}

fn list(
    out: &mut dyn Write,
    palette: Palette,
    examined: &Examined<'_>,
    most: usize,
) -> io::Result<()> {
    writeln!(out)?;
    let mut gits_own: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let (mut shown, mut more) = (0, 0);
    for entry in &examined.entries {
        if entry.holds_more || entry.renamed_to.is_some() {
            // Said by what is in it, or with its new name.
        } else if entry.is_gits_own() {
            let repository = repository(&entry.change.path);
            *gits_own.entry(repository).or_default() += 1;
        } else if shown < most {
            shown += 1;
            writeln!(out, "{}", line(palette, entry))?;
        } else {
            more += 1;
        }
    }
    for (repository, count) in gits_own {
        let what = format!("{count} of git's own files (objects, references, index)");
        writeln!(
            out,
            "    {}/  {}",
            harmless_path(&repository),
            palette.faint(&what)
        )?;
    }
    say_more(out, more)
}

/// `M  src/main.rs  +3 -1`.
fn line(palette: Palette, entry: &Entry<'_>) -> String {
    let change = entry.change;
    let letter = if entry.renamed_from.is_some() {
        "R"
    } else {
        letter(change.kind)
    };
    let letter = match change.kind {
        ChangeKind::Added => palette.good(letter),
        ChangeKind::Removed => palette.bad(letter),
        _ => palette.warn(letter),
    };
    let from = entry.renamed_from.map_or(String::new(), |old| {
        format!("{} -> ", harmless_path(&old.path))
    });
    let path = harmless_path(&change.path);
    let much = much(palette, entry);
    format!("  {letter} {from}{path}{}  {much}", kind_mark(change))
        .trim_end()
        .to_owned()
}

fn much(palette: Palette, entry: &Entry<'_>) -> String {
    let change = entry.change;
    if let (ChangeKind::Mode, Some(old), Some(new)) = (change.kind, &change.before, &change.after) {
        return format!("{:04o} -> {:04o}", old.mode, new.mode);
    }
    match entry.lines {
        _ if entry.renamed_from.is_some() => String::new(),
        Lines::None => String::new(),
        Lines::Counted(added, removed) => {
            let mut parts = Vec::new();
            if added > 0 {
                parts.push(palette.good(&format!("+{added}")));
            }
            if removed > 0 {
                parts.push(palette.bad(&format!("-{removed}")));
            }
            parts.join(" ")
        }
        Lines::Binary => {
            let of = |side: &Option<_>| {
                side.as_ref()
                    .map(|s: &palisade_workspace::changes::Side| size(s.size))
            };
            match (of(&change.before), of(&change.after)) {
                (Some(old), Some(new)) => format!("binary, {old} -> {new}"),
                (old, new) => format!("binary, {}", old.or(new).unwrap_or_default()),
            }
        }
        Lines::Large => "too large to compare".into(),
        Lines::Unreadable => palette.bad("cannot be read"),
    }
}

/// What stands there now: `/` behind a folder, the target behind a link.
fn kind_mark(change: &Change) -> String {
    match change
        .after
        .as_ref()
        .or(change.before.as_ref())
        .map(|side| &side.kind)
    {
        Some(SideKind::Directory) => "/".into(),
        Some(SideKind::Symlink(target)) => format!(" -> {}", harmless_path(target)),
        _ => String::new(),
    }
}

fn letter(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "A",
        ChangeKind::Changed | ChangeKind::Mode | ChangeKind::Attributes => "M",
        ChangeKind::Removed => "D",
        ChangeKind::Type => "T",
    }
}

/// The repository's folder in the path of one of its own files.
pub(crate) fn repository(path: &Path) -> PathBuf {
    let is_git = |part: &std::ffi::OsStr| part.eq_ignore_ascii_case(".git");
    let before = path.iter().take_while(|part| !is_git(part)).count();
    path.iter().take(before + 1).collect()
}

/// A length for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
