//! Masks: secrets that lie in what is shown, and what to lay over them.
//!
//! A mask is a mount of something empty over one path, which costs nothing where there is none. To know the paths, the shown
//! folders have to be looked through. That is done once; a list is kept, and the next session asks each folder only
//! whether it is as it was (its inode and the time of its last change, which a program cannot set). The list is believed
//! first, so that a boundary can be built on it, and confirmed before the agent starts.
//!
//! ```text
//!   table, pattern, matching, rules   which names, and what the policy adds or takes out
//!   content                 files whose name alone does not say it
//!   scan, tree, workers     looking through folders, in parallel, again where something changed
//!   index, known            the list as a file, and from session to session
//!   watch                   what appears while a session runs
//! ```
//!
//! A layer that decides at each look-up would need no list. There is none that an ordinary user can have at the price: a FUSE
//! file system asks another process for each name and each open file, some ten microseconds each, where `git status` of 100,000
//! files takes two for each in all; a filter of system calls that asks would pay that for each open file, and could be
//! misled by a thread that changes the name meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

mod content;
mod index;
mod known;
mod matching;
mod pattern;
mod rules;
mod scan;
mod table;
mod tracked;
mod tree;
mod watch;
mod workers;

pub use pattern::{MaskPattern, PatternError};
pub use rules::{BUILT_IN, MaskRule, MaskRules, WrittenPattern};
pub use scan::Why;
pub use tracked::tracked;
pub use watch::{MaskWatch, News};

use crate::paths::Located;
use known::{Known, Root, confirm, look_again, open, recall};
use rules::Decision;
use tree::Part;

/// One path to mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// On the host, links resolved.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub directory: bool,
    /// The index of the rule in [`MaskRules::rules`]. Of no meaning for [`Why::HardLink`] and [`Why::Unreadable`].
    pub rule: usize,
    /// Why.
    pub why: Why,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Masks {
    /// What to mask, parents before children, each path once.
    pub masks: Vec<Mask>,
    shown: Vec<Located>,
    /// The folders that were looked through.
    roots: Vec<Root>,
}

/// Why masks are not known.
#[derive(Debug, thiserror::Error)]
#[error("look for secrets in {path}: {error}")]
pub struct MaskError {
    path: PathBuf,
    error: io::Error,
}

impl MaskError {
    fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_path_buf(),
            error,
        }
    }
}

