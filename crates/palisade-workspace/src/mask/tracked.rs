//! Masked files that git tracks: their contents stand in the repository's history as well, which no mask covers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest index that is read: some millions of files.
const MOST_BYTES: u64 = 1 << 30;

/// Those of the paths that are in the index of the repository they lie in.
pub fn tracked<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<&'a Path> {
    let mut by_repository: BTreeMap<PathBuf, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        if let Some(top) = path
            .ancestors()
            .skip(1)
            .find(|folder| folder.join(".git").exists())
        {
            by_repository
                .entry(top.to_path_buf())
                .or_default()
                .push(path);
        }
    }
    let mut found = Vec::new();
    for (top, paths) in by_repository {
        let Some(index) = read_index(&top) else {
            continue;
        };
        let wanted: BTreeMap<&[u8], &Path> = paths
            .into_iter()
            .filter_map(|path| Some((bytes(path.strip_prefix(&top).ok()?), path)))
            .collect();
        let mut seen = BTreeSet::new();
        names(&index, |name| {
            // A folder is tracked if anything in it is.
            for end in ends(name) {
                if let Some(path) = wanted.get(&name[..end]) {
                    seen.insert(*path);
                }
            }
        });
        found.extend(seen);
    }
    found.sort_unstable();
    found
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

fn ends(name: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| at).chain([name.len()])
}

/// The index of a working tree, whose `.git` is a folder or a file that names one.
fn read_index(top: &Path) -> Option<Vec<u8>> {
    let git = top.join(".git");
    let folder = if git.is_dir() {
        git
    } else {
        let text = fs::read_to_string(&git).ok()?;
        top.join(text.strip_prefix("gitdir:")?.trim())
    };
    let mut index = Vec::new();
    let file = File::open(folder.join("index")).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut index).ok()?;
    Some(index)
}

/// All names of an index of version 2 to 4 (gitformat-index(5)). Whatever is odd ends it.
fn names(index: &[u8], mut each: impl FnMut(&[u8])) -> Option<()> {
    let number = |at: usize| {
        let bytes = index.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let version = (index.get(..4)? == b"DIRC").then(|| number(4)).flatten()?;
    let count = number(8)?;
    let hash = 20;
    let (mut at, mut name) = (12, Vec::new());
    for _ in 0..count {
        let flags = u16::from_be_bytes(index.get(at + 40 + hash..)?.get(..2)?.try_into().ok()?);
        let more = if flags & 0x4000 != 0 { 2 } else { 0 };
        let mut from = at + 42 + hash + more;
        if version == 4 {
            let (strip, length) = varint(index.get(from..)?)?;
            from += length;
            name.truncate(name.len().checked_sub(strip)?);
        } else {
            name.clear();
        }
        let rest = index.get(from..)?;
        let length = memchr::memchr(0, rest)?;
        name.extend_from_slice(&rest[..length]);
        each(&name);
        at = match version {
            4 => from + length + 1,
            // One to eight zero bytes, so that the next begins at a multiple of eight from this one.
            _ => at + (from + length - at) / 8 * 8 + 8,
        };
    }
    Some(())
}

/// A number as git's packs have it for offsets.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value = value << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
        value += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_git_tracks_is_found_in_every_version_of_its_index() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command
                .current_dir(&top)
                .args(arguments)
                .env("GIT_CONFIG_GLOBAL", "/dev/null");
            assert!(command.status().unwrap().success(), "{arguments:?}");
        };
        git(&["init", "-q"]);
        for name in [
            ".env",
            "a/.env",
            "a/long/path/that/goes/on/.env.local",
            "keys/x",
            "plain",
            "untracked/.env",
        ] {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        git(&["add", "-f", ".env", "a", "keys", "plain"]);
        let paths = [
            ".env",
            "a/.env",
            "a/long/path/that/goes/on/.env.local",
            "keys",
            "untracked/.env",
            "gone",
        ];
        let paths = paths.map(|name| top.join(name));
        for version in ["2", "3", "4"] {
            git(&["update-index", "--index-version", version]);
            let found = tracked(paths.iter().map(PathBuf::as_path));
            assert_eq!(found, paths[..4].iter().collect::<Vec<_>>(), "{version}");
        }
        let index = fs::read(top.join(".git/index")).unwrap();
        for cut in 0..index.len() {
            names(&index[..cut], |_| {});
        }
    }
}
