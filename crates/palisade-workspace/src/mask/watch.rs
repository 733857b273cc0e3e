//! What appears while a session runs: files of masked names, other names of masked files, folders with such in them, and
//! files that come to hold a secret.
//!
//! The kernel tells of changes in a folder only who asked for it (inotify(7)), so every folder is asked for. It
//! tells after the fact: an agent that waits for a secret at the right moment may be quicker than the mask.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::rules::MaskRules;
use super::scan::{FileId, Manner, Scan, Scanner, Why, join};
use super::tree::Tree;
use super::{Known, Mask, MaskError, Masks, below_root, of_link, open};
use crate::paths::Located;

/// Room for a good number of events at a time.
const BUFFER: usize = 64 << 10;

/// Looks after what is masked.
#[derive(Debug)]
pub struct MaskWatch {
    rules: Arc<MaskRules>,
    shown: Vec<Located>,
    roots: Vec<Root>,
    queue: OwnedFd,
    watched: HashMap<i32, Watched>,
    /// Masked files, by whatever name.
    known: HashSet<FileId>,
    /// Folders that nobody is told of, because the kernel has no room for more.
    unwatched: usize,
    /// What the host runs and came while the session ran.
    protected: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    at: OwnedFd,
}

#[derive(Clone, Debug)]
struct Watched {
    root: usize,
    below: PathBuf,
    manner: Manner,
}

/// What became known.
#[derive(Debug, Default)]
pub struct News {
    /// What is to be masked, some of it perhaps again: a file that took the place of a masked one took its mask away.
    pub masks: Vec<Mask>,
    /// Events were lost, and everything was looked at anew.
    pub lost: bool,
}

