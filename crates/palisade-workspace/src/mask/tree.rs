//! What is known of one shown folder and all below it: which folders there are, as they were when they were looked into, and
//! what is masked in them.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::rules::{MaskRules, RuleIndex};
use super::scan::{FileId, Finding, Look, Manner, Scan, Scanner, Why, changed, join, status};
use super::workers::{each, spread};

/// In place of the time of a folder that could have changed since without a newer one.
const LOOK_AGAIN: i64 = 0;

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// Below the root.
    pub(super) path: PathBuf,
    pub(super) changed: i64,
    pub(super) inode: u64,
    pub(super) manner: Manner,
}

/// Something in one of the folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct In<T> {
    pub(super) folder: u32,
    pub(super) what: T,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) folders: Vec<Folder>,
    pub(super) findings: Vec<In<Finding>>,
    pub(super) looks: Vec<In<Look>>,
    pub(super) links: Vec<In<(std::ffi::OsString, RuleIndex)>>,
}

/// Which part of a tree is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What people keep.
    Kept,
    /// What tools fill.
    Filled,
}

/// What a folder is looked into for.
type Task = (PathBuf, Manner);

/// Where and by which rules.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) rules: &'a MaskRules,
    pub(super) root: &'a Path,
    pub(super) at: BorrowedFd<'a>,
    /// How long a change may be without a newer time.
    pub(super) tick: Duration,
    /// Set when nobody waits for the answer any more.
    pub(super) stop: &'a AtomicBool,
}

impl Tree {
    /// Looks at everything below the root.
    pub(super) fn new(place: Place<'_>) -> Result<Self, Errno> {
        let mut tree = Self::default();
        tree.add(place, vec![(PathBuf::new(), Manner::default())])?;
        Ok(tree)
    }

    /// Looks again at what changed since. Says whether anything did.
    pub(super) fn renew(&mut self, place: Place<'_>, part: Part) -> Result<bool, Errno> {
        let stale = self.stale(place, part);
        if place.stop.load(Ordering::Relaxed) {
            return Err(Errno::CANCELED);
        }
        if stale.is_empty() {
            return Ok(false);
        }
        self.look_again(place, &stale)?;
        let unlinked = self.unlinked();
        if !unlinked.is_empty() {
            self.look_again(place, &unlinked)?;
        }
        Ok(true)
    }

    /// Folders with another name of a file that is masked no more.
    fn unlinked(&self) -> Vec<u32> {
        let masked = self.masked_files(|_| true);
        let mut folders: Vec<u32> = self
            .findings
            .iter()
            .filter(|found| found.what.why == Why::HardLink && !masked.contains(&found.what.file))
            .map(|found| found.folder)
            .collect();
        folders.dedup();
        folders
    }

    /// The folders that are not as they were.
    fn stale(&self, place: Place<'_>, part: Part) -> Vec<u32> {
        let stopped = || place.stop.load(Ordering::Relaxed);
        let wanted = |folder: &Folder| (part == Part::Filled) == folder.manner.filled && !stopped();
        let of_folders = spread(&self.folders, |index, folder| {
            let as_it_was = !wanted(folder)
                || is_as_it_was(place.at, folder.rooted(), folder.changed, folder.inode);
            (!as_it_was).then_some(index)
        });
        let of_looks = spread(&self.looks, |_, look| {
            let folder = &self.folders[look.folder as usize];
            let as_it_was = !wanted(folder)
                || is_as_it_was(
                    place.at,
                    &join(&folder.path, &look.what.name),
                    look.what.changed,
                    look.what.inode,
                );
            (!as_it_was).then_some(look.folder)
        });
        let mut stale: Vec<u32> = of_folders.into_iter().chain(of_looks).collect();
        stale.sort_unstable();
        stale.dedup();
        stale
    }

