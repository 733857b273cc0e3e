//! A tree of files as text, to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// All that is known of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) contents: Vec<u8>,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
    pub(crate) modified: i64,
    pub(crate) inode: u64,
}

pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// Reads a tree.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            let entry = entry_of(&root.join(&path));
            if entry.kind == "folder" {
                folders.push(path.clone());
            }
            tree.insert(path, entry);
        }
    }
    tree
}

fn entry_of(path: &Path) -> Entry {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let (kind, contents) = if kind.is_dir() {
        ("folder".to_owned(), Vec::new())
    } else if kind.is_symlink() {
        (
            format!("link to {:?}", fs::read_link(path).unwrap()),
            Vec::new(),
        )
    } else {
        assert!(kind.is_file());
        ("file".to_owned(), fs::read(path).unwrap())
    };
    Entry {
        kind,
        mode: meta.mode() & 0o777,
        contents,
        attributes: attributes(path),
        modified: meta.mtime(),
        inode: meta.ino(),
    }
}

/// The attributes `user.test…`.
pub(crate) fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for name in ["user.test0", "user.test1"] {
        let mut value = [0; 8];
        if let Ok(length) = rustix::fs::lgetxattr(path, name, &mut value[..]) {
            found.push((name.to_owned(), value[..length].to_vec()));
        }
    }
    found
}

/// What differs between a tree that was worked on and one that the changes were applied to. `start` is how both began.
pub(crate) fn differences(direct: &Tree, applied: &Tree, start: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    // A time alone is no change. A new name of such a file has the file's time.
    let unchanged = |(path, entry): &(&PathBuf, &Entry)| {
        let begun = start.get(*path);
        begun.is_some_and(|begun| same_contents(begun, entry))
    };
    let untouched: std::collections::BTreeSet<u64> = applied
        .iter()
        .filter(unchanged)
        .map(|(_, entry)| entry.inode)
        .collect();
    let paths: std::collections::BTreeSet<&PathBuf> = direct.keys().chain(applied.keys()).collect();
    for path in paths {
        let (one, other) = (direct.get(path), applied.get(path));
        let (Some(one), Some(other)) = (one, other) else {
            found.push(format!("{path:?}: {one:?} but {other:?}"));
            continue;
        };
        // A folder's attributes are the one thing that does not land.
        let attributes = one.kind == "folder" || one.attributes == other.attributes;
        if (&one.kind, one.mode, &one.contents) != (&other.kind, other.mode, &other.contents)
            || !attributes
        {
            found.push(format!("{path:?}: {} but {}", brief(one), brief(other)));
        }
        // Times that were set, of what was written.
        let written = !untouched.contains(&other.inode);
        if written && one.modified < 1_000_000_000 && one.modified != other.modified {
            found.push(format!(
                "{path:?}: time {} but {}",
                one.modified, other.modified
            ));
        }
    }
    let (one, other) = (groups(direct, start), groups(applied, start));
    if one != other {
        found.push(format!("names of one file: {one:?} but {other:?}"));
    }
    found
}

fn brief(entry: &Entry) -> String {
    let Entry {
        kind,
        mode,
        contents,
        attributes,
        ..
    } = entry;
    format!(
        "{kind} {mode:o} {} bytes {:?} {attributes:?}",
        contents.len(),
        contents.first()
    )
}

fn same_contents(one: &Entry, other: &Entry) -> bool {
    (&one.kind, &one.contents) == (&other.kind, &other.contents)
        && (one.kind == "folder" || one.attributes == other.attributes)
}

/// Which paths are one file. Those that are as they were at the start are left out: making two equal files one is no change.
/// So are those that their owner may not read: an ordinary user cannot see that they are still what they were.
fn groups(tree: &Tree, start: &Tree) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let readable = |entry: &Entry| entry.kind == "file" && entry.mode & 0o400 != 0;
    for (path, entry) in tree.iter().filter(|(_, entry)| readable(entry)) {
        let begun = start.get(path);
        if begun.is_none_or(|begun| !same_contents(begun, entry) || begun.mode != entry.mode) {
            groups.entry(entry.inode).or_default().push(path.clone());
        }
    }
    let mut groups: Vec<_> = groups
        .into_values()
        .filter(|paths| paths.len() > 1)
        .collect();
    groups.sort();
    groups
}
