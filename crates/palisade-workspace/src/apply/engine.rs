//! Doing the steps of a plan, in their order, and remembering what became of each.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{CWD, Mode, Timespec, Timestamps};
use rustix::io::Errno;

use crate::changes::beneath;
use crate::changes::ours::Ours;
use crate::changes::{ChangeSet, ChangesError, Conflict, Identity, Moment, Pending};

use super::journal::{self, Plan};
use super::plan::plan;
use super::prune;
use super::step::{Action, Step};
use super::{Allow, Applied, ApplyError, Left, LeftReason, Progress, Selection};

/// Writes that are made durable together: this many files, or bytes. A sync costs milliseconds, however little there is; and
/// this much is on the disk twice, at most.
const BATCH_FILES: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;
/// Up to this many, files and folders are made durable one by one; above, the file system as a whole.
const FEW: usize = 16;

/// Does the steps.
pub(super) struct Engine<'a> {
    pub(super) pending: &'a Pending,
    pub(super) run: u64,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    /// The folder used last: steps come in the order of their paths.
    parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// How we left what we wrote.
    pub(super) ours: Vec<Identity>,
    /// Folders that are ours alone to have changed.
    clean: Vec<PathBuf>,
    /// Folders to be made durable.
    touched: BTreeSet<PathBuf>,
    pub(super) applied: Applied,
}

pub(super) type Done<T = ()> = Result<T, LeftReason>;

impl From<Errno> for LeftReason {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

impl From<io::Error> for LeftReason {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Plans, writes the journal, does the steps, and lets what landed leave the change set.
pub(super) fn apply(
    pending: &Pending,
    set: &ChangeSet,
    selection: &Selection<'_>,
    allow: &Allow,
    progress: &mut dyn FnMut(Progress),
) -> Result<Applied, ApplyError> {
    let folder = &pending.folder;
    let failed = |operation| {
        move |cause: io::Error| ApplyError::from(ChangesError::new(operation, folder, cause))
    };
    let ours = Ours::read(folder).map_err(failed("read"))?;
    let planned = plan(pending, set, selection, allow, &ours);
    let run = random().map_err(failed("name temporary files for"))?;
    let plan = Plan {
        run,
        steps: planned.steps,
    };
    let mut engine = Engine::new(pending, run, progress);
    engine.applied.left = planned.left;
    if !plan.steps.is_empty() {
        for (number, contents) in planned.contents.iter().enumerate() {
            journal::stage(folder, number as u64, contents).map_err(failed("write to"))?;
        }
        journal::write(folder, &plan).map_err(failed("write the journal in"))?;
        (engine.progress)(Progress::Planned(plan.steps.len()));
        engine.run(&plan.steps);
    }
    engine.finish(&ours).map_err(failed("write to"))?;
    if engine.applied.stopped.is_none() {
        (engine.progress)(Progress::Pruning);
        let done = engine.applied.done.iter().map(PathBuf::as_path);
        let gone = done.filter(|path| planned.whole.contains(path)).collect();
        prune::prune(pending, set, &gone)?;
        journal::remove(folder).map_err(failed("remove the journal in"))?;
    }
    Ok(engine.applied)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        pending: &'a Pending,
        run: u64,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            pending,
            run,
            progress,
            parent: None,
            ours: Vec::new(),
            clean: Vec::new(),
            touched: BTreeSet::new(),
            applied: Applied::default(),
        }
    }

    /// Does all steps. After one that shows that nothing more can be written, only what puts folders in order.
    pub(super) fn run(&mut self, steps: &[Step]) {
        let mut index = 0;
        while index < steps.len() {
            let step = &steps[index];
            if step.lands() && self.applied.stopped.is_some() {
                self.leave(step, LeftReason::NotTried);
                index += 1;
            } else if step.writes() {
                let end = index + batch(&steps[index..]);
                self.write_batch(steps, index..end);
                index = end;
            } else {
                let done = self.single(step, index);
                self.note(step, done);
                index += 1;
            }
        }
    }

