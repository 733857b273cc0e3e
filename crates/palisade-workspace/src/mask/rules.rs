//! The rules of one session: the table, what the policy adds, what it takes out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::content::Kind;
use super::matching::{Patterns, Within};
use super::pattern::MaskPattern;
use super::table::{HARMLESS, TABLE, When};

/// Where the built-in rules say they come from.
pub const BUILT_IN: &str = "built-in";

/// A pattern of the policy, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPattern {
    /// The pattern.
    pub pattern: MaskPattern,
    /// Where it was written.
    pub source: String,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskRule {
    /// The pattern as it was written.
    pub pattern: String,
    /// Where it was written; [`BUILT_IN`] for the table.
    pub source: String,
    when: When,
}

impl MaskRule {
    /// What a file has to hold to be masked, where the name alone does not decide.
    pub fn only_if(&self) -> Option<&'static str> {
        match self.when {
            When::Always => None,
            When::Holds(Kind::PrivateKey) => Some("it holds a private key"),
            When::Holds(Kind::Token) => Some("it holds a token or password"),
            When::Holds(Kind::ServiceAccount) => Some("it holds a service account's key"),
        }
    }
}

/// The index of a rule.
pub(super) type RuleIndex = u32;

/// What the rules say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Clear,
    Masked(RuleIndex),
    /// Masked if it holds one of these.
    Look(Vec<(Kind, RuleIndex)>),
}

/// All rules.
///
/// Making them costs next to nothing. What matches is compiled at the first question, since a session whose folders are all as
/// they were asks none.
#[derive(Debug)]
pub struct MaskRules {
    rules: Vec<MaskRule>,
    mask: Vec<MaskPattern>,
    unmask: Vec<MaskPattern>,
    workspace: String,
    home: String,
    compiled: OnceLock<Compiled>,
    digest: [u8; 32],
}

#[derive(Debug)]
struct Compiled {
    masks: Patterns,
    shown: Patterns,
}

impl MaskRules {
    /// The table with what a policy says. `workspace` and `home` are absolute and real.
    pub fn new(
        mask: &[WrittenPattern],
        unmask: &[WrittenPattern],
        workspace: &Path,
        home: &Path,
    ) -> Self {
        let rule = |pattern: &str, source: &str, when| MaskRule {
            pattern: pattern.to_owned(),
            source: source.to_owned(),
            when,
        };
        let table = TABLE.iter().map(|(text, when)| rule(text, BUILT_IN, *when));
        let added = mask
            .iter()
            .map(|written| rule(written.pattern.as_str(), &written.source, When::Always));
        let mut rules = Self {
            rules: table.chain(added).collect(),
            mask: mask.iter().map(|written| written.pattern.clone()).collect(),
            unmask: unmask
                .iter()
                .map(|written| written.pattern.clone())
                .collect(),
            workspace: folder(workspace),
            home: folder(home),
            compiled: OnceLock::new(),
            digest: [0; 32],
        };
        rules.digest = rules.make_digest();
        rules
    }

    /// The rules, those of the table first.
    pub fn rules(&self) -> &[MaskRule] {
        &self.rules
    }

    /// Says whether a list of what was found belongs to these rules.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            // Each was tried: those of the table by a test, the others when they were read.
            let own = |texts: &mut dyn Iterator<Item = &'static str>| -> Vec<MaskPattern> {
                texts
                    .filter_map(|text| MaskPattern::parse(text).ok())
                    .collect()
            };
            let mut mask = own(&mut TABLE.iter().map(|(text, _)| *text));
            mask.extend_from_slice(&self.mask);
            let mut shown = own(&mut HARMLESS.iter().copied());
            shown.extend_from_slice(&self.unmask);
            Compiled {
                masks: Patterns::new(&mask),
                shown: Patterns::new(&shown),
            }
        })
    }

    fn masks(&self, folder: &str, name: &str, directory: bool) -> Vec<RuleIndex> {
        let within = self.within(folder);
        self.compiled().masks.matching(&within, name, directory)
    }

    fn shown(&self, folder: &str, name: &str, directory: bool) -> Vec<RuleIndex> {
        let within = self.within(folder);
        self.compiled().shown.matching(&within, name, directory)
    }

    fn within<'a>(&'a self, folder: &'a str) -> Within<'a> {
        Within {
            folder,
            workspace: &self.workspace,
            home: &self.home,
        }
    }

    fn make_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        // A rule is kept by its number, and what it means is this program's.
        add(env!("CARGO_PKG_VERSION"));
        add(&self.workspace);
        add(&self.home);
        for rule in &self.rules {
            add(&rule.pattern);
            add(&format!("{:?}", rule.when));
        }
        for pattern in HARMLESS
            .iter()
            .copied()
            .chain(self.unmask.iter().map(MaskPattern::as_str))
        {
            add(pattern);
        }
        hash.finalize().into()
    }

    /// Judges an entry of a folder. The folder is absolute and in lower case, as [`folder`] gives it.
    pub(super) fn judge(&self, folder: &str, name: &OsStr, directory: bool) -> Decision {
        let name = lower(name);
        let mut found = self.masks(folder, &name, directory);
        if found.is_empty() {
            return Decision::Clear;
        }
        let shown = self.shown(folder, &name, directory);
        if !shown.is_empty() {
            // A name that is harmless by the table gives way to what the policy masks by its own words.
            let by_table = shown.iter().all(|index| (*index as usize) < HARMLESS.len());
            found.retain(|index| by_table && (*index as usize) >= TABLE.len());
        }
        let mut looks = Vec::new();
        for index in found {
            match self.rules[index as usize].when {
                When::Always => return Decision::Masked(index),
                When::Holds(_) if directory => {}
                When::Holds(kind) => looks.push((kind, index)),
            }
        }
        if looks.is_empty() {
            Decision::Clear
        } else {
            Decision::Look(looks)
        }
    }

    /// Whether a path is masked by its own name or by that of a folder above it, and the rule. What is shown by name is
    /// shown though a folder above it is masked.
    pub(super) fn judge_path(&self, path: &Path, directory: bool) -> Decision {
        let mut judged = Decision::Clear;
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for part in above {
            let (Some(parent), Some(name)) = (part.parent(), part.file_name()) else {
                continue;
            };
            let parent = self::folder(parent);
            let is_directory = directory || part != path;
            let shown = self.shown(&parent, &lower(name), is_directory);
            if !shown.is_empty() {
                judged = Decision::Clear;
            }
            match self.judge(&parent, name, is_directory) {
                Decision::Clear => {}
                other if judged == Decision::Clear => judged = other,
                _ => {}
            }
        }
        judged
    }
}

/// A folder as rules take it: in lower case. Bytes that are no UTF-8 become the replacement character, which no pattern of a
/// person matches but by a wildcard.
pub(super) fn folder(path: &Path) -> String {
    lower(path.as_os_str())
}

fn lower(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes()).to_ascii_lowercase()
}
