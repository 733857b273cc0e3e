//! What the engine mounts, and what palisade's own hand lays over that.
//!
//! An engine mounts nothing with owners mapped, keeps no changes in memory, and mounts before the hand does. Where the hand may show
//! the host's files, whatever lies in something that it lays is laid by it too, and where it begins the engine mounts something
//! empty, for the place to be there. Elsewhere the engine mounts what changes are kept apart from, and what lies in that, and the
//! hand moves it over. Masks are the hand's all where it needs no engine for that: it lays them over what is there, and makes
//! nothing where nothing is.

use std::path::{Path, PathBuf};

use super::host::{Found, what_is_at};
use super::{Layout, Mount, Reach, What};

impl Layout {
    /// Takes what is the hand's out of the engine's mounts, which are in order.
    pub(super) fn split(&mut self) {
        let mounts = std::mem::take(&mut self.mounts);
        if self.reach == Reach::Host {
            self.split_all(mounts);
        } else {
            self.split_inside(mounts);
        }
    }

    fn split_all(&mut self, mounts: Vec<Mount>) {
        let mut beginnings: Vec<PathBuf> = Vec::new();
        let mut kept = Vec::new();
        for mount in mounts {
            let within = beginnings.iter().any(|late| mount.target.starts_with(late));
            let is_mask = matches!(mount.what, What::Empty { .. });
            let begins = matches!(mount.what, What::Mapped { .. } | What::Layers { .. });
            if !within && !is_mask && !begins {
                kept.push(mount);
                continue;
            }
            if begins && !within {
                let target = mount.target.clone();
                let what = What::Empty {
                    directory: is_directory(&mount.what),
                };
                kept.push(Mount { target, what });
                beginnings.push(mount.target.clone());
            }
            self.late.push(mount);
        }
        self.mounts = kept;
    }

    fn split_inside(&mut self, mounts: Vec<Mount>) {
        let targets: Vec<PathBuf> = mounts.iter().map(|mount| mount.target.clone()).collect();
        for mount in mounts {
            let Mount { target, what } = &mount;
            let within = |other: &PathBuf| other != target && other.starts_with(target);
            match what {
                What::Layers { source, .. } => {
                    // Nothing is mounted below it: that was refused.
                    let what = What::Bind {
                        source: source.clone(),
                        read_only: true,
                        recursive: false,
                    };
                    let target = target.clone();
                    self.mounts.push(Mount { target, what });
                    self.late.push(mount);
                }
                // What is shown in something hidden has to lie over it.
                What::Empty { .. }
                    if self.reach == Reach::Inside && !targets.iter().any(within) =>
                {
                    let by_hand = |place: &crate::vanished::Place| place.inside != *target;
                    self.masked.retain(by_hand);
                    self.late.push(mount);
                }
                _ => self.mounts.push(mount),
            }
        }
    }

    /// Takes the masks out that lie in what palisade mounts before there is a sandbox: it lays them there, too.
    pub(super) fn split_masks(&mut self) {
        let is_own = |mount: &Mount| {
            let is_mask = matches!(mount.what, What::Empty { .. });
            let under = mount.target.parent().and_then(|above| self.covering(above));
            let begins = under.map(|m| matches!(m.what, What::Mapped { .. } | What::Layers { .. }));
            is_mask && begins == Some(true)
        };
        let (own, kept) = self.mounts.iter().cloned().partition(is_own);
        (self.late, self.mounts) = (own, kept);
    }

    /// Which of the mounts a path lies in.
    pub(crate) fn number_of(&self, path: &Path) -> Option<usize> {
        let over = self.mounts.iter().enumerate();
        let over = over.filter(|(_, mount)| path.starts_with(&mount.target));
        over.max_by_key(|(_, mount)| mount.target.components().count())
            .map(|(number, _)| number)
    }
}

fn is_directory(what: &What) -> bool {
    match what {
        What::Mapped { source, .. } => {
            matches!(what_is_at(source), Ok(Found::Directory))
        }
        _ => true,
    }
}
