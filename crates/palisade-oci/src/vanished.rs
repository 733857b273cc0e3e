//! What was to be masked and was removed on the host before the engine mounted: the engine makes the place of a mount that is
//! not there, and so leaves something of root's in the workspace. It is taken away again, and the session refused.
//!
//! Where palisade lays masks by its own hand there is nothing to be made.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_boundary::StartError;

/// A masked path as it was when the tree was laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// On the host, or where the changes of an overlay land.
    path: PathBuf,
    /// Inside.
    pub(crate) inside: PathBuf,
    /// Its device and number, where it was there.
    was: Option<(u64, u64)>,
}

impl Place {
    /// As it is now.
    pub(crate) fn new(path: PathBuf, inside: &Path) -> Self {
        let was = found(&path).map(|own| (own.dev(), own.ino()));
        let inside = inside.to_path_buf();
        Self { path, inside, was }
    }
}

/// Looks once the engine has mounted.
///
/// # Errors
/// The engine made one of these.
pub(crate) fn check(places: &[Place]) -> Result<(), StartError> {
    let mut made = places.iter().filter(|place| is_made(place)).peekable();
    let Some(first) = made.peek() else {
        return Ok(());
    };
    let path = first.path.display().to_string();
    let removed = made.try_for_each(|place| remove(&place.path));
    let left = match removed {
        Ok(()) => String::new(),
        Err(error) => {
            format!(", and what the engine made in its place could not be removed: {error}")
        }
    };
    Err(StartError {
        what: "mask what is secret".to_owned(),
        cause: format!("{path} was removed on the host while the container was made{left}"),
        fix: Some("start the session again".to_owned()),
    })
}

/// Whether something empty of root's is there that was not.
fn is_made(place: &Place) -> bool {
    found(&place.path).is_some_and(|own| {
        let empty = own.is_dir() || (own.is_file() && own.len() == 0);
        empty && own.uid() == 0 && place.was != Some((own.dev(), own.ino()))
    })
}

fn found(path: &Path) -> Option<fs::Metadata> {
    fs::symlink_metadata(path).ok()
}

/// A folder goes only where it is empty.
fn remove(path: &Path) -> io::Result<()> {
    if found(path).is_some_and(|own| own.is_dir()) {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    }
}
