//! One folder that was looked through, from session to session.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::index::{self, Kept, Masked};
use super::rules::{MaskRules, RuleIndex};
use super::tree::{Part, Place, Tree, is_as_it_was};
use super::{NEVER, TICK};

/// A folder that was looked through.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) known: Known,
}

/// What is known of it.
#[derive(Debug)]
pub(super) enum Known {
    /// As it is kept: all that people keep is as it was, so the list was not even read whole.
    AsItWas(Kept),
    Tree(Tree),
}

impl Root {
    pub(super) fn masked(&self) -> Vec<Masked> {
        match &self.known {
            Known::AsItWas(kept) => kept.masked.clone(),
            Known::Tree(tree) => tree
                .masked()
                .map(|(path, finding)| Masked {
                    path,
                    directory: finding.directory,
                    rule: finding.rule,
                    why: finding.why,
                })
                .collect(),
        }
    }

    pub(super) fn protected(&self) -> Vec<(PathBuf, bool)> {
        match &self.known {
            Known::AsItWas(kept) => kept.protected.clone(),
            Known::Tree(tree) => tree.protected().collect(),
        }
    }

    pub(super) fn links(&self) -> Vec<(PathBuf, RuleIndex)> {
        match &self.known {
            Known::AsItWas(kept) => kept.links.clone(),
            Known::Tree(tree) => tree.masked_links().collect(),
        }
    }
}

pub(super) fn recall(
    rules: &MaskRules,
    root: &Path,
    folder: Option<&Path>,
    tick: Duration,
) -> io::Result<Known> {
    let kept = folder.and_then(|folder| {
        let file = index::path(folder, root);
        Kept::read(&file, root, rules.digest())
    });
    if let Some(kept) = kept {
        return Ok(Known::AsItWas(kept));
    }
    let at = open(root)?;
    let place = Place {
        rules,
        root,
        at: at.as_fd(),
        tick,
        stop: &NEVER,
    };
    let tree = Tree::new(place)?;
    keep(rules, root, &tree, folder);
    Ok(Known::Tree(tree))
}

/// Says whether it had to be looked into. A tree is what was seen, not what was recalled.
pub(super) fn confirm(
    rules: &MaskRules,
    root: &mut Root,
    folder: Option<&Path>,
    tick: Duration,
) -> io::Result<bool> {
    let Known::AsItWas(kept) = &root.known else {
        return Ok(false);
    };
    let at = open(&root.path)?;
    let at = at.as_fd();
    if kept.is_as_it_was(|path, time, inode| is_as_it_was(at, path, time, inode)) {
        return Ok(false);
    }
    let place = Place {
        rules,
        root: &root.path,
        at,
        tick,
        stop: &NEVER,
    };
    let (tree, changed) = match kept.tree() {
        Some(mut tree) => {
            let changed = tree.renew(place, Part::Kept)?;
            (tree, changed)
        }
        None => (Tree::new(place)?, true),
    };
    if changed {
        keep(rules, &root.path, &tree, folder);
    }
    root.known = Known::Tree(tree);
    Ok(true)
}

/// Says whether anything changed.
pub(super) fn look_again(
    rules: &MaskRules,
    root: &mut Root,
    folder: Option<&Path>,
    parts: &[Part],
    stop: &AtomicBool,
) -> io::Result<bool> {
    let at = open(&root.path)?;
    let place = Place {
        rules,
        root: &root.path,
        at: at.as_fd(),
        tick: TICK,
        stop,
    };
    let mut changed = false;
    if let Known::AsItWas(kept) = &root.known {
        let tree = kept.tree().map_or_else(
            || {
                changed = true;
                Tree::new(place)
            },
            Ok,
        )?;
        root.known = Known::Tree(tree);
    }
    if let Known::Tree(tree) = &mut root.known {
        for part in parts {
            changed |= tree.renew(place, *part)?;
        }
        if changed {
            keep(rules, &root.path, tree, folder);
        }
    }
    Ok(changed)
}

pub(super) fn open(root: &Path) -> io::Result<OwnedFd> {
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
