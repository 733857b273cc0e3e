//! What an apply is going to do, from what was chosen: in which order, and what cannot be done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use crate::changes::ours::Ours;
use crate::changes::sides::landing_mode;
use crate::changes::upper::is_root;
use crate::changes::{Change, ChangeKind, ChangeSet, Identity, Moment, Pending, Side, SideKind};

use super::step::{Action, Expected, Source, Step};
use super::{Allow, Left, LeftReason, Selection};

/// What is to be done, and with it what is not.
pub(super) struct Planned<'a> {
    pub(super) steps: Vec<Step>,
    pub(super) left: Vec<Left>,
    /// What has left the change set when its step is done: not what lands in part.
    pub(super) whole: HashSet<&'a Path>,
    /// Contents for the steps that take them from us, by number.
    pub(super) contents: Vec<Vec<u8>>,
}

struct Planner<'a> {
    pending: &'a Pending,
    set: &'a ChangeSet,
    allow: &'a Allow,
    ours: &'a Ours,
    /// For each change, whether it is going to land.
    lands: Vec<bool>,
    /// Contents in place of the session's.
    parts: HashMap<usize, Vec<u8>>,
    left: Vec<Left>,
}

/// The steps by when they are made.
#[derive(Default)]
struct Order {
    /// Rights to folders, new folders, permission bits of files.
    first: Vec<Step>,
    writes: Vec<Step>,
    removals: Vec<Step>,
    /// Files and links where folders were.
    after_removals: Vec<Step>,
    /// Bits and times of folders.
    last: Vec<Step>,
}

impl Order {
    fn steps(mut self) -> Vec<Step> {
        // What is in a folder goes, and gets its bits and times, before the folder. A folder's old bits come before new ones.
        self.removals.reverse();
        self.last.sort_by(|a, b| b.path.cmp(&a.path));
        let mut steps = self.first;
        steps.extend(self.writes);
        steps.extend(self.removals);
        steps.extend(self.after_removals);
        steps.extend(self.last);
        steps
    }
}

pub(super) fn plan<'a>(
    pending: &'a Pending,
    set: &'a ChangeSet,
    selection: &Selection<'_>,
    allow: &'a Allow,
    ours: &'a Ours,
) -> Planned<'a> {
    let mut planner = Planner {
        pending,
        set,
        allow,
        ours,
        lands: choose(set, selection),
        parts: HashMap::new(),
        left: Vec::new(),
    };
    planner.take_parts(selection);
    planner.check_each();
    planner.check_folders();
    planner.steps()
}

/// What is meant, and the new folders that it is in.
fn choose(set: &ChangeSet, selection: &Selection<'_>) -> Vec<bool> {
    let mut needed: HashSet<&Path> = HashSet::new();
    let mut lands = vec![false; set.changes().len()];
    // From the end: what is in a folder comes behind it.
    for (index, change) in set.changes().iter().enumerate().rev() {
        let makes_folder = change.after.as_ref().is_some_and(Side::is_directory)
            && change.kind != ChangeKind::Mode;
        lands[index] = selection.selects(&change.path)
            || (makes_folder && needed.contains(change.path.as_path()));
        if lands[index]
            && change.after.is_some()
            && let Some(parent) = change.path.parent()
        {
            needed.insert(parent);
        }
    }
    lands
}

impl<'a> Planner<'a> {
    /// Contents that are not the session's own.
    fn take_parts(&mut self, selection: &Selection<'_>) {
        for (index, change) in self.set.changes().iter().enumerate() {
            let Some(contents) = selection.contents(&change.path) else {
                continue;
            };
            if !self.lands[index] || self.is_own(change, contents) {
                continue;
            }
            let is_file = |side: &Option<Side>| side.as_ref().is_none_or(Side::is_file);
            if is_file(&change.before) && is_file(&change.after) {
                self.parts.insert(index, contents.to_vec());
            } else {
                self.leave(index, LeftReason::NotFile);
            }
        }
    }

