//! Secrets within what is shown: found before the session, looked after while it runs.

mod inside;
mod keeper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use keeper::MaskKeeper;
use palisade_config::Effective;
use palisade_protocol::{Ownership, TreeAccess, TreeEntry};
use palisade_workspace::{
    Located, Mask, MaskError, MaskPattern, MaskRule, MaskRules, Masks, Why, WrittenPattern,
    held_in_place, tracked,
};

use inside::Inside;

use crate::spelling::{SpellingError, covered};

/// What a session hides.
#[derive(Debug)]
pub struct Hidden {
    rules: Arc<MaskRules>,
    masks: Masks,
    /// Where lists are kept from session to session.
    kept: PathBuf,
}

/// One thing that is hidden, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenPath<'a> {
    /// On the host.
    pub path: &'a Path,
    /// Whether it is a folder.
    pub directory: bool,
    /// By which rule, where one did.
    pub rule: Option<&'a MaskRule>,
    /// Why.
    pub why: Why,
}

impl Hidden {
    /// Looks through what a policy shows.
    ///
    /// # Errors
    /// A folder cannot be read for another reason than its permissions.
    pub fn find(policy: &Effective, home: &Path, kept: &Path) -> Result<Self, MaskError> {
        let mut hidden = Self::recall(policy, home, kept)?;
        hidden.confirm()?;
        Ok(hidden)
    }

    /// What an earlier session found, where one did: it holds once [`Hidden::confirm`] was asked.
    pub(crate) fn recall(policy: &Effective, home: &Path, kept: &Path) -> Result<Self, MaskError> {
        let workspace = policy.workspace.value.clone();
        let home = home.canonicalize().unwrap_or_else(|_| home.to_path_buf());
        let (mask, unmask) = (written(&policy.mask), written(&policy.unmask));
        let rules = Arc::new(MaskRules::new(&mask, &unmask, &workspace, &home));
        let mut shown: Vec<Located> = policy
            .shown
            .iter()
            .map(|shown| shown.path.clone())
            .collect();
        shown.push(Located {
            written: workspace.clone(),
            real: workspace,
            folder: true,
        });
        let masks = Masks::recall(&rules, shown, Some(kept))?;
        Ok(Self {
            rules,
            masks,
            kept: kept.to_path_buf(),
        })
    }

    /// Looks at all that was only recalled, and says whether anything else has to be hidden or protected than was.
    pub(crate) fn confirm(&mut self) -> Result<bool, MaskError> {
        self.masks.confirm(&self.rules, Some(&self.kept))
    }

    /// The same some time after it was confirmed.
    pub(crate) fn changed(&mut self) -> Result<bool, MaskError> {
        self.masks.changed_since(&self.rules, Some(&self.kept))
    }

    /// All that is hidden, by path.
    pub fn paths(&self) -> impl Iterator<Item = HiddenPath<'_>> {
        let of = |mask| describe(&self.rules, mask);
        self.masks.masks.iter().map(of)
    }

    /// What hides a path of the host, itself or a folder above it.
    pub fn over(&self, path: &Path) -> Option<HiddenPath<'_>> {
        self.paths().find(|hidden| path.starts_with(hidden.path))
    }

    /// What the host runs, or takes settings from: read-only in a writable workspace.
    pub fn protected(&self) -> Vec<PathBuf> {
        let all = self.masks.protected().into_iter();
        all.map(|(path, _)| path).collect()
    }

    /// Hidden files that git tracks: what they hold can be read in the repository as well.
    pub fn tracked(&self) -> Vec<&Path> {
        tracked(self.masks.masks.iter().map(|mask| mask.path.as_path()))
    }

    /// The rules, those of the built-in table first.
    pub fn rules(&self) -> &[MaskRule] {
        self.rules.rules()
    }

    /// Adds the masks to a tree that shows what was looked through, and makes what the host runs read-only where it could be
    /// written, if that is wanted.
    ///
    /// # Errors
    /// A mount over one of them would not hold.
    pub(crate) fn add_to(
        &self,
        tree: &mut Vec<TreeEntry>,
        protect: bool,
    ) -> Result<(), SpellingError> {
        let inside = Inside::new(tree);
        if protect {
            tree.extend(self.protections(&inside)?);
        }
        for mask in &self.masks.masks {
            let places: Vec<PathBuf> = inside.of(&mask.path).collect();
            if !places.is_empty() {
                covered(&mask.path, SpellingError::hidden)?;
            }
            let directory = mask.directory;
            let mask = |path| TreeEntry::Mask { path, directory };
            tree.extend(places.into_iter().map(mask));
        }
        Ok(())
    }
}

impl Hidden {
    /// Binds that keep what the host runs as it is. The folders around it are bound over themselves, because what lies
    /// below a mount point can be moved away with it, and the mount point itself cannot (rename(2)).
    fn protections(&self, inside: &Inside) -> Result<Vec<TreeEntry>, SpellingError> {
        let mut binds: BTreeMap<PathBuf, (PathBuf, TreeAccess)> = BTreeMap::new();
        for (path, _) in self.masks.protected() {
            for (shown, target) in inside.writable(&path) {
                let Ok(below) = path.strip_prefix(&shown.source) else {
                    continue;
                };
                for folder in held_in_place(below) {
                    binds
                        .entry(shown.target.join(folder))
                        .or_insert_with(|| (shown.source.join(folder), TreeAccess::Write));
                }
                binds.insert(target, (path.clone(), TreeAccess::Read));
                covered(&path, SpellingError::protected)?;
            }
        }
        let bind = |(target, (source, access))| TreeEntry::Bind {
            source,
            target,
            access,
            ownership: Ownership::Agent,
        };
        Ok(binds.into_iter().map(bind).collect())
    }
}

fn written(patterns: &[palisade_config::Sourced<String>]) -> Vec<WrittenPattern> {
    patterns
        .iter()
        .filter_map(|written| {
            // Each was tried when the policy was read.
            Some(WrittenPattern {
                pattern: MaskPattern::parse(&written.value).ok()?,
                source: written.source.to_string(),
            })
        })
        .collect()
}

fn describe<'a>(rules: &'a MaskRules, mask: &'a Mask) -> HiddenPath<'a> {
    let by_rule = matches!(mask.why, Why::Name | Why::LinkTarget);
    HiddenPath {
        path: &mask.path,
        directory: mask.directory,
        rule: rules.rules().get(mask.rule).filter(|_| by_rule),
        why: mask.why,
    }
}