/// A folder that changed this short a time before it was looked into could change once more without a newer time: file systems
/// take theirs from a clock that ticks, FAT's every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// For who waits until all is found.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Masks {
    /// Looks through what is shown. `kept` is the folder where lists are kept from session to session; without one, everything
    /// is looked through.
    ///
    /// Of folders that tools fill (`node_modules` and the like) the list is believed for now, if there is one:
    /// [`Masks::look_through_the_rest`] makes up for it.
    ///
    /// # Errors
    /// A folder cannot be read for another reason than its permissions.
    pub fn find(
        rules: &MaskRules,
        shown: Vec<Located>,
        kept: Option<&Path>,
    ) -> Result<Self, MaskError> {
        Self::find_with(rules, shown, kept, TICK)
    }

    /// The same, with lists that are believed as they are, until [`Masks::confirm`]: nothing is looked at that has a list.
    ///
    /// # Errors
    /// As for [`Masks::find`].
    pub fn recall(
        rules: &MaskRules,
        shown: Vec<Located>,
        kept: Option<&Path>,
    ) -> Result<Self, MaskError> {
        Self::recall_with(rules, shown, kept, TICK)
    }

    fn recall_with(
        rules: &MaskRules,
        shown: Vec<Located>,
        kept: Option<&Path>,
        tick: Duration,
    ) -> Result<Self, MaskError> {
        let mut found = Self {
            masks: Vec::new(),
            roots: Vec::new(),
            shown,
        };
        let whole = found.whole(rules);
        for root in outermost(&found.shown) {
            if root.folder && !whole.iter().any(|mask| mask.path == root.real) {
                let known = recall(rules, &root.real, kept, tick)
                    .map_err(|error| MaskError::new(&root.real, error))?;
                found.roots.push(Root {
                    path: root.real.clone(),
                    known,
                });
            }
        }
        found.masks = found.collect(whole);
        Ok(found)
    }

    fn find_with(
        rules: &MaskRules,
        shown: Vec<Located>,
        kept: Option<&Path>,
        tick: Duration,
    ) -> Result<Self, MaskError> {
        let mut found = Self::recall_with(rules, shown, kept, tick)?;
        found.confirm_with(rules, kept, tick)?;
        Ok(found)
    }

    /// Asks whether what people keep is as the lists say, and looks anew where it is not. Says whether anything has to be
    /// masked or protected otherwise than was recalled.
    ///
    /// # Errors
    /// As for [`Masks::find`].
    pub fn confirm(&mut self, rules: &MaskRules, kept: Option<&Path>) -> Result<bool, MaskError> {
        self.confirm_with(rules, kept, TICK)
    }

    fn confirm_with(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
        tick: Duration,
    ) -> Result<bool, MaskError> {
        let mut renewed = false;
        let before = self.protected();
        for root in &mut self.roots {
            renewed |= confirm(rules, root, kept, tick)
                .map_err(|error| MaskError::new(&root.path, error))?;
        }
        // What a file that is shown by itself holds, and where links lead to, is in no list.
        let masks = self.collect(self.whole(rules));
        let differs = masks != self.masks || (renewed && before != self.protected());
        self.masks = masks;
        Ok(differs)
    }

    /// Looks into the folders whose list was believed, and yields what is to be masked beside what is masked already.
    ///
    /// # Errors
    /// As for [`Masks::find`].
    pub fn look_through_the_rest(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
    ) -> Result<Vec<Mask>, MaskError> {
        let before = self.masks.clone();
        self.look_again(rules, kept, &[Part::Filled], &NEVER)?;
        let is_new = |mask: &&Mask| {
            let place = before.binary_search_by(|old| old.path.cmp(&mask.path));
            place.is_err()
        };
        Ok(self.masks.iter().filter(is_new).cloned().collect())
    }

    /// Looks once more at what people keep, and yields what the host runs, or takes settings from, and was not there `before`,
    /// which [`Masks::protected`] said then.
    ///
    /// # Errors
    /// As for [`Masks::find`].
    pub fn protected_since(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
        before: &[(PathBuf, bool)],
    ) -> Result<BTreeSet<PathBuf>, MaskError> {
        for root in &mut self.roots {
            let renewed = match &root.known {
                Known::AsItWas(_) => confirm(rules, root, kept, TICK).map(drop),
                Known::Tree(_) => look_again(rules, root, kept, &[Part::Kept], &NEVER).map(drop),
            };
            renewed.map_err(|error| MaskError::new(&root.path, error))?;
        }
        Ok(self.protected_beside(before))
    }

    fn protected_beside(&self, before: &[(PathBuf, bool)]) -> BTreeSet<PathBuf> {
        let all = self.protected().into_iter();
        all.filter(|path| before.binary_search(path).is_err())
            .map(|(path, _)| path)
            .collect()
    }

    /// Looks once more at what people keep, some time after it was confirmed, and says whether anything else has to be hidden or
    /// protected by now.
    ///
    /// # Errors
    /// As for [`Masks::find`].
    pub fn changed_since(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
    ) -> Result<bool, MaskError> {
        let before = (self.masks.clone(), self.protected());
        self.look_again(rules, kept, &[Part::Kept], &NEVER)?;
        Ok(before.0 != self.masks || before.1 != self.protected())
    }

    /// Looks once more at everything that changed since, and yields what has to be masked, if anything did: all of it, since a
    /// file that took the place of a masked one took its mask away.
    fn look_through_all(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
        stop: &AtomicBool,
    ) -> Result<Vec<Mask>, MaskError> {
        let changed = self.look_again(rules, kept, &[Part::Kept, Part::Filled], stop)?;
        Ok(if changed {
            self.masks.clone()
        } else {
            Vec::new()
        })
    }

    /// Says whether anything changed.
    fn look_again(
        &mut self,
        rules: &MaskRules,
        kept: Option<&Path>,
        parts: &[Part],
        stop: &AtomicBool,
    ) -> Result<bool, MaskError> {
        let mut any = false;
        for root in &mut self.roots {
            any |= look_again(rules, root, kept, parts, stop)
                .map_err(|error| MaskError::new(&root.path, error))?;
        }
        self.masks = self.collect(self.whole(rules));
        Ok(any)
    }

    /// What the host runs, or takes settings from, below these paths, and whether it is a folder.
    pub fn protected(&self) -> Vec<(PathBuf, bool)> {
        let mut all = Vec::new();
        for root in &self.roots {
            let protected = root.protected().into_iter();
            all.extend(
                protected.map(|(below, directory)| (below_root(&root.path, &below), directory)),
            );
        }
        all.sort();
        all
    }

    /// Shown paths that are masked as a whole.
    fn whole(&self, rules: &MaskRules) -> Vec<Mask> {
        let roots = outermost(&self.shown).into_iter();
        roots.filter_map(|root| of_root(rules, root)).collect()
    }

    fn collect(&self, whole: Vec<Mask>) -> Vec<Mask> {
        let mut found: BTreeMap<PathBuf, Mask> = BTreeMap::new();
        let mut put = |mask: Mask| found.entry(mask.path.clone()).or_insert(mask).rule;
        whole.into_iter().map(&mut put).for_each(drop);
        for root in &self.roots {
            for masked in root.masked() {
                put(Mask {
                    path: below_root(&root.path, &masked.path),
                    directory: masked.directory,
                    rule: masked.rule as usize,
                    why: masked.why,
                });
            }
        }
        for root in &self.roots {
            for (below, rule) in root.links() {
                of_link(&self.shown, &below_root(&root.path, &below), rule as usize).map(&mut put);
            }
        }
        without_those_below(found)
    }
}

