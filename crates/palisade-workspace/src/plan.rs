//! The workspace and what else the policy shows.

use std::path::{Path, PathBuf};

use palisade_protocol::{Changes, Ownership, TreeAccess, TreeEntry};

use crate::access::{Kept, Tmpfs, Volume, WorkspaceAccess};
use crate::paths::Located;

/// One path the policy shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPath {
    /// Which.
    pub path: Located,
    /// How it may be used.
    pub access: TreeAccess,
}

/// What [`workspace_tree`] needs to know. Every path was checked by [`check_workspace`](crate::check_workspace),
/// [`check_shown`](crate::check_shown) or [`check_made`](crate::check_made).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspacePlan {
    /// The workspace's real path; it has the same one inside.
    pub workspace: PathBuf,
    /// How the workspace may be used.
    pub access: WorkspaceAccess,
    /// Bytes that changes in memory may take.
    pub scratch_size: Option<u64>,
    /// What else is shown. A later entry of the same path replaces an earlier one.
    pub shown: Vec<ShownPath>,
    /// Folders that are kept between sessions.
    pub volumes: Vec<Volume>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Real paths of files the session is governed by. Where one of them could be written inside, it is made read-only.
    pub governing: Vec<PathBuf>,
    /// Where what outlives the session is kept.
    pub kept: Kept,
}

/// The operator's half of the tree, to be built after the system's.
///
/// A shown path has the path inside that it was written with, so that programs find it where they look
/// (`~/.gitconfig`, be it a link or not).
pub fn workspace_tree(plan: &WorkspacePlan) -> Vec<TreeEntry> {
    let mut places = Vec::with_capacity(plan.shown.len() + 1);
    for shown in &plan.shown {
        let source = shown.path.real.clone();
        put(
            &mut places,
            Place::bind(source, target_of(&shown.path, plan), shown.access),
        );
    }
    for volume in &plan.volumes {
        let source = plan.kept.volume(&volume.name);
        put(
            &mut places,
            Place::bind(source, volume.path.clone(), TreeAccess::Write),
        );
    }
    for Tmpfs { path, size, exec } in &plan.tmpfs {
        let what = What::Memory {
            size: *size,
            exec: *exec,
        };
        let target = path.clone();
        put(&mut places, Place { target, what });
    }
    // Last, so that its access is the one `access` names even where `read` or `write` name the same folder.
    put(&mut places, workspace(plan));
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
    places.into_iter().map(Place::entry).collect()
}

