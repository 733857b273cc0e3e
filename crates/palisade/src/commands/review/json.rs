//! `palisade review --json`: one object, described in docs/review.md. Fields are only ever added.

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use palisade_workspace::changes::{ChangeKind, Conflict, Refused, Side, SideKind};
use serde_json::{Value, json};

use crate::commands::pending::summary::refused_of;
use crate::commands::pending::{Entry, Lines, Session};

/// Of this schema.
const VERSION: u32 = 1;

/// Where nothing is pending.
pub(super) fn nothing() -> Value {
    json!({ "version": VERSION, "session": null, "changes": [], "refused": [] })
}

/// Writes the object; the list of changes piece by piece, since it may be long.
pub(super) fn write(out: &mut dyn Write, session: &Session) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let examined = session.examine();
    let workspace = path_value(&session.record.workspace);
    write!(
        out,
        "{{\"version\":{VERSION},\"session\":{},\"workspace\":{workspace},\"changes\":[",
        json!(session.id.as_str()),
    )?;
    list(&mut out, examined.entries.iter().map(entry_value))?;
    write!(out, "],\"refused\":[")?;
    list(&mut out, refused_of(session).into_iter().map(refused_value))?;
    writeln!(out, "]}}")?;
    out.flush()
}

fn list(out: &mut dyn Write, values: impl Iterator<Item = Value>) -> io::Result<()> {
    for (number, value) in values.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(out, "{comma}\n{value}")?;
    }
    Ok(())
}

fn entry_value(entry: &Entry<'_>) -> Value {
    let change = entry.change;
    let flags = entry.flags.iter();
    let flags: Vec<_> = flags
        .map(|f| json!({ "flag": f.flag.code(), "seen": f.seen }))
        .collect();
    let mut value = json!({
        "path": path_value(&change.path),
        "kind": kind(change.kind),
        "before": side_value(&change.before),
        "after": side_value(&change.after),
        "flags": flags,
    });
    if change.path.to_str().is_none() {
        value["path_hex"] = hex(&change.path);
    }
    let (added, removed) = match entry.lines {
        Lines::Counted(added, removed) => (Some(added), Some(removed)),
        _ => (None, None),
    };
    for (name, field) in [
        ("lines_added", added.map(Value::from)),
        ("lines_removed", removed.map(Value::from)),
        (
            "binary",
            (entry.lines == Lines::Binary).then(|| true.into()),
        ),
        (
            "renamed_from",
            entry.renamed_from.map(|old| path_value(&old.path)),
        ),
        (
            "renamed_to",
            entry.renamed_to.map(|new| path_value(&new.path)),
        ),
        ("conflict", change.conflict.map(conflict)),
    ] {
        if let Some(field) = field {
            value[name] = field;
        }
    }
    value
}

fn refused_value(refused: &Refused) -> Value {
    let mut value = json!({
        "path": path_value(&refused.path),
        "reason": refused.reason.to_string(),
    });
    if refused.path.to_str().is_none() {
        value["path_hex"] = hex(&refused.path);
    }
    value
}

fn side_value(side: &Option<Side>) -> Value {
    let Some(side) = side else {
        return Value::Null;
    };
    let mut value = json!({ "mode": format!("{:04o}", side.mode), "size": side.size });
    value["type"] = match &side.kind {
        SideKind::File => "file".into(),
        SideKind::Directory => "folder".into(),
        SideKind::Special => "special".into(),
        SideKind::Symlink(target) => {
            value["target"] = path_value(target);
            "link".into()
        }
    };
    value
}

fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
        ChangeKind::Mode => "mode",
        ChangeKind::Attributes => "attributes",
        ChangeKind::Type => "type",
    }
}

fn conflict(conflict: Conflict) -> Value {
    match conflict {
        Conflict::Changed => "changed".into(),
        Conflict::Removed => "removed".into(),
    }
}

/// Bytes that are no UTF-8 are replaced; `path_hex` has them all.
fn path_value(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn hex(path: &Path) -> Value {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}
