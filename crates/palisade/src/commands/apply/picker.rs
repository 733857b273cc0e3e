//! File by file and hunk by hunk, with the letters of `git add -p`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use palisade_workspace::changes::{Change, ChangeKind, Side};
use palisade_workspace::review::{Form, Hunk, TextDiff};

use crate::commands::pending::ask::ask;
use crate::commands::pending::summary::repository;
use crate::commands::pending::{Entry, Session, show};
use crate::terminal_text::{Palette, harmless_path};

/// What a person chose.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// Changes that land as they are, or with other contents.
    pub(super) paths: BTreeSet<PathBuf>,
    /// What files of which not every hunk was chosen are to hold.
    pub(super) contents: BTreeMap<PathBuf, Vec<u8>>,
}

/// The person has had enough; what was chosen before stands, as with `git add -p`.
struct Quit;

type Answer<T> = io::Result<Result<T, Quit>>;

/// Letters for what lands whole or not at all.
const WHOLE: [(char, &str); 3] = [
    ('y', "apply it"),
    ('n', "leave it pending"),
    ('q', "quit; leave this and all that follows pending"),
];

/// Letters for a hunk; the last one where there is something to split.
const HUNK: [(char, &str); 6] = [
    ('y', "apply this hunk"),
    ('n', "leave it pending"),
    ('q', "quit; leave this hunk and all that follows pending"),
    ('a', "apply this hunk and all later ones of the file"),
    ('d', "leave this hunk and all later ones of the file"),
    ('s', "split the hunk into smaller ones"),
];

