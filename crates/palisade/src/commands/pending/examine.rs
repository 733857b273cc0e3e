//! Each change looked at once: its flags, its lines, where it came from.

use std::collections::HashMap;
use std::io::{self, Read};

use palisade_workspace::changes::{Change, ChangeKind, Side, SideKind};
use palisade_workspace::review::{Flagged, Form, Sight, TextDiff, flags_of, in_patch, renames};

use super::spellings::Spellings;
use super::{Body, Session};

/// What is known of a change.
#[derive(Debug)]
pub(crate) struct Entry<'s> {
    pub(crate) change: &'s Change,
    pub(crate) flags: Vec<Flagged>,
    pub(crate) lines: Lines,
    /// The change that removed the same contents under another name.
    pub(crate) renamed_from: Option<&'s Change>,
    /// The other end of that.
    pub(crate) renamed_to: Option<&'s Change>,
    /// A new or removed folder, said by what is in it.
    pub(crate) holds_more: bool,
}

/// How much of a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// No file with contents of its own.
    None,
    /// Lines added and removed.
    Counted(u64, u64),
    /// No text.
    Binary,
    /// Too long to be compared.
    Large,
    /// One side cannot be read.
    Unreadable,
}

/// All that a command line means of a session's changes, in the order of their paths.
#[derive(Debug)]
pub(crate) struct Examined<'s> {
    pub(crate) entries: Vec<Entry<'s>>,
}

impl Entry<'_> {
    /// Whether it is shown on its own.
    pub(crate) fn is_shown(&self) -> bool {
        !self.is_gits_own() && self.renamed_to.is_none() && !self.holds_more
    }

    /// Part of a repository's own files and nothing to look at by itself: objects, references, the index.
    pub(crate) fn is_gits_own(&self) -> bool {
        self.flags.is_empty() && !in_patch(&self.change.path)
    }
}

impl Session {
    /// Looks at each change that is meant.
    pub(crate) fn examine(&self) -> Examined<'_> {
        let changes = self.set.changes();
        let open = |change: &Change| -> io::Result<Box<dyn Read>> {
            let opened = match change.kind {
                ChangeKind::Removed => self.open_before(change),
                _ => self.open_after(change),
            };
            opened
                .map(|file| Box::new(file) as Box<dyn Read>)
                .map_err(io::Error::other)
        };
        let from = renames(&self.set, &open);
        let to: HashMap<usize, usize> = from.iter().map(|(new, old)| (*old, *new)).collect();
        let spellings = Spellings::read(&self.record.workspace, &self.set);
        let meant: Vec<_> = changes
            .iter()
            .enumerate()
            .filter(|(_, change)| self.means(&change.path))
            .collect();
        let entries = meant.iter().enumerate().map(|(at, (number, change))| {
            let next = meant.get(at + 1).map(|(_, next)| &next.path);
            let partner = |of: &HashMap<usize, usize>| {
                let partner = of.get(number).map(|partner| &changes[*partner]);
                partner.filter(|partner| self.means(&partner.path))
            };
            Entry {
                renamed_from: partner(&from),
                renamed_to: partner(&to),
                holds_more: is_folder(change) && next.is_some_and(|n| n.starts_with(&change.path)),
                ..self.entry(change, &spellings)
            }
        });
        Examined {
            entries: entries.collect(),
        }
    }

    fn entry<'s>(&'s self, change: &'s Change, spellings: &Spellings) -> Entry<'s> {
        let (before, after) = (self.before(change), self.after(change));
        let flags = flags_of(&Sight {
            change,
            workspace: &self.record.workspace,
            old: before.bytes(),
            new: after.bytes(),
            other_spelling: spellings.other(&change.path),
        });
        Entry {
            change,
            flags,
            lines: lines(change, &before, &after),
            renamed_from: None,
            renamed_to: None,
            holds_more: false,
        }
    }
}

/// A folder and nothing else, on the one side it is on.
fn is_folder(change: &Change) -> bool {
    let only = match (&change.before, &change.after) {
        (Some(side), None) | (None, Some(side)) => side,
        _ => return false,
    };
    only.is_directory()
}

fn lines(change: &Change, before: &Body, after: &Body) -> Lines {
    let link = |side: &Option<Side>| {
        side.as_ref()
            .is_some_and(|side| matches!(side.kind, SideKind::Symlink(_)))
    };
    match (before, after) {
        _ if link(&change.before) || link(&change.after) => Lines::None,
        (Body::Unreadable(_), _) | (_, Body::Unreadable(_)) => Lines::Unreadable,
        (Body::Large, _) | (_, Body::Large) => Lines::Large,
        (Body::Absent | Body::Empty, Body::Absent | Body::Empty) => Lines::None,
        _ => {
            let [old, new] = [before, after].map(|body| body.bytes().unwrap_or_default());
            match Form::of_both(old, new) {
                Form::Binary => Lines::Binary,
                Form::Long => Lines::Large,
                Form::Text => {
                    let diff = TextDiff::new(old, new);
                    Lines::Counted(diff.added(), diff.removed())
                }
            }
        }
    }
}
