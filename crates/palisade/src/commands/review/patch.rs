//! `palisade review --patch`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use palisade_workspace::changes::{Change, Side};
use palisade_workspace::review::{ObjectFormat, in_patch, write_patch};

use crate::commands::pending::Session;
use crate::commands::pending::git::Repository;
use crate::commands::pending::summary::refused_of;
use crate::failure::Failure;

/// What a patch of git cannot say.
#[derive(Default)]
struct Unsaid {
    gits_own: usize,
    folders: usize,
    permissions: usize,
    refused: usize,
}

/// Writes the patch to standard output, and to standard error what it leaves out.
pub(super) fn write(session: &Session) -> Result<ExitCode, Failure> {
    // Where there is no repository, git takes names of the older kind.
    let format = Repository::of(&session.record.workspace).map_or(ObjectFormat::Sha1, |r| r.format);
    let mut unsaid = Unsaid {
        refused: refused_of(session).len(),
        ..Unsaid::default()
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for change in session
        .set
        .changes()
        .iter()
        .filter(|c| session.means(&c.path))
    {
        if unsaid.counts(session, change) {
            continue;
        }
        let [before, after] = session.versions(change);
        let [before, after] = [&before, &after].map(|side| side.as_ref().map(|s| s.version()));
        let written = write_patch(&mut out, format, &change.path, before, after);
        if let Err(error) = written {
            return super::finish(Err(error));
        }
    }
    let flushed = out.flush();
    unsaid.say();
    super::finish(flushed)
}

/// Nothing but a folder, on each side there is.
pub(in crate::commands) fn is_folder(change: &Change) -> bool {
    let folder = |side: &Option<Side>| side.as_ref().is_none_or(Side::is_directory);
    folder(&change.before) && folder(&change.after)
}

impl Unsaid {
    /// Whether the change has no words in a patch; counted, where something is lost by that.
    fn counts(&mut self, session: &Session, change: &Change) -> bool {
        if is_folder(change) {
            let empty = session.set.at_or_below(&change.path).len() == 1;
            self.folders += usize::from(empty);
            return true;
        }
        if !in_patch(&change.path) {
            self.gits_own += 1;
            return true;
        }
        if let (Some(old), Some(new)) = (&change.before, &change.after) {
            let other = (old.mode ^ new.mode) & !0o100;
            self.permissions += usize::from(old.kind == new.kind && other & !0o011 != 0);
        }
        false
    }

    fn say(&self) {
        for (count, what) in [
            (
                self.gits_own,
                "of git's own files, which git takes from no patch",
            ),
            (self.folders, "folders: git knows files alone"),
            (self.permissions, "permissions beyond the executable bit"),
            (self.refused, "paths that cannot land"),
        ] {
            if count > 0 {
                eprintln!("palisade: not in the patch: {count} {what}");
            }
        }
    }
}
