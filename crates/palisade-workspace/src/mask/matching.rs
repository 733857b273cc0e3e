//! Which of many patterns fit a name: fast to make, since every session does, and fast to ask, since every file is asked for.

use std::collections::HashMap;
use std::sync::OnceLock;

use globset::{Candidate, Glob, GlobMatcher, GlobSet, GlobSetBuilder};

use super::pattern::{MaskPattern, glob_or_all, is_plain};
use super::rules::RuleIndex;

/// More beginnings than these are asked faster as globs.
const FEW: usize = 32;

/// Patterns by the shape of their last part. Most are whole names, or a beginning or an ending and `*`, which need no glob to be
/// compiled; the others are compiled at the first question. Whole paths are looked at, and their matchers made, only where the last part
/// fits.
#[derive(Debug)]
pub(super) struct Patterns {
    names: HashMap<String, Vec<RuleIndex>>,
    /// One star with an ending behind it that has a dot in it, by what follows the last dot.
    endings: HashMap<String, Vec<Ending>>,
    beginnings: Vec<(String, RuleIndex)>,
    others: Vec<(String, RuleIndex)>,
    globs: OnceLock<GlobSet>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Ending {
    before: String,
    behind: String,
    index: RuleIndex,
}

#[derive(Debug)]
struct Entry {
    /// The whole path, where the name does not say it all.
    path: Option<Path>,
    directories_only: bool,
}

#[derive(Debug)]
struct Path {
    pattern: MaskPattern,
    matcher: OnceLock<GlobMatcher>,
}

impl Patterns {
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a MaskPattern>) -> Self {
        let mut all = Self {
            names: HashMap::new(),
            endings: HashMap::new(),
            beginnings: Vec::new(),
            others: Vec::new(),
            globs: OnceLock::new(),
            entries: Vec::new(),
        };
        for (index, pattern) in (0..).zip(patterns) {
            all.add(index, pattern);
        }
        all
    }

    fn add(&mut self, index: RuleIndex, pattern: &MaskPattern) {
        let name = pattern.name();
        if is_plain(name) {
            self.names.entry(name.to_owned()).or_default().push(index);
        } else if let Some((before, behind)) = name.split_once('*')
            && is_plain(before)
            && is_plain(behind)
            && let Some((_, last)) = behind.rsplit_once('.')
        {
            self.endings
                .entry(last.to_owned())
                .or_default()
                .push(Ending {
                    before: before.to_owned(),
                    behind: behind.to_owned(),
                    index,
                });
        } else if let Some(beginning) = name.strip_suffix('*')
            && is_plain(beginning)
            && self.beginnings.len() < FEW
        {
            self.beginnings.push((beginning.to_owned(), index));
        } else {
            self.others.push((name.to_owned(), index));
        }
        self.entries.push(Entry {
            path: pattern.has_folder().then(|| Path {
                pattern: pattern.clone(),
                matcher: OnceLock::new(),
            }),
            directories_only: pattern.directories_only,
        });
    }

    /// The patterns that match, in their order.
    pub(super) fn matching(
        &self,
        within: &Within<'_>,
        name: &str,
        directory: bool,
    ) -> Vec<RuleIndex> {
        let mut found: Vec<RuleIndex> = self
            .names
            .get(name)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        if let Some((_, last)) = name.rsplit_once('.') {
            let endings = self.endings.get(last).into_iter().flatten();
            found.extend(
                endings
                    .filter(|ending| ending.fits(name))
                    .map(|ending| ending.index),
            );
        }
        let begin = self
            .beginnings
            .iter()
            .filter(|(beginning, _)| name.starts_with(beginning));
        found.extend(begin.map(|(_, index)| index));
        let of_globs = self.globs().matches_candidate(&Candidate::new(name));
        found.extend(
            of_globs
                .into_iter()
                .filter_map(|at| Some(self.others.get(at)?.1)),
        );
        found.retain(|index| {
            let entry = &self.entries[*index as usize];
            (directory || !entry.directories_only)
                && entry
                    .path
                    .as_ref()
                    .is_none_or(|path| path.fits(within, name))
        });
        found.sort_unstable();
        found
    }

    fn globs(&self) -> &GlobSet {
        self.globs.get_or_init(|| {
            let mut globs = GlobSetBuilder::new();
            for (text, _) in &self.others {
                globs.add(glob_or_all(text));
            }
            globs.build().unwrap_or_default()
        })
    }
}

/// Where a name is asked for. All in lower case and absolute.
pub(super) struct Within<'a> {
    pub(super) folder: &'a str,
    pub(super) workspace: &'a str,
    pub(super) home: &'a str,
}

impl Ending {
    fn fits(&self, name: &str) -> bool {
        name.len() >= self.before.len() + self.behind.len()
            && name.starts_with(&self.before)
            && name.ends_with(&self.behind)
    }
}

impl Path {
    fn fits(&self, within: &Within<'_>, name: &str) -> bool {
        let matcher = self.matcher.get_or_init(|| {
            let glob: Option<Glob> = self.pattern.path(within.workspace, within.home);
            glob.unwrap_or_else(|| glob_or_all("**")).compile_matcher()
        });
        let path = format!("{}/{name}", within.folder);
        matcher.is_match(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shapes_are_only_a_shorter_way(
            patterns in proptest::collection::vec("[*?a.]{1,5}|[ab*]{1,3}/[*a.b]{1,4}", 1..60),
            names in proptest::collection::vec("[ab.]{1,6}", 1..30),
        ) {
            let patterns: Vec<MaskPattern> = patterns
                .iter()
                .filter(|text| !text.split('/').any(|part| part == ".."))
                .filter_map(|text| MaskPattern::parse(text).ok())
                .collect();
            let all = Patterns::new(&patterns);
            let within = Within { folder: "/w/b", workspace: "/w", home: "/h" };
            // No entry of a folder is called so.
            for name in names.iter().filter(|name| !["." , ".."].contains(&name.as_str())) {
                let fit = |pattern: &MaskPattern| {
                    let path = pattern.path("/w", "/h");
                    let (glob, text) = match path {
                        Some(glob) => (glob, format!("w/b/{name}")),
                        None => (glob_or_all(pattern.name()), name.clone()),
                    };
                    glob.compile_matcher().is_match(text)
                };
                let expected: Vec<RuleIndex> =
                    (0..).zip(&patterns).filter(|(_, pattern)| fit(pattern)).map(|(index, _)| index).collect();
                prop_assert_eq!(all.matching(&within, name, true), expected, "{}", name);
            }
        }
    }
}