impl MaskWatch {
    /// Goes on from what was found, and asks to be told of every change. Yields what has to be masked beside it: what lies in
    /// folders whose list was believed, and what changed since. Set `stop` when nobody waits for it any more: then some of that
    /// may be in `masks`, and the rest not.
    ///
    /// # Errors
    /// The kernel gives no queue, a folder cannot be read, or it was stopped.
    pub fn start(
        rules: Arc<MaskRules>,
        masks: &mut Masks,
        kept: Option<&Path>,
        stop: &AtomicBool,
    ) -> Result<(Self, News), MaskError> {
        let none = Path::new("/");
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| MaskError::new(none, errno.into()))?;
        let mut roots = Vec::new();
        for root in &masks.roots {
            roots.push(Root {
                path: root.path.clone(),
                at: open(&root.path).map_err(|error| MaskError::new(&root.path, error))?,
            });
        }
        let mut watch = Self {
            rules,
            shown: masks.shown.clone(),
            roots,
            queue,
            watched: HashMap::new(),
            known: HashSet::new(),
            unwatched: 0,
            protected: BTreeSet::new(),
        };
        // First to be told, then to look: what changes in between is seen by both.
        for (number, root) in masks.roots.iter().enumerate() {
            if let Known::AsItWas(kept) = &root.known
                && let Some(tree) = kept.tree()
            {
                watch.add_all(number, &tree, stop);
            } else if let Known::Tree(tree) = &root.known {
                watch.add_all(number, tree, stop);
            }
        }
        let before = masks.protected();
        let mut news = News {
            masks: masks.look_through_all(&watch.rules, kept, stop)?,
            lost: false,
        };
        watch.protected = masks.protected_beside(&before);
        for (number, root) in masks.roots.iter().enumerate() {
            if let Known::Tree(tree) = &root.known {
                watch.known.extend(tree.secret_files());
                news.masks.extend(watch.add_new(number, tree));
            }
        }
        Ok((watch, news))
    }

    /// Readable when there is something to [`MaskWatch::read`].
    pub fn source(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// How many folders nobody is told of, because the kernel has no room for more (`fs.inotify.max_user_watches`).
    pub fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// What the host runs, or takes settings from, and was made or moved there while this watched.
    pub fn protected(&self) -> &BTreeSet<PathBuf> {
        &self.protected
    }

    /// What became known since. Does not wait.
    ///
    /// # Errors
    /// The queue broke.
    pub fn read(&mut self) -> io::Result<News> {
        let mut news = News::default();
        let events = self.events()?;
        for event in events {
            if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                news.lost = true;
            } else if event.flags.contains(ReadFlags::IGNORED) {
                self.watched.remove(&event.watch);
            } else if let Some(watched) = self.watched.get(&event.watch).cloned() {
                let new = event
                    .flags
                    .intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                self.look_at(&watched, &event.name, new, &mut news.masks);
            }
        }
        if news.lost {
            for number in 0..self.roots.len() {
                let whole = Watched {
                    root: number,
                    below: PathBuf::new(),
                    manner: Manner::default(),
                };
                self.look_into(whole, &mut news.masks);
            }
        }
        Ok(news)
    }

    fn events(&self) -> io::Result<Vec<Event>> {
        let mut space = [const { MaybeUninit::uninit() }; BUFFER];
        let mut reader = inotify::Reader::new(&self.queue, &mut space);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => events.push(Event {
                    watch: event.wd(),
                    flags: event.events(),
                    name: event.file_name().map_or_else(OsString::new, |name| {
                        OsStr::from_bytes(name.to_bytes()).to_owned()
                    }),
                }),
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn scanner(&self, watched: &Watched) -> Scanner<'_> {
        let root = &self.roots[watched.root];
        Scanner {
            rules: &self.rules,
            root: &root.path,
            at: root.at.as_fd(),
            known: &self.known,
        }
    }

    /// One name of a folder.
    fn look_at(&mut self, watched: &Watched, name: &OsStr, new: bool, masks: &mut Vec<Mask>) {
        if name.is_empty() {
            return;
        }
        let scanner = self.scanner(watched);
        let scan = match scanner.scan_name(&watched.below, name, watched.manner, new) {
            Ok(Some(scan)) => scan,
            Ok(None) => return,
            Err(_) => return self.hide(watched, masks),
        };
        let folders = scan.folders.clone();
        self.take(watched, scan, masks);
        for (name, manner) in folders {
            let below = join(&watched.below, &name);
            self.look_into(
                Watched {
                    root: watched.root,
                    below,
                    manner,
                },
                masks,
            );
        }
    }

    /// A folder and all below it.
    fn look_into(&mut self, first: Watched, masks: &mut Vec<Mask>) {
        let mut waiting = vec![first];
        while let Some(watched) = waiting.pop() {
            self.add(&watched);
            let scanner = self.scanner(&watched);
            match scanner.scan(&watched.below, watched.manner) {
                Ok(Some(scan)) => {
                    waiting.extend(scan.folders.iter().map(|(name, manner)| Watched {
                        root: watched.root,
                        below: join(&watched.below, name),
                        manner: *manner,
                    }));
                    self.take(&watched, scan, masks);
                }
                Ok(None) => {}
                Err(_) => self.hide(&watched, masks),
            }
        }
    }

    fn take(&mut self, watched: &Watched, scan: Scan, masks: &mut Vec<Mask>) {
        let root = &self.roots[watched.root].path;
        for finding in scan.findings {
            if !finding.directory && finding.why.masks() && finding.why != Why::HardLink {
                self.known.insert(finding.file);
            }
            if finding.why == Why::Protected {
                let path = join(&watched.below, &finding.name);
                self.protected.insert(below_root(root, &path));
            } else if !finding.hidden {
                masks.push(Mask {
                    path: below_root(root, &join(&watched.below, &finding.name)),
                    directory: finding.directory,
                    rule: finding.rule as usize,
                    why: finding.why,
                });
            }
        }
        for (name, rule) in scan.links {
            let link = below_root(root, &join(&watched.below, &name));
            masks.extend(of_link(&self.shown, &link, rule as usize));
        }
    }

    /// A folder that cannot be looked into is masked whole.
    fn hide(&self, watched: &Watched, masks: &mut Vec<Mask>) {
        // The root itself stays: it is the agent's own place of work.
        if !watched.manner.hidden && !watched.below.as_os_str().is_empty() {
            masks.push(Mask {
                path: below_root(&self.roots[watched.root].path, &watched.below),
                directory: true,
                rule: 0,
                why: Why::Unreadable,
            });
        }
    }

    fn add_all(&mut self, root: usize, tree: &Tree, stop: &AtomicBool) {
        let folders = tree.folders.iter();
        for folder in folders.take_while(|_| !stop.load(Ordering::Relaxed)) {
            self.add(&Watched {
                root,
                below: folder.path.clone(),
                manner: folder.manner,
            });
        }
    }

    /// The folders that turned up after everything known was asked for.
    fn add_new(&mut self, root: usize, tree: &Tree) -> Vec<Mask> {
        let have: HashSet<&Path> = self
            .watched
            .values()
            .filter(|watched| watched.root == root)
            .map(|watched| &*watched.below)
            .collect();
        let new: Vec<Watched> = tree
            .folders
            .iter()
            .filter(|folder| !have.contains(&*folder.path) && !folder.manner.hidden)
            .map(|folder| Watched {
                root,
                below: folder.path.clone(),
                manner: folder.manner,
            })
            .collect();
        let mut masks = Vec::new();
        for watched in new {
            self.look_into(watched, &mut masks);
        }
        masks
    }

    fn add(&mut self, watched: &Watched) {
        // What lies in a masked folder cannot be seen inside, whatever becomes of it.
        if watched.manner.hidden {
            return;
        }
        let mut flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
            | WatchFlags::EXCL_UNLINK;
        // Files that tools fill a folder with are not told of when they change, since there would be no end of it.
        flags.set(WatchFlags::CLOSE_WRITE, !watched.manner.filled);
        let path = below_root(&self.roots[watched.root].path, &watched.below);
        match inotify::add_watch(&self.queue, &path, flags) {
            Ok(number) => drop(self.watched.insert(number, watched.clone())),
            // It is gone, or cannot be looked into and is masked whole.
            Err(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG,
            ) => {}
            Err(_) => self.unwatched += 1,
        }
    }
}

struct Event {
    watch: i32,
    flags: ReadFlags,
    name: OsString,
}
