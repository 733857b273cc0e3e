//! What credentials are taken from stays out of the agent's reach: whatever the policy and the system show it, it can change
//! neither a source nor the way to one, and read no file that holds a secret.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use palisade_credential::Credentials;
use palisade_protocol::{Changes, TreeAccess, TreeEntry};

/// Links followed on the way to a file, as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// A source that is within the agent's reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "credential `{credential}` comes from {path}, {reach}: show less of {shown} (`[filesystem]`), or keep the source elsewhere"
)]
pub struct SourceShown {
    credential: String,
    path: PathBuf,
    reach: Reach,
    shown: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Writable,
    Readable,
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Writable => {
                "which the agent could change or replace, and with it what the gate sends"
            }
            Self::Readable => "which the agent could read",
        })
    }
}

/// Refuses a tree in which the agent reaches a source.
pub(crate) fn keep_sources(
    tree: &[TreeEntry],
    credentials: &Credentials,
) -> Result<(), SourceShown> {
    let error = |credential: &dyn ToString, path: &Path, reach, shown: &Path| SourceShown {
        credential: credential.to_string(),
        path: path.to_path_buf(),
        reach,
        shown: shown.to_path_buf(),
    };
    for (credential, path) in credentials.host_paths() {
        if let Some(shown) = changeable(tree, path) {
            return Err(error(credential, path, Reach::Writable, shown));
        }
    }
    for (credential, path) in credentials.secret_files() {
        if let Some(shown) = readable(tree, path) {
            return Err(error(credential, path, Reach::Readable, shown));
        }
    }
    Ok(())
}

/// What shows, writable, the file, or a name on the way to it that could be made to lead elsewhere.
fn changeable<'a>(tree: &'a [TreeEntry], path: &Path) -> Option<&'a Path> {
    let way = way_to(path);
    tree.iter().find_map(|entry| match entry {
        // What is kept to be reviewed lands there too, in the end.
        TreeEntry::Bind {
            source,
            access: TreeAccess::Write,
            ..
        }
        | TreeEntry::Overlay {
            source,
            changes: Changes::Kept(_),
            ..
        } => {
            // Whoever can write a folder can put another file under each of its names.
            let is_below =
                |step: &PathBuf| step.parent().is_some_and(|in_| in_.starts_with(source));
            let is_it = way.last().is_some_and(|real| real == source);
            (is_it || way.iter().any(is_below)).then_some(source.as_path())
        }
        _ => None,
    })
}

/// What shows the file in some way, unless something else covers it there.
fn readable<'a>(tree: &'a [TreeEntry], path: &Path) -> Option<&'a Path> {
    let real = way_to(path).pop()?;
    tree.iter().enumerate().find_map(|(place, entry)| {
        let (TreeEntry::Bind { source, target, .. } | TreeEntry::Overlay { source, target, .. }) =
            entry
        else {
            return None;
        };
        let below = real.strip_prefix(source).ok()?;
        let inside = if below.as_os_str().is_empty() {
            target.clone()
        } else {
            target.join(below)
        };
        let covers = |later: &TreeEntry| {
            let cover = target_of(later);
            cover.is_some_and(|cover| inside.starts_with(cover))
        };
        let is_covered = tree[place + 1..].iter().any(covers);
        (!is_covered).then_some(source.as_path())
    })
}

fn target_of(entry: &TreeEntry) -> Option<&Path> {
    match entry {
        TreeEntry::Bind { target, .. } | TreeEntry::Overlay { target, .. } => Some(target),
        TreeEntry::File { path, .. }
        | TreeEntry::Scratch { path, .. }
        | TreeEntry::Mask { path, .. }
        | TreeEntry::Tmpfs { path, .. } => Some(path),
        // A directory or a link is made on the root, which is below all that is bound.
        TreeEntry::Dir { .. } | TreeEntry::Symlink { .. } | TreeEntry::Proc | TreeEntry::Dev => {
            None
        }
    }
}

/// The real place of every name that is looked up to reach this path, links among them; the last one is the file itself.
/// What does not exist is taken as it is written.
fn way_to(path: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut at = PathBuf::from("/");
    let mut left: Vec<OsString> = names(path);
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let step = at.join(&name);
        way.push(step.clone());
        match std::fs::read_link(&step) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(names(&target));
            }
            _ => at = step,
        }
    }
    if way.last() != Some(&at) {
        way.push(at);
    }
    way
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use palisade_protocol::Ownership;

    use super::*;

    fn bind(source: &Path, target: &Path, access: TreeAccess) -> TreeEntry {
        TreeEntry::Bind {
            source: source.to_path_buf(),
            target: target.to_path_buf(),
            access,
            ownership: Ownership::Agent,
        }
    }

    struct World {
        _folder: tempfile::TempDir,
        root: PathBuf,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["project", "keys", "shown"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        for name in ["keys/token", "project/token", "shown/token"] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        World {
            _folder: folder,
            root,
        }
    }

    #[test]
    fn a_link_that_the_agent_could_turn_is_as_bad_as_the_file() {
        let World { root, .. } = &world();
        symlink(root.join("keys"), root.join("project/link")).unwrap();
        symlink("../project/link/token", root.join("keys/by-way-of-project")).unwrap();
        symlink("loop", root.join("project/loop")).unwrap();
        let project = root.join("project");
        let tree = [bind(&project, &project, TreeAccess::Write)];
        for path in [
            "project/token",
            "project/link/token",
            "keys/by-way-of-project",
            "keys/../project/token",
            "project/none/yet",
            "project/loop",
        ] {
            let path = root.join(path);
            assert_eq!(
                changeable(&tree, &path),
                Some(project.as_path()),
                "{path:?}"
            );
            let read = [bind(&project, &project, TreeAccess::Read)];
            assert_eq!(changeable(&read, &path), None);
        }
        for path in ["keys/token", "project/../keys/token", "none/yet"] {
            assert_eq!(changeable(&tree, &root.join(path)), None, "{path}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_under_any_name() {
        let World { root, .. } = &world();
        symlink(root.join("shown/token"), root.join("keys/link")).unwrap();
        let (shown, token) = (root.join("shown"), root.join("shown/token"));
        let elsewhere = [bind(&shown, Path::new("/mnt"), TreeAccess::Read)];
        assert_eq!(readable(&elsewhere, &token), Some(shown.as_path()));
        assert_eq!(
            readable(&elsewhere, &root.join("keys/link")),
            Some(shown.as_path())
        );
        assert_eq!(readable(&elsewhere, &root.join("keys/token")), None);
        let alone = [bind(&token, &token, TreeAccess::Read)];
        assert_eq!(readable(&alone, &token), Some(token.as_path()));
    }

    #[test]
    fn what_is_covered_is_not_seen() {
        let World { root, .. } = &world();
        let token = root.join("shown/token");
        let parent = bind(root, root, TreeAccess::Read);
        let scratch = TreeEntry::Scratch {
            path: root.join("shown"),
            mode: 0o700,
        };
        let tree = [parent.clone(), scratch.clone()];
        assert_eq!(readable(&tree, &token), None);
        // In this order it is the scratch directory that is covered.
        let tree = [scratch, parent];
        assert_eq!(readable(&tree, &token), Some(root.as_path()));
    }
}
