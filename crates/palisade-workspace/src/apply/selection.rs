//! Which changes are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Says of a path whether it is left out.
type Exception<'a> = Box<dyn Fn(&Path) -> bool + 'a>;

/// Which changes of a set are meant, and for which files other contents than the session's.
#[derive(Default)]
pub struct Selection<'a> {
    /// `None` is all.
    paths: Option<BTreeSet<PathBuf>>,
    except: Vec<Exception<'a>>,
    contents: BTreeMap<PathBuf, Vec<u8>>,
}

impl<'a> Selection<'a> {
    /// Every change.
    pub fn all() -> Self {
        Self::default()
    }

    /// These paths, each with all that is below it.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self {
            paths: Some(paths.into_iter().map(Into::into).collect()),
            ..Self::default()
        }
    }

    /// Without the paths for which this holds.
    #[must_use]
    pub fn except(mut self, holds: impl Fn(&Path) -> bool + 'a) -> Self {
        self.except.push(Box::new(holds));
        self
    }

    /// Lets a file land with these contents in place of the session's: some of its hunks. It stays pending unless they are
    /// the session's own.
    #[must_use]
    pub fn with_contents(mut self, path: impl Into<PathBuf>, contents: Vec<u8>) -> Self {
        self.contents.insert(path.into(), contents);
        self
    }

    /// Whether a path is meant.
    pub fn selects(&self, path: &Path) -> bool {
        let named = match &self.paths {
            None => true,
            Some(paths) => path.ancestors().any(|above| paths.contains(above)),
        };
        named && !self.except.iter().any(|holds| holds(path))
    }

    /// Whether nothing is left out.
    pub(super) fn is_all(&self) -> bool {
        self.paths.is_none() && self.except.is_empty()
    }

    pub(super) fn contents(&self, path: &Path) -> Option<&[u8]> {
        self.contents.get(path).map(Vec::as_slice)
    }
}

impl fmt::Debug for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection")
            .field("paths", &self.paths)
            .field("except", &self.except.len())
            .field("contents", &self.contents.keys())
            .finish()
    }
}
