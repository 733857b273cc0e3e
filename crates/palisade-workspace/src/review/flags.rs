//! What to look at first: whatever the host would run or trust later, and what deceives the one who looks.
//!
//! A flag is a hint for a person and never a permission: what has none is not thereby harmless.

mod names;
mod places;
mod scripts;

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use crate::changes::{Change, Dropped, Side, SideKind};
use crate::secret_text;

pub use names::is_hidden;

/// Above this a file is called large. Forges warn from 5 to 50 MiB, and nobody reviews that much text.
pub const LARGE: u64 = 10 << 20;

const ANY_EXECUTE: u32 = 0o111;

/// What a flag is about, the most dangerous first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A path that a program of the host runs, or takes its settings from, without being asked.
    HostRuns,
    /// A symbolic link that leads out of the workspace.
    LeavesTree,
    /// A set-user-ID, set-group-ID or sticky bit, or file capabilities. They do not land unless that is asked for.
    SpecialBits,
    /// A name that reads as another one.
    DeceivingName,
    /// Characters that are not seen, or that change the order in which others are.
    HiddenText,
    /// What looks like a token or a private key.
    Secret,
    /// What a pipeline runs.
    Pipeline,
    /// Scripts in `package.json`.
    Scripts,
    /// What a build runs.
    Build,
    /// What the next agent reads as its orders.
    AgentOrders,
    /// A file that can be executed and could not before.
    Executable,
    /// Which dependencies, from where.
    LockFile,
    /// Larger than anybody reads.
    Large,
}

impl Flag {
    /// The word for it in `--json`; never changed.
    pub fn code(self) -> &'static str {
        match self {
            Self::HostRuns => "host-runs",
            Self::LeavesTree => "leaves-tree",
            Self::SpecialBits => "special-bits",
            Self::DeceivingName => "deceiving-name",
            Self::HiddenText => "hidden-text",
            Self::Secret => "secret",
            Self::Pipeline => "pipeline",
            Self::Scripts => "scripts",
            Self::Build => "build",
            Self::AgentOrders => "agent-orders",
            Self::Executable => "executable",
            Self::LockFile => "lock-file",
            Self::Large => "large",
        }
    }
}

/// A flag and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flagged {
    /// What it is about.
    pub flag: Flag,
    /// What was seen, for people. May hold names the agent chose.
    pub seen: String,
}

impl fmt::Display for Flagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seen)
    }
}

/// A change as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The change.
    pub change: &'a Change,
    /// Where the workspace lies.
    pub workspace: &'a Path,
    /// What the file on the host holds, if it is small enough to be looked at.
    pub old: Option<&'a [u8]>,
    /// The same of the session's.
    pub new: Option<&'a [u8]>,
    /// A name beside it that differs from its own in upper and lower case alone.
    pub other_spelling: Option<&'a OsStr>,
}

/// All flags of a change, the most dangerous first.
pub fn flags_of(sight: &Sight<'_>) -> Vec<Flagged> {
    let mut found = Vec::new();
    by_place(sight, &mut found);
    if let Some(after) = &sight.change.after {
        by_kind(sight, after, &mut found);
        by_contents(sight, after, &mut found);
        let new = sight.change.before.is_none();
        let deceives = names::deceives(&sight.change.path, sight.other_spelling);
        found.extend(deceives.filter(|_| new).map(|seen| Flagged {
            flag: Flag::DeceivingName,
            seen,
        }));
    }
    found.sort_by_key(|flagged| flagged.flag);
    found
}

fn by_place(sight: &Sight<'_>, found: &mut Vec<Flagged>) {
    let change = sight.change;
    if change.after.as_ref().is_some_and(Side::is_directory) {
        // Empty as it is, a folder does nothing; what lies in it is a change of its own.
        return;
    }
    let mut flag = |flag, seen: String| found.push(Flagged { flag, seen });
    if let Some(what) = places::host_runs(&change.path, sight.new) {
        let gone = change.after.is_none();
        let gone = if gone { "removed: " } else { "" };
        flag(Flag::HostRuns, format!("{gone}{what}"));
    } else if let (Some(name), Some(_)) = (places::holder(&change.path), target(&change.after)) {
        flag(Flag::HostRuns, format!("a link in the place of {name}"));
    } else if let Some((about, what)) = places::by_name(&change.path) {
        flag(about, what.to_owned());
    }
}

fn by_kind(sight: &Sight<'_>, after: &Side, found: &mut Vec<Flagged>) {
    let mut flag = |flag, seen: String| found.push(Flagged { flag, seen });
    let before = sight.change.before.as_ref();
    if let Some(target) = target(&sight.change.after) {
        if sight.change.leaves_tree(sight.workspace) {
            let seen = format!("leads out of the workspace, to {}", target.display());
            flag(Flag::LeavesTree, seen);
        }
        return;
    }
    if after.is_file() {
        let could = before.filter(|side| side.is_file());
        match (after.mode & ANY_EXECUTE != 0, could) {
            (true, None) => flag(Flag::Executable, "new and executable".into()),
            (true, Some(old)) if old.mode & ANY_EXECUTE == 0 => {
                flag(Flag::Executable, "became executable".into());
            }
            _ => {}
        }
        if after.size > LARGE {
            flag(Flag::Large, format!("{} MiB", after.size >> 20));
        }
    }
    if sight.change.dropped.any() {
        flag(Flag::SpecialBits, dropped(sight.change.dropped));
    }
}

fn dropped(dropped: Dropped) -> String {
    let names = [
        (dropped.set_user_id, "the set-user-ID bit"),
        (dropped.set_group_id, "the set-group-ID bit"),
        (dropped.sticky, "the sticky bit"),
        (dropped.capabilities, "file capabilities"),
    ];
    let names = names.iter().filter(|(is, _)| *is).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(", ")
}

fn target(side: &Option<Side>) -> Option<&Path> {
    match &side.as_ref()?.kind {
        SideKind::Symlink(target) => Some(target),
        _ => None,
    }
}

fn by_contents(sight: &Sight<'_>, after: &Side, found: &mut Vec<Flagged>) {
    let Some(new) = sight.new.filter(|_| after.is_file()) else {
        return;
    };
    let old = sight.old.unwrap_or_default();
    let mut flag = |flag, seen: String| found.push(Flagged { flag, seen });
    if let Some(secret) = secret_text::new_secret(old, new) {
        // What it is, and never the secret itself.
        flag(
            Flag::Secret,
            format!("line {}: {}", secret.line, secret.what),
        );
    }
    if let Some(line) = names::hidden_text(old, new) {
        flag(
            Flag::HiddenText,
            format!("line {line}: characters that are not seen"),
        );
    }
    let is_package = sight.change.path.file_name() == Some(OsStr::new("package.json"));
    let scripts = is_package.then(|| scripts::changed(old, new)).flatten();
    if let Some(seen) = scripts {
        flag(Flag::Scripts, seen);
    }
}

#[cfg(test)]
mod tests;
