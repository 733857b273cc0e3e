//! What the engine mounts, and what palisade's own hand lays over that.
//!
//! An engine mounts nothing with owners mapped, and before the hand does. So whatever lies in something that the hand lays is
//! laid by it too, and where it begins the engine mounts something empty, for the place to be there. Masks are the hand's
//! all: it lays them over what is there, and makes nothing where nothing is.

use std::path::PathBuf;

use super::host::{Found, what_is_at};
use super::{Layout, Mount, What};

impl Layout {
    /// Takes what is the hand's out of the engine's mounts, which are in order.
    pub(super) fn split(&mut self) {
        let mut beginnings: Vec<PathBuf> = Vec::new();
        let mut kept = Vec::new();
        for mount in std::mem::take(&mut self.mounts) {
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
}

fn is_directory(what: &What) -> bool {
    match what {
        What::Mapped { source, .. } => {
            matches!(what_is_at(source), Ok(Found::Directory))
        }
        _ => true,
    }
}