    /// Looks into these folders again, and into all that are new in them.
    fn look_again(&mut self, place: Place<'_>, stale: &[u32]) -> Result<(), Errno> {
        let tasks: Vec<Task> = stale
            .iter()
            .map(|index| &self.folders[*index as usize])
            .map(|folder| (folder.path.clone(), folder.manner))
            .collect();
        self.forget(stale);
        self.add(place, tasks)?;
        self.drop_lost();
        Ok(())
    }

    /// Takes folders out, with all that was found in them.
    fn forget(&mut self, stale: &[u32]) {
        let gone: HashSet<u32> = stale.iter().copied().collect();
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let (mut old, mut new) = (0, 0);
        self.folders.retain(|_| {
            let keep = !gone.contains(&old);
            if keep {
                numbers.insert(old, new);
                new += 1;
            }
            old += 1;
            keep
        });
        renumber(&mut self.findings, &numbers);
        renumber(&mut self.looks, &numbers);
        renumber(&mut self.links, &numbers);
    }

    /// Looks into folders, and into those within them that are not known yet.
    fn add(&mut self, place: Place<'_>, tasks: Vec<Task>) -> Result<(), Errno> {
        // What is masked is known by its file as well, so that other names of it are found. Those met before the first
        // name of it are found in a second round.
        let known = self.masked_files(|_| true);
        let before: HashSet<PathBuf> = if self.folders.is_empty() {
            HashSet::new()
        } else {
            self.folders
                .iter()
                .map(|folder| folder.path.clone())
                .collect()
        };
        let seen = self.run(place, &known, tasks, &before)?;
        self.take(place, seen);
        let linked = self.masked_files(|finding| finding.linked);
        if linked.iter().all(|file| known.contains(file)) {
            return Ok(());
        }
        let all = self
            .folders
            .drain(..)
            .map(|folder| (folder.path, folder.manner))
            .collect();
        (self.findings, self.looks, self.links) = Default::default();
        let everything = self.run(place, &linked, all, &HashSet::new())?;
        self.take(place, everything);
        Ok(())
    }

    /// Looks into folders and into what is below them, but for those known `before`.
    fn run(
        &self,
        place: Place<'_>,
        known: &HashSet<FileId>,
        tasks: Vec<Task>,
        before: &HashSet<PathBuf>,
    ) -> Result<Vec<(Task, Option<Scan>)>, Errno> {
        let scanner = Scanner {
            rules: place.rules,
            root: place.root,
            at: place.at,
            known,
        };
        let listed: HashSet<PathBuf> = tasks.iter().map(|(path, _)| path.clone()).collect();
        let seen = each(tasks, |(path, manner), push| {
            let scan = match scanner.scan(&path, manner) {
                Ok(None) => return None,
                Ok(Some(scan)) => {
                    for (name, inner) in &scan.folders {
                        let below = join(&path, name);
                        if !before.contains(&below) && !listed.contains(&below) {
                            push((below, *inner));
                        }
                    }
                    Some(scan)
                }
                Err(Errno::ACCESS | Errno::PERM | Errno::NAMETOOLONG) => None,
                Err(error) => return Some(Err(error)),
            };
            Some(Ok(((path, manner), scan)))
        });
        seen.into_iter().collect()
    }

    fn take(&mut self, place: Place<'_>, seen: Vec<(Task, Option<Scan>)>) {
        let tick = i64::try_from(place.tick.as_nanos()).unwrap_or(i64::MAX);
        let fresh = now().saturating_sub(tick);
        for ((path, manner), scan) in seen {
            let Ok(number) = u32::try_from(self.folders.len()) else {
                return;
            };
            let Some(scan) = scan else {
                self.unreadable(number, path, manner);
                continue;
            };
            let at = |time: i64| if time > fresh { LOOK_AGAIN } else { time };
            self.folders.push(Folder {
                path,
                changed: at(scan.changed),
                inode: scan.inode,
                manner,
            });
            let within = |what| In {
                folder: number,
                what,
            };
            self.findings.extend(scan.findings.into_iter().map(within));
            self.looks.extend(scan.looks.into_iter().map(|mut look| {
                look.changed = at(look.changed);
                In {
                    folder: number,
                    what: look,
                }
            }));
            self.links.extend(scan.links.into_iter().map(|what| In {
                folder: number,
                what,
            }));
        }
    }

