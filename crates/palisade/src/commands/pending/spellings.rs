//! Names that differ in upper and lower case alone: two files here, one on a file system that knows no case.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use palisade_workspace::changes::ChangeSet;

/// The names in one folder, by their lower-case form.
type Names = HashMap<String, BTreeSet<OsString>>;

/// What the folders with new names will hold.
pub(super) struct Spellings(HashMap<PathBuf, Names>);

impl Spellings {
    /// Looks into each folder of the workspace in which the session made a name.
    pub(super) fn read(workspace: &Path, set: &ChangeSet) -> Self {
        let mut folders: HashMap<PathBuf, Names> = HashMap::new();
        for change in set.changes().iter().filter(|c| c.before.is_none()) {
            let Some((parent, name)) = split(&change.path) else {
                continue;
            };
            if !folders.contains_key(parent) {
                folders.insert(parent.to_owned(), on_host(workspace, parent, set));
            }
            let names = folders.entry(parent.to_owned()).or_default();
            insert(names, name);
        }
        Self(folders)
    }

    /// Another name in the same folder that is the same but for case.
    pub(super) fn other(&self, path: &Path) -> Option<&OsStr> {
        let (parent, name) = split(path)?;
        let same = self.0.get(parent)?.get(&folded(name))?;
        same.iter()
            .map(OsString::as_os_str)
            .find(|other| *other != name)
    }
}

/// What the host has there and the session has not removed. A folder that cannot be read warns of nothing.
fn on_host(workspace: &Path, parent: &Path, set: &ChangeSet) -> Names {
    let mut names = Names::new();
    for entry in fs::read_dir(workspace.join(parent))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let change = set.get(&parent.join(&name));
        if change.is_none_or(|change| change.after.is_some()) {
            insert(&mut names, &name);
        }
    }
    names
}

fn insert(names: &mut Names, name: &OsStr) {
    names
        .entry(folded(name))
        .or_default()
        .insert(name.to_owned());
}

fn folded(name: &OsStr) -> String {
    name.to_string_lossy().to_lowercase()
}

fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}
