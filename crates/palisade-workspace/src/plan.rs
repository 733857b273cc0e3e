//! The workspace and what else the policy shows.

use std::path::{Path, PathBuf};

use palisade_protocol::{Ownership, TreeAccess, TreeEntry};

use crate::paths::Located;

/// One path the policy shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPath {
    /// Which.
    pub path: Located,
    /// How it may be used.
    pub access: TreeAccess,
}

/// What [`workspace_tree`] needs to know. Every path was checked by [`check_workspace`](crate::check_workspace) or
/// [`check_shown`](crate::check_shown).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspacePlan {
    /// The workspace's real path; it has the same one inside.
    pub workspace: PathBuf,
    /// How the workspace may be used.
    pub access: TreeAccess,
    /// What else is shown. A later entry of the same path replaces an earlier one.
    pub shown: Vec<ShownPath>,
    /// Real paths of files the session is governed by. Where one of them could be written inside, it is made read-only.
    pub governing: Vec<PathBuf>,
}

/// The operator's half of the tree, to be built after the system's.
///
/// A shown path has the path inside that it was written with, so that programs find it where they look
/// (`~/.gitconfig`, be it a link or not).
pub fn workspace_tree(plan: &WorkspacePlan) -> Vec<TreeEntry> {
    let mut places = Vec::with_capacity(plan.shown.len() + 1);
    for shown in &plan.shown {
        let place = Place {
            source: shown.path.real.clone(),
            target: target_of(&shown.path, plan),
            access: shown.access,
        };
        put(&mut places, place);
    }
    // Last, so that its access is the one `access` names even where `read` or `write` name the same folder.
    let workspace = Place {
        source: plan.workspace.clone(),
        target: plan.workspace.clone(),
        access: plan.access,
    };
    put(&mut places, workspace);
    for file in &plan.governing {
        for pin in pins(&places, file) {
            put(&mut places, pin);
        }
    }
    places.sort_by(|a, b| {
        let depth = |place: &Place| place.target.components().count();
        depth(a)
            .cmp(&depth(b))
            .then_with(|| a.target.cmp(&b.target))
    });
    places.into_iter().map(Place::bind).collect()
}

