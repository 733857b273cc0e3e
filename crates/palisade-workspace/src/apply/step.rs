//! One thing to do on the host, as the plan says it and the journal keeps it.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use crate::changes::record::Fields;
use crate::changes::{Identity, Moment, Side, SideKind, beneath};

/// What to do at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) path: PathBuf,
    pub(super) action: Action,
    /// What the host has to have there for it to be done.
    pub(super) expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Let the owner of a folder of the host make and remove names in it.
    Widen,
    /// A folder of the host that names were made or removed in: give it its permission bits back, if they were widened.
    /// `clean`: nobody else has changed it since the session began.
    Settle {
        mode: u32,
        widened: bool,
        clean: bool,
    },
    /// Make a folder, in place of whatever else is there.
    Folder,
    /// Give a folder that was made its permission bits and times.
    Finish { mode: u32, modified: Moment },
    /// Set permission bits.
    Mode { mode: u32 },
    /// Write a file or a link.
    Write { mode: u32, from: Source },
    /// Remove it; a folder only if it is empty.
    Remove,
}

/// Where what is written comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The same path of the upper, if it still is this.
    Upper { inode: u64, size: u64 },
    /// A file of ours with other contents; the attributes are the upper's.
    Staged(u64),
    /// Another name of this file of the host, or of what this step writes; else as the upper has it.
    Link { to: PathBuf, inode: u64, size: u64 },
}

/// What the host has to have at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Whatever: the overwriting was asked for.
    Any,
    Nothing,
    /// What the change set was read from.
    This {
        kind: char,
        size: u64,
        modified: Moment,
        identity: Identity,
    },
}

impl Expected {
    pub(super) fn of(before: Option<&Side>) -> Self {
        let Some(side) = before else {
            return Self::Nothing;
        };
        Self::This {
            kind: letter(match side.kind {
                SideKind::File => FileType::RegularFile,
                SideKind::Directory => FileType::Directory,
                SideKind::Symlink(_) => FileType::Symlink,
                SideKind::Special => FileType::Unknown,
            }),
            size: side.size,
            modified: side.modified,
            identity: side.identity,
        }
    }

    /// Whether this is what the host has.
    pub(super) fn is(&self, stat: Option<&Stat>) -> bool {
        match (self, stat) {
            (Self::Any, _) | (Self::Nothing, None) => true,
            (Self::This { identity, .. }, Some(stat)) => {
                // Landing another name of the same file changes its `ctime`, and what is in a folder the folder's.
                let alone = identity.links == 1 && beneath::kind(stat) != FileType::Directory;
                self.is_moved(stat) && (!alone || Moment::changed(stat) == identity.changed)
            }
            _ => false,
        }
    }

    /// Whether this is it, under another name: a rename changes the `ctime`.
    pub(super) fn is_moved(&self, stat: &Stat) -> bool {
        let Self::This {
            kind,
            size,
            modified,
            identity,
        } = self
        else {
            return *self == Self::Any;
        };
        let same = *kind == letter(beneath::kind(stat)) && stat.st_ino == identity.inode;
        let is_file = beneath::kind(stat) == FileType::RegularFile;
        let is_folder = beneath::kind(stat) == FileType::Directory;
        same && (is_folder || Moment::modified(stat) == *modified)
            && (!is_file || u64::try_from(stat.st_size) == Ok(*size))
    }

    fn words(&self, fields: Fields) -> Fields {
        match self {
            Self::Any => fields.add('*'),
            Self::Nothing => fields.add('-'),
            Self::This {
                kind,
                size,
                modified,
                identity,
            } => fields.add(format_args!(
                "{kind}:{size}:{}:{}:{}:{}:{}:{}",
                modified.seconds,
                modified.nanoseconds,
                identity.inode,
                identity.changed.seconds,
                identity.changed.nanoseconds,
                identity.links,
            )),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let kind = match parts.next()? {
            "*" => return Some(Self::Any),
            "-" => return Some(Self::Nothing),
            kind => kind.chars().next()?,
        };
        let size = parts.next()?.parse().ok()?;
        let modified = moment(&mut parts)?;
        let inode = parts.next()?.parse().ok()?;
        let changed = moment(&mut parts)?;
        let links = parts.next()?.parse().ok()?;
        let identity = Identity {
            inode,
            changed,
            links,
        };
        Some(Self::This {
            kind,
            size,
            modified,
            identity,
        })
    }
}

impl Step {
    /// Whether it makes a temporary name.
    pub(super) fn writes(&self) -> bool {
        matches!(self.action, Action::Write { .. })
    }

    /// Whether it lands a change, and is no mere preparation.
    pub(super) fn lands(&self) -> bool {
        !matches!(
            self.action,
            Action::Widen | Action::Settle { .. } | Action::Finish { .. }
        )
    }

