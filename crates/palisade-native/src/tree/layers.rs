//! What lies at a path inside, as far as it is known before anything is mounted.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a path's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// The new root: in memory, read-only in the end. We may create there.
    Root,
    /// In memory and writable. We may create there.
    Scratch,
    /// The host, the kernel, or something laid over those: we create nothing there.
    Foreign,
}

/// The layers, the later above the earlier.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: Vec<(PathBuf, Backing)>,
    made: HashSet<PathBuf>,
    links: HashSet<PathBuf>,
}

impl Layers {
    /// What `path` itself is part of.
    pub(super) fn backing(&self, path: &Path) -> Backing {
        let holders = self.layers.iter().filter(|(layer, _)| lies_in(path, layer));
        holders
            .max_by_key(|(layer, _)| layer.as_os_str().len())
            .map_or(Backing::Root, |(_, backing)| *backing)
    }

    /// What the directory that holds `path` is part of.
    pub(super) fn backing_of_parent(&self, path: &Path) -> Backing {
        path.parent()
            .map_or(Backing::Root, |parent| self.backing(parent))
    }

    /// Lays something over `path`; what was known of it is forgotten.
    pub(super) fn cover(&mut self, path: &Path, backing: Backing) {
        self.layers.retain(|(layer, _)| !lies_in(layer, path));
        self.made
            .retain(|made| made == path || !lies_in(made, path));
        self.links.retain(|link| !lies_in(link, path));
        self.layers.push((path.to_owned(), backing));
    }

    /// Notes that we create `path`; `false` when we did so before.
    pub(super) fn make(&mut self, path: &Path) -> bool {
        self.made.insert(path.to_owned())
    }

    /// Notes that we create a symbolic link.
    pub(super) fn link(&mut self, path: &Path) {
        self.links.insert(path.to_owned());
    }

    /// The symbolic link of ours that lies on the way to `path` or at it. What would be made "below" it would be made
    /// wherever it leads.
    pub(super) fn link_on_the_way(&self, path: &Path) -> Option<&Path> {
        path.ancestors()
            .find_map(|a| self.links.get(a))
            .map(PathBuf::as_path)
    }
}

/// [`Path::starts_with`], asked for every pair of places at each start: most pairs differ in a letter, which is told
/// without taking both paths apart. Where a slash or dot differs, they may be one path in two spellings.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let (path_bytes, folder_bytes) = (path.as_os_str().as_bytes(), folder.as_os_str().as_bytes());
    let differing = path_bytes.iter().zip(folder_bytes).find(|(a, b)| a != b);
    match differing {
        Some((a, b)) if [a, b].iter().all(|byte| !matches!(byte, b'/' | b'.')) => false,
        _ => path.starts_with(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_layer_holds_a_path_and_a_new_one_hides_those_below() {
        let mut layers = Layers::default();
        let path = Path::new;
        assert_eq!(layers.backing(path("/a/b")), Backing::Root);
        layers.cover(path("/a"), Backing::Scratch);
        layers.cover(path("/a/b"), Backing::Foreign);
        assert_eq!(layers.backing(path("/a/x")), Backing::Scratch);
        assert_eq!(layers.backing(path("/a/b/c")), Backing::Foreign);
        assert_eq!(layers.backing_of_parent(path("/a/b")), Backing::Scratch);
        assert_eq!(layers.backing(path("/ab")), Backing::Root);
        layers.cover(path("/a"), Backing::Scratch);
        assert_eq!(layers.backing(path("/a/b/c")), Backing::Scratch);
    }

    #[test]
    fn links_on_the_way_are_found() {
        let mut layers = Layers::default();
        layers.link(Path::new("/bin"));
        assert!(layers.link_on_the_way(Path::new("/bin")).is_some());
        assert!(layers.link_on_the_way(Path::new("/bin/sh")).is_some());
        assert!(layers.link_on_the_way(Path::new("/usr/bin")).is_none());
    }

    #[test]
    fn the_short_way_answers_as_the_long_one() {
        let spellings = [
            "/", "/a", "/ab", "/a/b", "/a//b", "/a/./b", "/a/b/", "/a/bc", "/b", "/a.b", "/a/.b",
            "a", "",
        ];
        for path in spellings.map(Path::new) {
            for folder in spellings.map(Path::new) {
                assert_eq!(
                    lies_in(path, folder),
                    path.starts_with(folder),
                    "{path:?} {folder:?}"
                );
            }
        }
    }
}
