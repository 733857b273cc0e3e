//! Masks: secrets that lie in what is shown, and what to lay over them.
//!
//! A mask is a mount of something empty over one path, which costs nothing where there is none. To know the paths, the shown
//! folders have to be looked through. That is done once; a list is kept, and the next session asks each folder only
//! whether it is as it was (its inode and the time of its last change, which a program cannot set).
//!
//! ```text
//!   table, pattern, rules   which names, and what the policy adds or takes out
//!   content                 files whose name alone does not say it
//!   scan, tree, workers     looking through folders, in parallel, again where something changed
//!   index                   the list as a file
//! ```
//!
//! A layer that decides at each look-up would need no list. There is none that an ordinary user can have at the price: a FUSE
//! file system asks another process for each name and each open file, some ten microseconds each, where `git status` of 100,000
//! files takes two for each in all; a filter of system calls that asks would pay that for each open file, and could be
//! misled by a thread that changes the name meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};

mod content;
mod index;
mod pattern;
mod rules;
mod scan;
mod table;
mod tree;
mod workers;

pub use pattern::{MaskPattern, PatternError};
pub use rules::{BUILT_IN, MaskRule, MaskRules, WrittenPattern};
pub use scan::Why;

use crate::paths::Located;
use rules::Verdict;
use tree::{Part, Place, Tree};

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
    trees: Vec<(PathBuf, Tree)>,
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

    fn find_with(
        rules: &MaskRules,
        shown: Vec<Located>,
        kept: Option<&Path>,
        tick: Duration,
    ) -> Result<Self, MaskError> {
        let mut trees = Vec::new();
        for root in outermost(&shown) {
            if root.folder && of_root(rules, root).is_none() {
                let tree = look_through(rules, &root.real, kept, tick)
                    .map_err(|error| MaskError::new(&root.real, error))?;
                trees.push((root.real.clone(), tree));
            }
        }
        let mut found = Self {
            masks: Vec::new(),
            shown,
            trees,
        };
        found.masks = found.collect(rules);
        Ok(found)
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
        for (root, tree) in &mut self.trees {
            look_through_rest(rules, root, tree, kept)
                .map_err(|error| MaskError::new(root, error))?;
        }
        let now = self.collect(rules);
        let before = std::mem::replace(&mut self.masks, now);
        let is_new = |mask: &&Mask| {
            before
                .binary_search_by(|old| old.path.cmp(&mask.path))
                .is_err()
        };
        Ok(self.masks.iter().filter(is_new).cloned().collect())
    }

    fn collect(&self, rules: &MaskRules) -> Vec<Mask> {
        let mut found: BTreeMap<PathBuf, Mask> = BTreeMap::new();
        let mut put = |mask: Mask| found.entry(mask.path.clone()).or_insert(mask).rule;
        for root in outermost(&self.shown) {
            of_root(rules, root).map(&mut put);
        }
        for (root, tree) in &self.trees {
            for (below, finding) in tree.masked() {
                put(Mask {
                    path: below_root(root, &below),
                    directory: finding.directory,
                    rule: finding.rule as usize,
                    why: finding.why,
                });
            }
        }
        for (root, tree) in &self.trees {
            for (below, rule) in tree.masked_links() {
                of_link(&self.shown, &below_root(root, &below), rule as usize).map(&mut put);
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
            Verdict::Clear => None,
            Verdict::Masked(rule) => Some(rule),
            Verdict::Look(asked) => scan::look_at(&root.real, &asked),
        })?;
    Some(Mask {
        path: root.real.clone(),
        directory: root.folder,
        rule: rule as usize,
        why: Why::Name,
    })
}

fn look_through(
    rules: &MaskRules,
    root: &Path,
    kept: Option<&Path>,
    tick: Duration,
) -> io::Result<Tree> {
    let at = open(root)?;
    let place = Place {
        rules,
        root,
        at: at.as_fd(),
        tick,
    };
    let file = kept.map(|folder| index::path(folder, root));
    let known = file
        .as_ref()
        .and_then(|file| index::read(file, root, rules.digest()));
    let (tree, changed) = match known {
        Some(mut tree) => {
            let changed = tree.renew(place, Part::Kept)?;
            (tree, changed)
        }
        None => (Tree::new(place)?, true),
    };
    if changed {
        keep(rules, root, &tree, kept);
    }
    Ok(tree)
}

fn look_through_rest(
    rules: &MaskRules,
    root: &Path,
    tree: &mut Tree,
    kept: Option<&Path>,
) -> io::Result<()> {
    let at = open(root)?;
    let place = Place {
        rules,
        root,
        at: at.as_fd(),
        tick: TICK,
    };
    if tree.renew(place, Part::Filled)? {
        keep(rules, root, tree, kept);
    }
    Ok(())
}

fn open(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, root, flags, Mode::empty())?)
}

/// Without a list, or with an old one, the next session looks through more than it would have to, so a failure is none here.
fn keep(rules: &MaskRules, root: &Path, tree: &Tree, kept: Option<&Path>) {
    if let Some(folder) = kept {
        let file = index::path(folder, root);
        let _ = index::write(&file, root, rules.digest(), tree);
    }
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