    /// Stages files, makes them durable, and puts each in its place.
    fn write_batch(&mut self, steps: &[Step], range: std::ops::Range<usize>) {
        let mut staged: HashMap<&Path, String> = HashMap::new();
        let mut waiting = Vec::new();
        let few = range.len() <= FEW;
        for index in range {
            let step = &steps[index];
            if self.applied.stopped.is_some() {
                self.leave(step, LeftReason::NotTried);
                continue;
            }
            match self.stage(step, index, &staged, few) {
                Ok(()) => {
                    (self.progress)(Progress::Staged);
                    staged.insert(&step.path, self.temporary(index, "new"));
                    waiting.push(index);
                }
                Err(reason) => self.note(step, Err(reason)),
            }
        }
        // What waits is whole, so it may go on when a later one found the disk full.
        if let Some(Err(error)) = (!few).then(|| rustix::fs::syncfs(self.pending.workspace.root()))
        {
            for index in waiting {
                self.unstage(&steps[index], index);
                self.note(&steps[index], Err(error.into()));
            }
            self.applied.stopped.get_or_insert(error.into());
            return;
        }
        for index in waiting {
            let done = self.publish(&steps[index], index);
            if done.is_err() {
                self.unstage(&steps[index], index);
            }
            self.note(&steps[index], done);
        }
    }

    fn single(&mut self, step: &Step, index: usize) -> Done {
        match step.action {
            Action::Folder => self.make_folder(step, index),
            Action::Remove => self.remove(step, index),
            Action::Mode { mode } => self.set_mode(step, mode),
            Action::Widen => self.widen(step),
            Action::Settle {
                mode,
                widened,
                clean,
            } => {
                if clean {
                    self.clean.push(step.path.clone());
                }
                if widened {
                    self.chmod(&step.path, mode)
                } else {
                    Ok(())
                }
            }
            Action::Finish { mode, modified } => self.finish_folder(step, mode, modified),
            Action::Write { .. } => Ok(()),
        }
    }

    fn set_mode(&mut self, step: &Step, mode: u32) -> Done {
        let handle = self.pending.workspace.handle(&step.path)?;
        let stat = rustix::fs::fstat(&handle)?;
        // A link has no bits of its own, and what it leads to is not meant; nor is another name of a file, which anybody who may
        // write to the folder can have put there.
        let is_only_here =
            beneath::kind(&stat).is_dir() || (beneath::kind(&stat).is_file() && stat.st_nlink == 1);
        if !step.expected.is(Some(&stat)) || !is_only_here {
            return Err(LeftReason::Conflict(Conflict::Changed));
        }
        chmod(&handle, mode)?;
        self.ours.push(Identity::of(&rustix::fs::fstat(&handle)?));
        (self.progress)(Progress::Landed);
        Ok(())
    }

    fn widen(&self, step: &Step) -> Done {
        let handle = self.pending.workspace.handle(&step.path)?;
        let stat = rustix::fs::fstat(&handle)?;
        if beneath::kind(&stat).is_dir() {
            chmod(&handle, (stat.st_mode & 0o7777) | 0o700)?;
        }
        Ok(())
    }

    fn chmod(&self, path: &Path, mode: u32) -> Done {
        let handle = self.pending.workspace.handle(path)?;
        if beneath::kind(&rustix::fs::fstat(&handle)?).is_dir() {
            chmod(&handle, mode)?;
        }
        Ok(())
    }

    fn finish_folder(&mut self, step: &Step, mode: u32, modified: Moment) -> Done {
        let handle = self.pending.workspace.handle(&step.path)?;
        let stat = rustix::fs::fstat(&handle)?;
        if !beneath::kind(&stat).is_dir() {
            return Ok(());
        }
        // The kernel gave it the set-group-ID bit of the folder it is in.
        let inherited = stat.st_mode & 0o2000;
        let itself = beneath::itself(handle.as_fd());
        rustix::fs::utimensat(CWD, &itself, &times(modified), rustix::fs::AtFlags::empty())?;
        chmod(&handle, mode | inherited)?;
        self.clean.push(step.path.clone());
        Ok(())
    }