/// `Path::join` would put a slash behind the root for an empty path.
fn below_root(root: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        root.to_path_buf()
    } else {
        root.join(below)
    }
}

/// The roots that lie in no other one.
fn outermost(shown: &[Located]) -> Vec<&Located> {
    let within = |a: &Located, b: &Located| a.real != b.real && a.real.starts_with(&b.real);
    let mut roots: Vec<&Located> = shown
        .iter()
        .filter(|root| {
            !shown
                .iter()
                .any(|other| other.folder && within(root, other))
        })
        .collect();
    roots.sort_by(|a, b| a.real.cmp(&b.real));
    roots.dedup_by(|a, b| a.real == b.real);
    roots
}

/// A shown path that is masked as a whole, by the name it was written with or its real one.
fn of_root(rules: &MaskRules, root: &Located) -> Option<Mask> {
    let mut paths = vec![&root.written];
    if root.real != root.written {
        paths.push(&root.real);
    }
    let rule = paths
        .into_iter()
        .find_map(|path| match rules.judge_path(path, root.folder) {
            Decision::Clear => None,
            Decision::Masked(rule) => Some(rule),
            Decision::Look(asked) => scan::look_at(&root.real, &asked),
        })?;
    Some(Mask {
        path: root.real.clone(),
        directory: root.folder,
        rule: rule as usize,
        why: Why::Name,
    })
}

/// What a link of a masked name leads to is masked, if it is shown.
fn of_link(shown: &[Located], link: &Path, rule: usize) -> Option<Mask> {
    let path = link.canonicalize().ok()?;
    let is_shown = |root: &Located| path.starts_with(&root.real) && path != root.real;
    shown.iter().any(is_shown).then(|| Mask {
        directory: path.is_dir(),
        path,
        rule,
        why: Why::LinkTarget,
    })
}

/// A masked folder is empty: nothing in it needs a mask.
fn without_those_below(found: BTreeMap<PathBuf, Mask>) -> Vec<Mask> {
    let mut masks: Vec<Mask> = Vec::with_capacity(found.len());
    let mut folders: Vec<PathBuf> = Vec::new();
    for (path, mask) in found {
        folders.retain(|folder| path.starts_with(folder));
        if !folders.is_empty() {
            continue;
        }
        if mask.directory {
            folders.push(path);
        }
        masks.push(mask);
    }
    masks
}

#[cfg(test)]
mod tests;
