//! Secrets within what is shown: found before the session, looked after while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use palisade_boundary::Masker;
use palisade_config::Effective;
use palisade_gate::Notice;
use palisade_protocol::{Ownership, TreeAccess, TreeEntry};
use palisade_workspace::{
    Located, Mask, MaskError, MaskPattern, MaskRule, MaskRules, MaskWatch, Masks, Why,
    WrittenPattern, held_in_place, tracked,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::spelling::{SpellingError, covered};

/// How long a session runs before it is watched. What changes until then is found when the watch begins. The kernel takes
/// ten milliseconds to give a queue of watches up (it waits for all who may be using it), which short commands are spared.
const BEFORE_WATCHING: Duration = Duration::from_millis(50);

/// Most masks that are told of one by one while a session runs.
const MOST_TOLD: usize = 10;

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

/// Where paths of the host are seen inside.
struct Inside {
    /// What shows the host's folders and files, in building order.
    shown: Vec<Shown>,
}

struct Shown {
    source: PathBuf,
    target: PathBuf,
    /// What is written there lands on the host at once.
    writable: bool,
}

impl Inside {
    fn new(tree: &[TreeEntry]) -> Self {
        let shown = tree.iter().filter_map(|entry| {
            let (source, target, writable) = match entry {
                TreeEntry::Bind {
                    source,
                    target,
                    access,
                    ..
                } => (source, target, *access == TreeAccess::Write),
                TreeEntry::Overlay { source, target, .. } => (source, target, false),
                _ => return None,
            };
            Some(Shown {
                source: source.clone(),
                target: target.clone(),
                writable,
            })
        });
        Self {
            shown: shown.collect(),
        }
    }

    /// The paths inside by which a path of the host is seen, and what shows it there.
    fn seen(&self, path: &Path) -> BTreeMap<PathBuf, &Shown> {
        let places = self.shown.iter().filter_map(|shown| {
            let below = path.strip_prefix(&shown.source).ok()?;
            let inside = if below.as_os_str().is_empty() {
                shown.target.clone()
            } else {
                shown.target.join(below)
            };
            // Another entry may lie over this one there.
            let over = self
                .shown
                .iter()
                .filter(|over| inside.starts_with(&over.target));
            let deepest = over.max_by_key(|over| over.target.as_os_str().len())?;
            path.starts_with(&deepest.source)
                .then_some((inside, deepest))
        });
        places.collect()
    }

    fn of(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        self.seen(path).into_keys()
    }

    /// The same, where it could be written.
    fn writable(&self, path: &Path) -> impl Iterator<Item = (&Shown, PathBuf)> {
        let seen = self.seen(path).into_iter();
        seen.filter(|(_, shown)| shown.writable)
            .map(|(inside, shown)| (shown, inside))
    }
}

/// Looks after masks while the agent runs.
pub(crate) struct MaskKeeper {
    /// Until watching begins.
    waiting: Option<(Hidden, Layer)>,
    from: Instant,
    watcher: Option<Watcher>,
}

/// A thread that watches. When it cannot go on, `ended` turns readable.
struct Watcher {
    thread: JoinHandle<io::Result<BTreeSet<PathBuf>>>,
    stop: Option<OwnedFd>,
    stopping: Arc<AtomicBool>,
    ended: OwnedFd,
}

impl MaskKeeper {
    /// From now on.
    pub(crate) fn new(
        hidden: Hidden,
        tree: &[TreeEntry],
        masker: Box<dyn Masker>,
        notices: Arc<dyn Notice>,
    ) -> Self {
        let layer = Layer {
            rules: Arc::clone(&hidden.rules),
            inside: Inside::new(tree),
            masker,
            notices,
            told: 0,
        };
        Self {
            waiting: Some((hidden, layer)),
            from: Instant::now() + BEFORE_WATCHING,
            watcher: None,
        }
    }

    /// When [`MaskKeeper::begin`] wants to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|_| self.from)
    }

    /// Begins to watch.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if let Some((hidden, layer)) = self.waiting.take() {
            self.watcher = Some(Watcher::start(hidden, layer)?);
        }
        Ok(())
    }

    /// Readable once nothing is looked after any more.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(|watcher| watcher.ended.as_fd())
    }

    /// Tells it to end, without waiting.
    pub(crate) fn stop(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watcher.stop();
        }
    }

    /// Ends it and yields what came that the host would run.
    pub(crate) fn finish(mut self) -> io::Result<BTreeSet<PathBuf>> {
        self.stop();
        if let Some(watcher) = self.watcher {
            let joined = watcher.thread.join();
            return joined.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
        }
        let Some((mut hidden, _)) = self.waiting else {
            return Ok(BTreeSet::new());
        };
        let came = hidden
            .masks
            .protected_since(&hidden.rules, Some(&hidden.kept));
        came.map_err(io::Error::other)
    }
}