    /// The folder that a step's path is in, opened.
    pub(super) fn folder_of(&mut self, step: &Step) -> Result<Rc<OwnedFd>, Errno> {
        let (parent, _) = step.place();
        self.folder(parent)
    }

    pub(super) fn folder(&mut self, parent: &Path) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((path, folder)) = &self.parent
            && path == parent
        {
            return Ok(Rc::clone(folder));
        }
        let folder = Rc::new(self.pending.workspace.directory(parent)?);
        self.touched.insert(parent.to_path_buf());
        self.parent = Some((parent.to_path_buf(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// A name that is ours in the folder of a step: `new` for what waits, `swap` for what is exchanged, `old` for what goes.
    pub(super) fn temporary(&self, index: usize, role: &str) -> String {
        format!(".palisade-{:016x}-{index}.{role}", self.run)
    }

    pub(super) fn note(&mut self, step: &Step, done: Done) {
        match done {
            Ok(()) if step.lands() => self.applied.done.push(step.path.clone()),
            Ok(()) => {}
            Err(reason) => {
                if let LeftReason::Failed(error) = &reason
                    && ends_all(error)
                    && self.applied.stopped.is_none()
                {
                    let again = error.raw_os_error().map(io::Error::from_raw_os_error);
                    self.applied.stopped = Some(again.unwrap_or_else(|| error.kind().into()));
                }
                self.leave(step, reason);
            }
        }
    }

    fn leave(&mut self, step: &Step, reason: LeftReason) {
        if step.lands() {
            let path = step.path.clone();
            self.applied.left.push(Left { path, reason });
        }
    }

    /// Makes all that was done durable, and remembers it as ours.
    pub(super) fn finish(&mut self, ours: &Ours) -> io::Result<()> {
        self.parent = None;
        let synced = self.sync_folders();
        for path in std::mem::take(&mut self.clean) {
            if let Ok(Some(stat)) = self.pending.workspace.stat(&path) {
                self.ours.push(Identity::of(&stat));
            }
        }
        self.applied.done.sort();
        self.applied.left.sort_by(|a, b| a.path.cmp(&b.path));
        if let Err(error) = synced.and_then(|()| ours.add(&self.ours)) {
            // On a full disk the journal stays, and resuming does this again.
            if self.applied.stopped.is_none() && !ends_all(&error) {
                return Err(error);
            }
            self.applied.stopped.get_or_insert(error);
        }
        Ok(())
    }

    fn sync_folders(&self) -> io::Result<()> {
        if self.touched.len() > FEW {
            return Ok(rustix::fs::syncfs(self.pending.workspace.root())?);
        }
        for path in &self.touched {
            match self.pending.workspace.directory(path) {
                Ok(folder) => rustix::fs::fsync(folder)?,
                // Removed, or not for us to read: with its parent, or with the rest.
                Err(_) => rustix::fs::syncfs(self.pending.workspace.root())?,
            }
        }
        Ok(())
    }
}

/// How many steps from the first are written together.
fn batch(steps: &[Step]) -> usize {
    let mut bytes = 0;
    let writes = steps.iter().take(BATCH_FILES).take_while(|step| {
        let begins = bytes < BATCH_BYTES;
        bytes += step.size();
        begins && step.writes()
    });
    writes.count()
}

/// Whether what comes later would fail as well.
fn ends_all(error: &io::Error) -> bool {
    let codes = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::IO,
        Errno::ROFS,
        Errno::MFILE,
        Errno::NFILE,
    ];
    Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}

pub(super) fn chmod(handle: &OwnedFd, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmod(beneath::itself(handle.as_fd()), Mode::from_raw_mode(mode))
}

/// A time of the contents, and the same for the last reading.
pub(super) fn times(modified: Moment) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
