//! Where paths of the host are seen inside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palisade_protocol::{TreeAccess, TreeEntry};

/// What shows paths of the host.
pub(super) struct Inside {
    /// What shows the host's folders and files, in building order.
    shown: Vec<Shown>,
}

pub(super) struct Shown {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    /// What is written there lands on the host at once.
    writable: bool,
}

impl Inside {
    pub(super) fn new(tree: &[TreeEntry]) -> Self {
        let shown = tree.iter().filter_map(|entry| {
            let (source, target, writable) = match entry {
                TreeEntry::Bind {
                    source,
                    target,
                    access,
                    ..
                } => (source, target, *access == TreeAccess::Write),
                TreeEntry::Overlay { source, target, .. } => (source, target, false),
                _ => return None,
            };
            Some(Shown {
                source: source.clone(),
                target: target.clone(),
                writable,
            })
        });
        Self {
            shown: shown.collect(),
        }
    }

    /// The paths inside by which a path of the host is seen, and what shows it there.
    fn seen(&self, path: &Path) -> BTreeMap<PathBuf, &Shown> {
        let places = self.shown.iter().filter_map(|shown| {
            let below = path.strip_prefix(&shown.source).ok()?;
            let inside = if below.as_os_str().is_empty() {
                shown.target.clone()
            } else {
                shown.target.join(below)
            };
            // Another entry may lie over this one there.
            let over = self
                .shown
                .iter()
                .filter(|over| inside.starts_with(&over.target));
            let deepest = over.max_by_key(|over| over.target.as_os_str().len())?;
            path.starts_with(&deepest.source)
                .then_some((inside, deepest))
        });
        places.collect()
    }

    pub(super) fn of(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        self.seen(path).into_keys()
    }

    /// The same, where it could be written.
    pub(super) fn writable(&self, path: &Path) -> impl Iterator<Item = (&Shown, PathBuf)> {
        let seen = self.seen(path).into_iter();
        seen.filter(|(_, shown)| shown.writable)
            .map(|(inside, shown)| (shown, inside))
    }
}

#[cfg(test)]
mod tests {
    use palisade_protocol::Ownership;

    use super::*;

    fn bind(source: &str, target: &str) -> TreeEntry {
        TreeEntry::Bind {
            source: source.into(),
            target: target.into(),
            access: TreeAccess::Read,
            ownership: Ownership::Host,
        }
    }

    #[test]
    fn a_path_is_masked_wherever_it_is_seen() {
        let tree = [
            bind("/usr", "/usr"),
            bind("/w", "/w"),
            bind("/w/a", "/w/a"),
            bind("/w/a", "/home/ada/a"),
            bind("/other", "/w/covered"),
            bind("/w/one", "/x/one"),
        ];
        let inside = Inside::new(&tree);
        let of = |path: &str| -> Vec<String> {
            let paths = inside.of(Path::new(path));
            paths.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("/w/.env"), ["/w/.env"]);
        assert_eq!(of("/w/a/.env"), ["/home/ada/a/.env", "/w/a/.env"]);
        assert_eq!(of("/w/one"), ["/w/one", "/x/one"]);
        assert_eq!(of("/w/covered/.env"), [""; 0], "something else lies there");
        assert_eq!(of("/home/.env"), [""; 0]);
    }
}