impl Watcher {
    fn start(hidden: Hidden, mut layer: Layer) -> io::Result<Self> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (ended, alive) = rustix::pipe::pipe_with(flags)?;
        let (stopped, stop) = rustix::pipe::pipe_with(flags)?;
        let stopping = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("masks".into())
            .spawn(move || {
                // Closing this end is what the supervisor sees, however the thread ends.
                let _alive = alive;
                watch(hidden, &mut layer, stopped.as_fd(), &seen)
            })?;
        Ok(Self {
            thread,
            stop: Some(stop),
            stopping,
            ended,
        })
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop = None;
    }
}

fn watch(
    hidden: Hidden,
    layer: &mut Layer,
    stopped: BorrowedFd<'_>,
    stopping: &AtomicBool,
) -> io::Result<BTreeSet<PathBuf>> {
    let Hidden { rules, masks, kept } = hidden;
    let (mut watch, news) =
        MaskWatch::start(rules, masks, Some(&kept), stopping).map_err(io::Error::other)?;
    layer.lay(&news.masks)?;
    if watch.unwatched() > 0 {
        layer.notices.notice(&format!(
            "note: masks: {} folders are not watched for secrets that appear during the session (raise fs.inotify.max_user_watches)",
            watch.unwatched()
        ));
    }
    loop {
        let [told, stopped] = wait(&[watch.source(), stopped])?;
        if stopped || told {
            // What came last is told of before the session ends.
            let news = watch.read()?;
            layer.lay(&news.masks)?;
        }
        if stopped {
            return Ok(watch.protected().clone());
        }
    }
}

/// Waits until one of them is readable, and says which are.
fn wait<const N: usize>(sources: &[BorrowedFd<'_>; N]) -> io::Result<[bool; N]> {
    let mut sources = sources.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
    match poll(&mut sources, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(sources.each_ref().map(|fd| !fd.revents().is_empty()))
}

/// Lays masks over paths inside.
struct Layer {
    rules: Arc<MaskRules>,
    inside: Inside,
    masker: Box<dyn Masker>,
    notices: Arc<dyn Notice>,
    told: usize,
}

impl Layer {
    fn lay(&mut self, masks: &[Mask]) -> io::Result<()> {
        for mask in masks {
            let mut laid = false;
            for path in self.inside.of(&mask.path) {
                laid |= self.masker.mask(&path, mask.directory).map_err(|error| {
                    let words = format!("{} could not be masked: {error}", path.display());
                    io::Error::other(words)
                })?;
            }
            if laid {
                // One that the agent keeps from being looked at is no reason to end the session.
                if let Err(error @ SpellingError::Hidden { .. }) =
                    covered(&mask.path, SpellingError::hidden)
                {
                    return Err(io::Error::other(error));
                }
                self.tell(mask);
            }
        }
        Ok(())
    }

    fn tell(&mut self, mask: &Mask) {
        self.told += 1;
        if self.told > MOST_TOLD {
            return;
        }
        let path = mask.path.display();
        let line = match describe(&self.rules, mask).rule {
            Some(rule) => format!(
                "note: {path} appeared and is masked by `{}` ({}); `unmask` in the policy shows it",
                rule.pattern, rule.source
            ),
            None => format!("note: {path} appeared and is masked"),
        };
        self.notices.notice(&line);
        if self.told == MOST_TOLD {
            self.notices
                .notice("note: more that appears and is masked is not told of");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str) -> TreeEntry {
        TreeEntry::Bind {
            source: source.into(),
            target: target.into(),
            access: TreeAccess::Read,
            ownership: Ownership::Host,
        }
    }

    #[test]
    fn a_path_is_masked_wherever_it_is_seen() {
        let tree = [
            bind("/usr", "/usr"),
            bind("/w", "/w"),
            bind("/w/a", "/w/a"),
            bind("/w/a", "/home/ada/a"),
            bind("/other", "/w/covered"),
            bind("/w/one", "/x/one"),
        ];
        let inside = Inside::new(&tree);
        let of = |path: &str| -> Vec<String> {
            let paths = inside.of(Path::new(path));
            paths.map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of("/w/.env"), ["/w/.env"]);
        assert_eq!(of("/w/a/.env"), ["/home/ada/a/.env", "/w/a/.env"]);
        assert_eq!(of("/w/one"), ["/w/one", "/x/one"]);
        assert_eq!(of("/w/covered/.env"), [""; 0], "something else lies there");
        assert_eq!(of("/home/.env"), [""; 0]);
    }
}