    fn is_own(&self, change: &Change, contents: &[u8]) -> bool {
        let size = change
            .after
            .as_ref()
            .filter(|side| side.is_file())
            .map(|side| side.size);
        size == Some(contents.len() as u64)
            && self.pending.open_after(change).is_ok_and(|mut file| {
                let mut own = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut own).is_ok() && own == contents
            })
    }

    fn leave(&mut self, index: usize, reason: LeftReason) {
        self.lands[index] = false;
        self.left.push(Left {
            path: self.set.changes()[index].path.clone(),
            reason,
        });
    }

    /// Conflicts, links that lead out, and what is in a folder that is not made.
    fn check_each(&mut self) {
        let mut missing: HashSet<&Path> = HashSet::new();
        for (index, change) in self.set.changes().iter().enumerate() {
            if !self.lands[index] {
                continue;
            }
            let leaves_tree = change.leaves_tree(self.pending.workspace.path())
                && !self.allow.permits_link(&change.path);
            let needs = change
                .path
                .parent()
                .filter(|parent| missing.contains(parent));
            let reason = match (change.conflict, needs) {
                (_, Some(needs)) if change.after.is_some() => {
                    Some(LeftReason::Needs(needs.to_path_buf()))
                }
                (Some(conflict), _) if !self.allow.conflicts => {
                    Some(LeftReason::Conflict(conflict))
                }
                _ => leaves_tree.then_some(LeftReason::LeavesTree),
            };
            if let Some(reason) = reason {
                if change.after.as_ref().is_some_and(Side::is_directory)
                    && change.kind != ChangeKind::Mode
                {
                    missing.insert(&change.path);
                }
                self.leave(index, reason);
            }
        }
    }

    /// A folder goes only with all that is in it.
    fn check_folders(&mut self) {
        let set = self.set;
        let mut keeps: HashSet<&Path> = HashSet::new();
        for (index, change) in set.changes().iter().enumerate().rev() {
            let goes = change.kind == ChangeKind::Removed && !self.parts.contains_key(&index);
            let was_folder = change.before.as_ref().is_some_and(Side::is_directory);
            let stays_folder = change.after.as_ref().is_some_and(Side::is_directory);
            if self.lands[index]
                && was_folder
                && !stays_folder
                && keeps.contains(change.path.as_path())
            {
                self.leave(index, LeftReason::NotEmpty);
            }
            if (!goes || !self.lands[index])
                && change.before.is_some()
                && let Some(parent) = change.path.parent()
            {
                keeps.insert(parent);
            }
        }
    }

    fn steps(mut self) -> Planned<'a> {
        let mut order = Order {
            last: self.around(),
            ..Order::default()
        };
        let widened = order
            .last
            .iter()
            .filter(|step| matches!(step.action, Action::Settle { widened: true, .. }));
        order.first = widened
            .map(|step| Step {
                action: Action::Widen,
                ..step.clone()
            })
            .collect();
        let leaders = self.leaders();
        let mut contents = Vec::new();
        let mut whole = HashSet::new();
        for (index, change) in self.set.changes().iter().enumerate() {
            if !self.lands[index] {
                continue;
            }
            match self.parts.remove(&index) {
                Some(part) => {
                    let from = Source::Staged(contents.len() as u64);
                    contents.push(part);
                    let mode = self.mode(change);
                    let step = self.step(change, Action::Write { mode, from });
                    order.writes.push(step);
                }
                None => {
                    whole.insert(change.path.as_path());
                    self.place(change, &leaders, &mut order);
                }
            }
        }
        self.left.sort_by(|a, b| a.path.cmp(&b.path));
        Planned {
            steps: order.steps(),
            left: self.left,
            whole,
            contents,
        }
    }

    /// Puts what a change takes into the order.
    fn place(&self, change: &Change, leaders: &HashMap<&Path, Source>, order: &mut Order) {
        let Some(after) = &change.after else {
            order.removals.push(self.step(change, Action::Remove));
            return;
        };
        let mode = self.mode(change);
        match &after.kind {
            SideKind::Directory if change.kind == ChangeKind::Mode => {
                order.last.push(self.step(change, Action::Mode { mode }));
            }
            SideKind::Directory => {
                let modified = after.modified;
                let finish = Action::Finish { mode, modified };
                order.last.push(Step {
                    path: change.path.clone(),
                    action: finish,
                    expected: Expected::Any,
                });
                order.first.push(self.step(change, Action::Folder));
            }
            _ if in_place(change) => order.first.push(self.step(change, Action::Mode { mode })),
            _ => {
                let from = leaders.get(&change.path.as_path()).cloned();
                let from = from.unwrap_or_else(|| upper(after));
                let step = self.step(change, Action::Write { mode, from });
                match change.before.as_ref().is_some_and(Side::is_directory) {
                    true => order.after_removals.push(step),
                    false => order.writes.push(step),
                }
            }
        }
    }

    fn step(&self, change: &Change, action: Action) -> Step {
        let expected = match self.allow.conflicts {
            true => Expected::Any,
            false => Expected::of(change.before.as_ref()),
        };
        Step {
            path: change.path.clone(),
            action,
            expected,
        }
    }

    fn mode(&self, change: &Change) -> u32 {
        let sides = [&change.after, &change.before];
        let side = sides.into_iter().find_map(Option::as_ref);
        side.map_or(0o600, |side| {
            landing_mode(change, side, self.allow.special_bits)
        })
    }

    /// The folders of the host that names are made or removed in.
    fn around(&self) -> Vec<Step> {
        let mut folders: BTreeMap<PathBuf, Stat> = BTreeMap::new();
        let mut last: Option<&Path> = None;
        for (index, change) in self.set.changes().iter().enumerate() {
            let parent = change.path.parent().unwrap_or(Path::new(""));
            if !self.lands[index] || last == Some(parent) || folders.contains_key(parent) {
                continue;
            }
            last = Some(parent);
            let Ok(folder) = self.pending.workspace.handle(parent) else {
                continue;
            };
            if let Ok(stat) = rustix::fs::fstat(folder.as_fd())
                && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir()
            {
                folders.insert(parent.to_path_buf(), stat);
            }
        }
        let step = |(path, stat): (PathBuf, Stat)| {
            let mode = stat.st_mode & 0o7777;
            let identity = Identity::of(&stat);
            let clean = Moment::changed(&stat) < self.pending.began || self.ours.holds(&identity);
            let widened = mode & 0o300 != 0o300 && !is_root();
            Step {
                path,
                action: Action::Settle {
                    mode,
                    widened,
                    clean,
                },
                expected: Expected::Any,
            }
        };
        folders.into_iter().map(step).collect()
    }

    /// Where a file gets its contents from that is another name of one that is there, or lands before it.
    fn leaders(&self) -> HashMap<&'a Path, Source> {
        let mut leaders: HashMap<u64, &Path> = self.set.unchanged_groups().collect();
        let landing = self.set.changes().iter().enumerate();
        let landing =
            landing.filter(|(index, _)| self.lands[*index] && !self.parts.contains_key(index));
        let landing: Vec<&Change> = landing.map(|(_, change)| change).collect();
        let group = |change: &Change| change.after.as_ref().and_then(|after| after.link_group);
        for change in landing.iter().filter(|change| in_place(change)) {
            if let Some(group) = group(change) {
                leaders.entry(group).or_insert(&change.path);
            }
        }
        let mut found = HashMap::new();
        for change in landing.iter().filter(|change| !in_place(change)) {
            let (Some(group), Some(after)) = (group(change), &change.after) else {
                continue;
            };
            match leaders.get(&group) {
                Some(leader) => {
                    let (inode, size) = (after.identity.inode, after.size);
                    let to = leader.to_path_buf();
                    found.insert(change.path.as_path(), Source::Link { to, inode, size });
                }
                None => {
                    leaders.insert(group, &change.path);
                }
            }
        }
        found
    }
}

/// Whether only permission bits differ, of a file that has no other name: another name would change with it, and nobody has
/// seen that in the review.
fn in_place(change: &Change) -> bool {
    let before = change.before.as_ref();
    change.kind == ChangeKind::Mode && before.is_some_and(|before| before.identity.links == 1)
}

fn upper(after: &Side) -> Source {
    Source::Upper {
        inode: after.identity.inode,
        size: after.size,
    }
}