    /// A folder that cannot be looked into is masked whole. One of the agent's own user could be made readable by it.
    fn unreadable(&mut self, number: u32, path: PathBuf, manner: Manner) {
        self.folders.push(Folder {
            path,
            changed: LOOK_AGAIN,
            inode: 0,
            manner,
        });
        self.findings.push(In {
            folder: number,
            what: Finding {
                name: ".".into(),
                directory: true,
                rule: 0,
                why: Why::Unreadable,
                file: FileId {
                    device: 0,
                    inode: 0,
                },
                linked: false,
                hidden: manner.hidden,
            },
        });
    }

    /// Takes out folders whose parent is gone or is known to hold them no more.
    fn drop_lost(&mut self) {
        let paths: HashSet<&Path> = self.folders.iter().map(|folder| &*folder.path).collect();
        let lost: Vec<u32> = (0u32..)
            .zip(&self.folders)
            .filter(|(_, folder)| {
                let mut above = folder.path.ancestors().skip(1);
                !above.all(|parent| paths.contains(parent))
            })
            .map(|(number, _)| number)
            .collect();
        if !lost.is_empty() {
            self.forget(&lost);
        }
    }

    fn masked_files(&self, wanted: impl Fn(&Finding) -> bool) -> HashSet<FileId> {
        self.findings
            .iter()
            .map(|found| &found.what)
            .filter(|finding| {
                !finding.directory
                    && finding.why.masks()
                    && finding.why != Why::HardLink
                    && wanted(finding)
            })
            .map(|finding| finding.file)
            .collect()
    }

    /// The files that are masked, or lie in a masked folder.
    pub(super) fn secret_files(&self) -> HashSet<FileId> {
        self.masked_files(|_| true)
    }

    /// What has to be masked: path below the root, and the finding.
    pub(super) fn masked(&self) -> impl Iterator<Item = (PathBuf, &Finding)> {
        self.findings
            .iter()
            .filter(|found| !found.what.hidden && found.what.why.masks())
            .map(|found| {
                let folder = &self.folders[found.folder as usize].path;
                let path = match found.what.why {
                    Why::Unreadable => folder.clone(),
                    _ => join(folder, &found.what.name),
                };
                (path, &found.what)
            })
    }

    /// What the host runs: path below the root, and whether it is a folder.
    pub(super) fn protected(&self) -> impl Iterator<Item = (PathBuf, bool)> {
        self.findings
            .iter()
            .filter(|found| found.what.why == Why::Protected)
            .map(|found| {
                let folder = &self.folders[found.folder as usize].path;
                (join(folder, &found.what.name), found.what.directory)
            })
    }

    /// Links of masked names: path below the root, and the rule.
    pub(super) fn masked_links(&self) -> impl Iterator<Item = (PathBuf, RuleIndex)> {
        self.links.iter().map(|link| {
            let folder = &self.folders[link.folder as usize].path;
            (join(folder, &link.what.0), link.what.1)
        })
    }
}

impl Folder {
    /// For a system call: the root's own path is none.
    pub(super) fn rooted(&self) -> &Path {
        if self.path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.path
        }
    }
}

/// Whether a folder or file is the one that was looked into, and has not changed since.
pub(super) fn is_as_it_was(at: BorrowedFd<'_>, path: &Path, time: i64, inode: u64) -> bool {
    status(at, path).is_ok_and(|now| changed(&now) == time && now.stx_ino == inode)
}

fn renumber<T>(list: &mut Vec<In<T>>, numbers: &HashMap<u32, u32>) {
    list.retain_mut(|entry| match numbers.get(&entry.folder) {
        Some(number) => {
            entry.folder = *number;
            true
        }
        None => false,
    });
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}
