//! Files that went from one name to another with the same contents.

use std::collections::HashMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::changes::{Change, ChangeKind, ChangeSet};

/// Opens the contents of a change: those on the host where it was removed, the session's where it was added.
pub type Open<'a> = dyn Fn(&Change) -> io::Result<Box<dyn Read + 'a>> + 'a;

/// For each added file its old name, where one file was removed that held the same. Numbers are places in
/// [`ChangeSet::changes`]. A file that cannot be read is taken for renamed from nowhere.
///
/// Only files of equal length are read, and each once.
pub fn renames(set: &ChangeSet, open: &Open<'_>) -> HashMap<usize, usize> {
    let of = |wanted: ChangeKind| {
        let all = set.changes().iter().enumerate();
        all.filter_map(move |(number, change)| {
            let side = change.after.as_ref().or(change.before.as_ref())?;
            let fits = change.kind == wanted && side.is_file() && side.size > 0;
            fits.then_some((number, side.size))
        })
    };
    let mut removed: HashMap<u64, Vec<usize>> = HashMap::new();
    for (number, size) in of(ChangeKind::Removed) {
        removed.entry(size).or_default().push(number);
    }
    let mut added: HashMap<u64, Vec<usize>> = HashMap::new();
    for (number, size) in of(ChangeKind::Added).filter(|(_, size)| removed.contains_key(size)) {
        added.entry(size).or_default().push(number);
    }
    let mut found = HashMap::new();
    for (size, new) in added {
        let mut by_contents: HashMap<_, Vec<usize>> = HashMap::new();
        // From the last, so that the first in order is taken first.
        for number in removed[&size].iter().rev() {
            if let Ok(hash) = digest(&set.changes()[*number], open) {
                by_contents.entry(hash).or_default().push(*number);
            }
        }
        for number in new {
            let hash = digest(&set.changes()[number], open).ok();
            let old = hash.and_then(|hash| by_contents.get_mut(&hash)?.pop());
            found.extend(old.map(|old| (number, old)));
        }
    }
    found
}

fn digest(change: &Change, open: &Open<'_>) -> io::Result<[u8; 32]> {
    let mut reader = open(change)?;
    let mut digest = Sha256::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Dropped, Identity, Moment, Side, SideKind};

    fn change(path: &str, kind: ChangeKind, size: u64) -> Change {
        let side = Some(Side {
            kind: SideKind::File,
            mode: 0o644,
            size,
            modified: Moment::default(),
            link_group: None,
            identity: Identity::default(),
        });
        let removed = kind == ChangeKind::Removed;
        Change {
            path: path.into(),
            kind,
            before: side.clone().filter(|_| removed),
            after: side.filter(|_| !removed),
            conflict: None,
            dropped: Dropped::default(),
        }
    }

    #[test]
    fn equal_contents_pair_and_each_old_name_once() {
        use ChangeKind::{Added, Removed};
        let set = ChangeSet::new(
            vec![
                change("a-old", Removed, 3),
                change("b-old", Removed, 3),
                change("c-old", Removed, 4),
                change("d-empty", Removed, 0),
                change("e-unreadable", Removed, 4),
                change("m-new", Added, 3),
                change("n-new", Added, 3),
                change("o-new", Added, 3),
                change("p-empty", Added, 0),
                change("q-other", Added, 4),
            ],
            Vec::new(),
        );
        let open = |change: &Change| -> io::Result<Box<dyn Read>> {
            match change.path.to_str().unwrap() {
                "c-old" => Ok(Box::new(&b"same"[..])),
                "q-other" => Ok(Box::new(&b"diff"[..])),
                "d-empty" | "p-empty" | "e-unreadable" => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(Box::new(&b"abc"[..])),
            }
        };
        let found = renames(&set, &open);
        assert_eq!(found, HashMap::from([(5, 0), (6, 1)]));
    }
}
