//! Secrets that appear while the agent runs.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use palisade_boundary::Masker;
use palisade_gate::Notice;
use palisade_protocol::TreeEntry;
use palisade_workspace::{Mask, MaskRules, MaskWatch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::inside::Inside;
use super::{Hidden, describe};
use crate::spelling::{SpellingError, covered};

/// How long a session runs before it is watched. What changes until then is found when the watch begins. The kernel takes
/// ten milliseconds to give a queue of watches up (it waits for all who may be using it), which short commands are spared.
const BEFORE_WATCHING: Duration = Duration::from_millis(50);

/// How long it is watched before a hand that takes time to be made is made though nothing has appeared: a command that takes
/// seconds will hardly notice it, and one that takes less is spared it.
const BEFORE_A_HAND: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Most masks that are told of one by one while a session runs.
const MOST_TOLD: usize = 10;

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

    /// Ends it and yields what came that the host would run. Before watching began that takes a look at each folder, which is
    /// only taken where it is `wanted`.
    pub(crate) fn finish(mut self, wanted: bool) -> io::Result<BTreeSet<PathBuf>> {
        self.stop();
        if let Some(watcher) = self.watcher {
            let joined = watcher.thread.join();
            return joined.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
        }
        let Some((mut hidden, _)) = self.waiting.filter(|_| wanted) else {
            return Ok(BTreeSet::new());
        };
        let before = hidden.masks.protected();
        let came = hidden
            .masks
            .protected_since(&hidden.rules, Some(&hidden.kept), &before);
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
    let Hidden {
        rules,
        mut masks,
        kept,
    } = hidden;
    let before = masks.protected();
    let started = MaskWatch::start(Arc::clone(&rules), &mut masks, Some(&kept), stopping);
    if stopping.load(Ordering::Relaxed) && started.is_err() {
        // The session ended meanwhile.
        let came = masks.protected_since(&rules, Some(&kept), &before);
        return came.map_err(io::Error::other);
    }
    drop(masks);
    let (mut watch, news) = started.map_err(io::Error::other)?;
    layer.lay(&news.masks)?;
    if watch.unwatched() > 0 {
        layer.notices.notice(&format!(
            "note: masks: {} folders are not watched for secrets that appear during the session (raise fs.inotify.max_user_watches)",
            watch.unwatched()
        ));
    }
    let mut before_a_hand = Some(BEFORE_A_HAND);
    loop {
        let [told, stopped] = wait(&[watch.source(), stopped], before_a_hand.as_ref())?;
        if before_a_hand.is_some() && !stopped {
            layer.masker.prepare()?;
            before_a_hand = None;
        }
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

/// Waits until one of them is readable, or for so long, and says which are.
fn wait<const N: usize>(
    sources: &[BorrowedFd<'_>; N],
    limit: Option<&Timespec>,
) -> io::Result<[bool; N]> {
    let mut sources = sources.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
    match poll(&mut sources, limit) {
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