/// Whether a host path is to be seen inside under the same path: what decides which folders of `PATH` are of use there.
pub fn is_shown(tree: &[TreeEntry], path: &Path) -> bool {
    tree.iter().any(|entry| match entry {
        TreeEntry::Bind { target, .. } => path.starts_with(target),
        TreeEntry::Symlink { path: link, .. } => path.starts_with(link),
        _ => false,
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    source: PathBuf,
    target: PathBuf,
    access: TreeAccess,
}

impl Place {
    fn bind(self) -> TreeEntry {
        TreeEntry::Bind {
            source: self.source,
            target: self.target,
            access: self.access,
            ownership: Ownership::Agent,
        }
    }
}

fn put(places: &mut Vec<Place>, place: Place) {
    places.retain(|earlier| earlier.target != place.target);
    places.push(place);
}

/// Where a shown path appears. Below another shown folder its links exist inside as they do outside, and an agent that can
/// write there could turn them between two sessions; so there the real path is used, to which the links lead.
fn target_of(path: &Located, plan: &WorkspacePlan) -> PathBuf {
    let below_shown = path.written.starts_with(&plan.workspace)
        || plan.shown.iter().any(|other| {
            path.written != other.path.written && path.written.starts_with(&other.path.written)
        });
    if below_shown {
        path.real.clone()
    } else {
        path.written.clone()
    }
}

/// Binds that keep a governing file as it is wherever the inside could write it.
///
/// A bind mount over the file keeps it from being written, renamed and removed (the kernel refuses with EBUSY to
/// rename or remove a mount point, rename(2)), but not the folders above it: those are bound over themselves.
fn pins(places: &[Place], file: &Path) -> Vec<Place> {
    let mut pins = Vec::new();
    for place in places {
        if place.access != TreeAccess::Write {
            continue;
        }
        let Ok(below) = file.strip_prefix(&place.source) else {
            continue;
        };
        let inside = |below: &Path| {
            if below.as_os_str().is_empty() {
                place.target.clone()
            } else {
                place.target.join(below)
            }
        };
        let deepest = places
            .iter()
            .filter(|other| inside(below).starts_with(&other.target))
            .max_by_key(|other| other.target.components().count());
        if deepest != Some(place) {
            continue;
        }
        pins.push(Place {
            source: file.to_path_buf(),
            target: inside(below),
            access: TreeAccess::Read,
        });
        let folders = below
            .ancestors()
            .skip(1)
            .filter(|folder| !folder.as_os_str().is_empty());
        pins.extend(folders.map(|folder| Place {
            source: place.source.join(folder),
            target: inside(folder),
            access: TreeAccess::Write,
        }));
    }
    pins
}

#[cfg(test)]
mod tests {
    use super::*;
    use TreeAccess::{Read, Write};

    fn shown(written: &str, real: &str, access: TreeAccess) -> ShownPath {
        ShownPath {
            path: Located {
                written: written.into(),
                real: real.into(),
                folder: true,
            },
            access,
        }
    }

    fn plan(access: TreeAccess, shown: Vec<ShownPath>, governing: &[&str]) -> WorkspacePlan {
        WorkspacePlan {
            workspace: "/w/p".into(),
            access,
            shown,
            governing: governing.iter().map(PathBuf::from).collect(),
        }
    }

    fn binds(plan: &WorkspacePlan) -> Vec<(String, String, TreeAccess)> {
        workspace_tree(plan)
            .into_iter()
            .map(|entry| match entry {
                TreeEntry::Bind {
                    source,
                    target,
                    access,
                    ownership: Ownership::Agent,
                } => (
                    source.display().to_string(),
                    target.display().to_string(),
                    access,
                ),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn same(path: &str, access: TreeAccess) -> (String, String, TreeAccess) {
        (path.into(), path.into(), access)
    }

    #[test]
    fn parents_come_first_and_the_last_word_on_a_path_counts() {
        let plan = plan(
            Write,
            vec![
                shown("/w/p/vendor/deep", "/w/p/vendor/deep", Write),
                shown("/w/p/vendor", "/w/p/vendor", Read),
                shown("/w", "/w", Read),
                shown("/s", "/s", Write),
                shown("/s", "/s", Read),
                shown("/w/p", "/w/p", Read),
            ],
            &[],
        );
        assert_eq!(
            binds(&plan),
            [
                same("/s", Read),
                same("/w", Read),
                same("/w/p", Write),
                same("/w/p/vendor", Read),
                same("/w/p/vendor/deep", Write),
            ]
        );
    }

    #[test]
    fn a_linked_file_appears_where_it_was_written() {
        let plan = plan(
            Write,
            vec![
                shown("/home/ada/.gitconfig", "/home/ada/dot/git", Read),
                shown("/w/p/link", "/etc/x", Read),
            ],
            &[],
        );
        assert_eq!(
            binds(&plan),
            [
                same("/etc/x", Read),
                same("/w/p", Write),
                (
                    "/home/ada/dot/git".into(),
                    "/home/ada/.gitconfig".into(),
                    Read
                ),
            ],
            "a link inside the workspace is no target"
        );
    }

    #[test]
    fn governing_files_are_read_only_in_a_writable_workspace() {
        let writable = plan(
            Write,
            vec![],
            &["/w/p/palisade.toml", "/w/p/ci/a/strict.toml", "/home/x"],
        );
        assert_eq!(
            binds(&writable),
            [
                same("/w/p", Write),
                same("/w/p/ci", Write),
                same("/w/p/palisade.toml", Read),
                same("/w/p/ci/a", Write),
                same("/w/p/ci/a/strict.toml", Read),
            ]
        );
        let read = plan(Read, vec![], &["/w/p/palisade.toml"]);
        assert_eq!(binds(&read), [same("/w/p", Read)]);
    }

    #[test]
    fn governing_files_are_read_only_under_every_name() {
        let plan = plan(
            Read,
            vec![
                shown("/home/ada/conf", "/data/conf", Write),
                shown("/data", "/data", Read),
            ],
            &["/data/conf/policy.toml"],
        );
        assert!(binds(&plan).contains(&(
            "/data/conf/policy.toml".into(),
            "/home/ada/conf/policy.toml".into(),
            Read
        )));
        assert!(
            !binds(&plan).contains(&same("/data/conf/policy.toml", Read)),
            "/data is read-only already"
        );
    }

    #[test]
    fn paths_on_the_inside_are_told_apart() {
        let tree = workspace_tree(&plan(Write, vec![], &[]));
        assert!(is_shown(&tree, Path::new("/w/p/bin")));
        assert!(!is_shown(&tree, Path::new("/w/other/bin")));
    }
}