/// Whether a host path is to be seen inside under the same path: what decides which folders of `PATH` are of use there.
pub fn is_shown(tree: &[TreeEntry], path: &Path) -> bool {
    tree.iter().any(|entry| match entry {
        TreeEntry::Bind { target, .. } | TreeEntry::Overlay { target, .. } => {
            path.starts_with(target)
        }
        TreeEntry::Symlink { path: link, .. } => path.starts_with(link),
        _ => false,
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    target: PathBuf,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Bind { source: PathBuf, access: TreeAccess },
    Overlay { source: PathBuf, changes: Changes },
    Memory { size: Option<u64>, exec: bool },
}

impl Place {
    fn bind(source: PathBuf, target: PathBuf, access: TreeAccess) -> Self {
        Self {
            target,
            what: What::Bind { source, access },
        }
    }

    fn entry(self) -> TreeEntry {
        let ownership = Ownership::Agent;
        let target = self.target;
        match self.what {
            What::Bind { source, access } => TreeEntry::Bind {
                source,
                target,
                access,
                ownership,
            },
            What::Overlay { source, changes } => TreeEntry::Overlay {
                source,
                target,
                changes,
                ownership,
            },
            What::Memory { size, exec } => TreeEntry::Tmpfs {
                path: target,
                size,
                exec,
            },
        }
    }
}

fn workspace(plan: &WorkspacePlan) -> Place {
    let path = plan.workspace.clone();
    let overlay = |changes| Place {
        target: path.clone(),
        what: What::Overlay {
            source: path.clone(),
            changes,
        },
    };
    match plan.access {
        WorkspaceAccess::Read => Place::bind(path.clone(), path, TreeAccess::Read),
        WorkspaceAccess::Write => Place::bind(path.clone(), path, TreeAccess::Write),
        WorkspaceAccess::Review => overlay(Changes::Kept(plan.kept.changes.clone())),
        WorkspaceAccess::Scratch => overlay(Changes::Memory {
            size: plan.scratch_size,
        }),
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
/// rename or remove a mount point, rename(2)), but not the folders above it: those are bound over themselves. In an overlay
/// they need not be: it refuses to rename a folder of its lower layer (EXDEV without `redirect_dir`), and one that holds a
/// mount point cannot be emptied.
fn pins(places: &[Place], file: &Path) -> Vec<Place> {
    let mut pins = Vec::new();
    for place in places {
        let (source, folders_move) = match &place.what {
            What::Bind {
                source,
                access: TreeAccess::Write,
            } => (source, true),
            What::Overlay { source, .. } => (source, false),
            What::Bind { .. } | What::Memory { .. } => continue,
        };
        let Ok(below) = file.strip_prefix(source) else {
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
        let pin = Place::bind(file.to_path_buf(), inside(below), TreeAccess::Read);
        pins.push(pin);
        let folders = below
            .ancestors()
            .skip(1)
            .filter(|folder| folders_move && !folder.as_os_str().is_empty());
        pins.extend(
            folders
                .map(|folder| Place::bind(source.join(folder), inside(folder), TreeAccess::Write)),
        );
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
            access: match access {
                Read => WorkspaceAccess::Read,
                Write => WorkspaceAccess::Write,
            },
            scratch_size: None,
            shown,
            volumes: Vec::new(),
            tmpfs: Vec::new(),
            kept: Kept {
                changes: "/state/sessions/s/changes".into(),
                volumes: "/state/volumes".into(),
                masks: "/state/masks".into(),
            },
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

    #[test]
    fn changes_land_apart_and_governing_files_are_read_only_there_too() {
        for (access, changes) in [
            (
                WorkspaceAccess::Review,
                Changes::Kept("/state/sessions/s/changes".into()),
            ),
            (WorkspaceAccess::Scratch, Changes::Memory { size: Some(7) }),
        ] {
            let mut plan = plan(Write, vec![], &["/w/p/ci/strict.toml"]);
            (plan.access, plan.scratch_size) = (access, Some(7));
            let overlay = TreeEntry::Overlay {
                source: "/w/p".into(),
                target: "/w/p".into(),
                changes,
                ownership: Ownership::Agent,
            };
            let pinned = Place::bind(
                "/w/p/ci/strict.toml".into(),
                "/w/p/ci/strict.toml".into(),
                Read,
            );
            assert_eq!(workspace_tree(&plan), [overlay, pinned.entry()]);
            assert!(is_shown(&workspace_tree(&plan), Path::new("/w/p/bin")));
        }
    }

    #[test]
    fn volumes_and_memory_lie_over_what_is_shown() {
        let mut plan = plan(Write, vec![shown("/c", "/c", Read)], &["/c/v/policy.toml"]);
        plan.volumes.push(Volume {
            path: "/c/v".into(),
            name: crate::VolumeName::parse("pip").unwrap(),
        });
        plan.tmpfs.push(Tmpfs {
            path: "/w/p/target".into(),
            size: Some(5),
            exec: true,
        });
        let tree = workspace_tree(&plan);
        let volume = Place::bind("/state/volumes/pip/data".into(), "/c/v".into(), Write);
        assert_eq!(tree[1], volume.entry());
        let memory = TreeEntry::Tmpfs {
            path: "/w/p/target".into(),
            size: Some(5),
            exec: true,
        };
        assert_eq!(tree[3], memory);
        assert_eq!(tree.len(), 4, "what the volume covers needs no pin");
    }
}
