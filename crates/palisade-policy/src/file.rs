//! The file half of a policy: which paths are shown, and which may be changed.

use std::path::{Component, Path, PathBuf};

use crate::rule::Source;

/// How a path is shown inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileAccess {
    /// Shown, not to be changed.
    Read,
    /// Shown, and can be changed inside. Where the change lands is [`FileGrant::lands`].
    Write,
}

/// What becomes of what is written inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lands {
    /// It is on the host at once.
    AtOnce,
    /// It is kept apart, and is on the host once a person applies it.
    WhenApplied,
    /// It is gone with the session.
    Never,
}

/// One path and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGrant {
    /// Absolute, without `.` or `..`.
    pub path: PathBuf,
    /// How it is shown.
    pub access: FileAccess,
    /// What becomes of what is written there, where it can be written.
    pub lands: Lands,
    /// Where it was written.
    pub source: Source,
}

/// Which host paths the inside can see. The deepest grant over a path decides.
#[derive(Clone, Debug, Default)]
pub struct FilePolicy {
    grants: Vec<FileGrant>,
}

/// The decision about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileDecision<'a> {
    /// Permitted by this grant.
    Permit(&'a FileGrant),
    /// Shown by this grant, but only to be read.
    ReadOnly(&'a FileGrant),
    /// Nothing shows it. The second grant is one inside or beside it, where there is one.
    Hidden(Option<&'a FileGrant>),
    /// Not an absolute path without `..`.
    BadPath,
}

impl FilePolicy {
    /// A policy of these grants. A later grant of the same path replaces an earlier one.
    pub fn new(grants: impl IntoIterator<Item = FileGrant>) -> Self {
        let mut own: Vec<FileGrant> = Vec::new();
        for grant in grants {
            own.retain(|earlier| earlier.path != grant.path);
            own.push(grant);
        }
        Self { grants: own }
    }

    /// All grants, in the order they were written.
    pub fn grants(&self) -> &[FileGrant] {
        &self.grants
    }

    /// Whether `path` (absolute, links already resolved by the caller) may be used this way inside.
    pub fn decide(&self, path: &Path, access: FileAccess) -> FileDecision<'_> {
        let plain = path.is_absolute()
            && path
                .components()
                .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !plain {
            return FileDecision::BadPath;
        }
        let deepest = self
            .grants
            .iter()
            .filter(|g| path.starts_with(&g.path))
            .max_by_key(|g| g.path.components().count());
        match deepest {
            Some(grant) if grant.access >= access => FileDecision::Permit(grant),
            Some(grant) => FileDecision::ReadOnly(grant),
            None => FileDecision::Hidden(self.near(path)),
        }
    }

    fn near(&self, path: &Path) -> Option<&FileGrant> {
        let inside = self.grants.iter().find(|g| g.path.starts_with(path));
        inside.or_else(|| {
            self.grants.iter().find(|g| {
                g.path
                    .parent()
                    .is_some_and(|p| p != Path::new("/") && path.starts_with(p))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &str, access: FileAccess) -> FileGrant {
        FileGrant {
            path: path.into(),
            access,
            lands: Lands::AtOnce,
            source: Source::new("test"),
        }
    }

    #[test]
    fn the_deepest_grant_decides() {
        let policy = FilePolicy::new([
            grant("/w", FileAccess::Write),
            grant("/w/vendor", FileAccess::Read),
        ]);
        let decide = |path: &str, access| policy.decide(Path::new(path), access);
        assert!(matches!(
            decide("/w/src/a", FileAccess::Write),
            FileDecision::Permit(_)
        ));
        assert!(matches!(
            decide("/w/vendor/a", FileAccess::Read),
            FileDecision::Permit(_)
        ));
        assert!(matches!(
            decide("/w/vendor/a", FileAccess::Write),
            FileDecision::ReadOnly(_)
        ));
        assert!(matches!(
            decide("/wide", FileAccess::Read),
            FileDecision::Hidden(_)
        ));
        assert_eq!(
            decide("/w/../etc/shadow", FileAccess::Read),
            FileDecision::BadPath
        );
        assert_eq!(decide("w", FileAccess::Read), FileDecision::BadPath);
    }
}