    /// The step as records of a journal: a second one where it has two paths.
    pub(super) fn records(&self) -> Vec<Fields> {
        let words = self.expected.words(Fields::default().add("step"));
        let (words, to) = match &self.action {
            Action::Widen => (words.add("widen").add(0).add(0).add(0), None),
            Action::Settle {
                mode,
                widened,
                clean,
            } => (
                words
                    .add("settle")
                    .add(mode)
                    .add(u8::from(*widened))
                    .add(u8::from(*clean)),
                None,
            ),
            Action::Folder => (words.add("folder").add(0).add(0).add(0), None),
            Action::Finish { mode, modified } => (
                words
                    .add("finish")
                    .add(mode)
                    .add(modified.seconds)
                    .add(modified.nanoseconds),
                None,
            ),
            Action::Mode { mode } => (words.add("mode").add(mode).add(0).add(0), None),
            Action::Remove => (words.add("remove").add(0).add(0).add(0), None),
            Action::Write { mode, from } => match from {
                Source::Upper { inode, size } => {
                    (words.add("write").add(mode).add(inode).add(size), None)
                }
                Source::Staged(number) => (words.add("part").add(mode).add(number).add(0), None),
                Source::Link { to, inode, size } => {
                    (words.add("link").add(mode).add(inode).add(size), Some(to))
                }
            },
        };
        let mut records = vec![words.path(&self.path)];
        records.extend(to.map(|to| Fields::default().add("to").path(to)));
        records
    }

    /// A step from a record, and from the one behind it.
    pub(super) fn parse(fields: &Fields, next: Option<&Fields>) -> Option<Self> {
        let mode = u32::try_from(fields.number(3)?).ok()?;
        let (first, second) = (fields.word(4)?, fields.word(5)?);
        let number = |word: &str| word.parse::<u64>().ok();
        let action = match fields.word(2)? {
            "widen" => Action::Widen,
            "settle" => Action::Settle {
                mode,
                widened: first == "1",
                clean: second == "1",
            },
            "folder" => Action::Folder,
            "finish" => Action::Finish {
                mode,
                modified: Moment {
                    seconds: first.parse().ok()?,
                    nanoseconds: second.parse().ok()?,
                },
            },
            "mode" => Action::Mode { mode },
            "remove" => Action::Remove,
            "write" => Action::Write {
                mode,
                from: Source::Upper {
                    inode: number(first)?,
                    size: number(second)?,
                },
            },
            "part" => Action::Write {
                mode,
                from: Source::Staged(number(first)?),
            },
            "link" => {
                let to = next.filter(|next| next.word(0) == Some("to"))?.rest(1)?;
                let (inode, size) = (number(first)?, number(second)?);
                Action::Write {
                    mode,
                    from: Source::Link {
                        to: to.to_path_buf(),
                        inode,
                        size,
                    },
                }
            }
            _ => return None,
        };
        Some(Self {
            path: fields.rest(6)?.to_path_buf(),
            action,
            expected: Expected::parse(fields.word(1)?)?,
        })
    }

    /// How many bytes it writes, about.
    pub(super) fn size(&self) -> u64 {
        match &self.action {
            Action::Write {
                from: Source::Upper { size, .. },
                ..
            } => *size,
            _ => 0,
        }
    }

    /// The folder it is in, and its name there.
    pub(super) fn place(&self) -> (&Path, &std::ffi::OsStr) {
        beneath::split(&self.path)
    }
}

fn moment<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Moment> {
    Some(Moment {
        seconds: parts.next()?.parse().ok()?,
        nanoseconds: parts.next()?.parse().ok()?,
    })
}

fn letter(kind: FileType) -> char {
    match kind {
        FileType::RegularFile => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        _ => 's',
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_step_comes_back_from_the_journal_as_it_was() {
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a b/\xff\nc "));
        let modified = Moment {
            seconds: -5,
            nanoseconds: 9,
        };
        let identity = Identity {
            inode: 7,
            changed: modified,
            links: 2,
        };
        let expected = [
            Expected::Any,
            Expected::Nothing,
            Expected::This {
                kind: 'f',
                size: 12,
                modified,
                identity,
            },
        ];
        let actions = [
            Action::Widen,
            Action::Settle {
                widened: true,
                mode: 0o555,
                clean: false,
            },
            Action::Folder,
            Action::Finish {
                mode: 0o2755,
                modified,
            },
            Action::Mode { mode: 0o600 },
            Action::Remove,
            Action::Write {
                mode: 0o644,
                from: Source::Upper { inode: 3, size: 4 },
            },
            Action::Write {
                mode: 0o644,
                from: Source::Staged(3),
            },
            Action::Write {
                mode: 0o644,
                from: Source::Link {
                    to: path.join("x"),
                    inode: 3,
                    size: 4,
                },
            },
        ];
        for (action, expected) in actions
            .iter()
            .flat_map(|a| expected.iter().map(move |e| (a, e)))
        {
            let step = Step {
                path: path.into(),
                action: action.clone(),
                expected: expected.clone(),
            };
            let records = step.records();
            assert_eq!(Step::parse(&records[0], records.get(1)), Some(step));
        }
    }
}