/// Asks about each change in turn.
pub(super) fn pick(
    session: &Session,
    entries: &[Entry<'_>],
    palette: Palette,
) -> io::Result<Picked> {
    let mut picked = Picked::default();
    let mut repositories: BTreeMap<PathBuf, bool> = BTreeMap::new();
    let mut rest = entries;
    while let Some((entry, after)) = rest.split_first() {
        let below = after
            .iter()
            .take_while(|e| e.change.path.starts_with(&entry.change.path))
            .count();
        rest = after;
        if entry.renamed_to.is_some() || (is_new_folder(entry.change) && below > 0) {
            // Decided with its new name, or with what is in it.
            continue;
        }
        if entry.is_gits_own() {
            let repository = repository(&entry.change.path);
            let taken = match repositories.get(&repository) {
                Some(taken) => *taken,
                None => match gits_own(entries, &repository, palette)? {
                    Ok(taken) => taken,
                    Err(Quit) => break,
                },
            };
            picked
                .paths
                .extend(taken.then(|| entry.change.path.clone()));
            repositories.insert(repository, taken);
            continue;
        }
        let Ok(taken) = one(session, entry, below, palette, &mut picked)? else {
            break;
        };
        if was_folder(entry.change) {
            // What was in it goes with it, or stays with it.
            let inner = after[..below].iter().filter(|_| taken);
            picked.paths.extend(inner.map(|e| e.change.path.clone()));
            rest = &after[below..];
        } else if entry.change.kind == ChangeKind::Type && !taken {
            // Nothing can be put below a file that stays.
            rest = &after[below..];
        }
    }
    picked.add_folders(session);
    Ok(picked)
}

impl Picked {
    /// The new folders that what was chosen lies in.
    pub(super) fn add_folders(&mut self, session: &Session) {
        let parents = self.paths.iter().flat_map(|path| path.ancestors().skip(1));
        let new = parents.filter(|path| session.set.get(path).is_some_and(is_new_folder));
        let new: Vec<_> = new.map(PathBuf::from).collect();
        self.paths.extend(new);
    }
}

/// Asks about all of a repository's own files at once: nobody can tell one object from another.
fn gits_own(entries: &[Entry<'_>], repository: &Path, palette: Palette) -> Answer<bool> {
    let own = entries
        .iter()
        .filter(|entry| entry.is_gits_own() && !entry.holds_more);
    let count = own
        .filter(|entry| entry.change.path.starts_with(repository))
        .count();
    let repository = palette.strong(&harmless_path(repository));
    let what = "of git's own files (objects, references, index)";
    writeln!(io::stdout().lock(), "\n{repository}/  {count} {what}")?;
    Ok(match ask(palette, "Apply them together", &WHOLE)? {
        'q' => Err(Quit),
        letter => Ok(letter == 'y'),
    })
}

/// Asks about one change. Whether any of it was taken.
fn one(
    session: &Session,
    entry: &Entry<'_>,
    below: usize,
    palette: Palette,
    picked: &mut Picked,
) -> Answer<bool> {
    let change = entry.change;
    let (before, after) = (session.before(change), session.after(change));
    let texts = before.bytes().zip(after.bytes());
    let texts = texts.filter(|(old, new)| Form::of_both(old, new) == Form::Text);
    let is_file = |side: &Option<Side>| side.as_ref().is_some_and(Side::is_file);
    let by_hunk =
        change.kind == ChangeKind::Changed && is_file(&change.before) && is_file(&change.after);
    let mut out = io::stdout().lock();
    writeln!(out)?;
    match texts.filter(|_| by_hunk) {
        Some((old, new)) => {
            show::heading(&mut out, palette, entry)?;
            drop(out);
            hunks(change, &TextDiff::new(old, new), palette, picked)
        }
        None => {
            show::difference(&mut out, palette, session, entry)?;
            drop(out);
            whole(entry, below, palette, picked)
        }
    }
}

fn whole(entry: &Entry<'_>, below: usize, palette: Palette, picked: &mut Picked) -> Answer<bool> {
    let question = if was_folder(entry.change) && below > 0 {
        format!("Apply this, with the {below} below it")
    } else {
        "Apply this change".into()
    };
    match ask(palette, &question, &WHOLE)? {
        'q' => return Ok(Err(Quit)),
        'y' => {}
        _ => return Ok(Ok(false)),
    }
    picked.paths.insert(entry.change.path.clone());
    picked
        .paths
        .extend(entry.renamed_from.map(|old| old.path.clone()));
    Ok(Ok(true))
}

fn hunks(
    change: &Change,
    diff: &TextDiff<'_>,
    palette: Palette,
    picked: &mut Picked,
) -> Answer<bool> {
    let mut waiting: Vec<Hunk> = diff.hunks();
    waiting.reverse();
    let (mut number, mut total) = (1, waiting.len());
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut quit = false;
    while let Some(hunk) = waiting.pop() {
        show::hunk(&mut io::stdout().lock(), palette, diff, &hunk)?;
        let can_split = hunk.edits.len() > 1;
        let letters = &HUNK[..HUNK.len() - usize::from(!can_split)];
        let question = format!(
            "({number}/{total}) Apply this hunk of {}",
            harmless_path(&change.path)
        );
        match ask(palette, &question, letters)? {
            'y' => taken.extend(hunk.edits),
            'a' => {
                taken.extend(hunk.edits);
                taken.extend(waiting.drain(..).flat_map(|later| later.edits));
            }
            'd' => break,
            's' => {
                let parts = diff.split(&hunk);
                total += parts.len() - 1;
                waiting.extend(parts.into_iter().rev());
                continue;
            }
            'q' => {
                quit = true;
                break;
            }
            _ => {}
        }
        number += 1;
    }
    let any = !taken.is_empty();
    if any {
        picked.paths.insert(change.path.clone());
    }
    if any && taken.len() < diff.edits() {
        let contents = diff.select(|edit| taken.contains(&edit));
        picked.contents.insert(change.path.clone(), contents);
    }
    Ok(if quit { Err(Quit) } else { Ok(any) })
}

fn is_new_folder(change: &Change) -> bool {
    change.before.is_none() && change.after.as_ref().is_some_and(Side::is_directory)
}

/// Whether a folder goes: what was below it cannot stay alone.
fn was_folder(change: &Change) -> bool {
    let folder = |side: &Option<Side>| side.as_ref().is_some_and(Side::is_directory);
    folder(&change.before) && !folder(&change.after)
}
