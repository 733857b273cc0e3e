//! Finishing an apply that was cut short: temporary names first, then every step that the host does not show as done.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::changes::ours::Ours;
use crate::changes::{ChangesError, Identity, Moment, Pending, beneath, upper};

use super::engine::Engine;
use super::publish::{exchange, rename_new};
use super::step::{Action, Expected, Source, Step};
use super::{Applied, ApplyError, journal, prune};

/// What becomes of the steps that were not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Do,
    Leave,
}

pub(super) fn resume(pending: &Pending, rest: Rest) -> Result<Applied, ApplyError> {
    let folder = &pending.folder;
    let failed = |operation| {
        move |cause: io::Error| ApplyError::from(ChangesError::new(operation, folder, cause))
    };
    let mut progress = |_| {};
    let ours = Ours::read(folder).map_err(failed("read"))?;
    let plan = journal::read(folder).map_err(failed("read the journal in"))?;
    let mut engine = Engine::new(
        pending,
        plan.as_ref().map_or(0, |plan| plan.run),
        &mut progress,
    );
    if let Some(plan) = &plan {
        engine.widen_all(&plan.steps);
        let missing = engine.clean_up(&plan.steps);
        let steps: Vec<Step> = plan
            .steps
            .iter()
            .zip(missing)
            // A step keeps its number by its place: what is done becomes what does nothing.
            .map(|(step, done)| match (done, rest) {
                (true, _) => Step::nothing(step),
                (false, Rest::Leave) if step.lands() => Step::nothing(step),
                _ => step.clone(),
            })
            .collect();
        engine.run(&steps);
    }
    engine.finish(&ours).map_err(failed("write to"))?;
    if engine.applied.stopped.is_none() {
        let set = pending.read()?;
        prune::prune(pending, &set, &std::collections::HashSet::new())?;
        journal::remove(folder).map_err(failed("remove the journal in"))?;
    }
    Ok(engine.applied)
}

impl Step {
    /// What takes the place of a step that is not to be made.
    fn nothing(step: &Self) -> Self {
        Self {
            path: step.path.clone(),
            action: Action::Settle {
                mode: 0,
                widened: false,
                clean: false,
            },
            expected: Expected::Any,
        }
    }
}

impl Engine<'_> {
    fn widen_all(&mut self, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            if step.action == Action::Widen {
                self.run(&steps[index..=index]);
            }
        }
    }

    /// Removes temporary names, and says of each step whether it is done.
    fn clean_up(&mut self, steps: &[Step]) -> Vec<bool> {
        let mut all = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            if !step.lands() {
                all.push(false);
                continue;
            }
            let cleaned = self.clean_names(step, index);
            match cleaned.and_then(|()| self.is_done(step)) {
                Ok(done) => {
                    if done {
                        self.count(step);
                    }
                    all.push(done);
                }
                Err(error) => {
                    self.note(step, Err(error.into()));
                    all.push(true);
                }
            }
        }
        all
    }

    /// A step that an earlier run made.
    fn count(&mut self, step: &Step) {
        if let Ok(Some(stat)) = self.pending.workspace.stat(&step.path)
            && !beneath::kind(&stat).is_dir()
        {
            self.ours.push(Identity::of(&stat));
        }
        self.note(step, Ok(()));
    }

    fn clean_names(&mut self, step: &Step, index: usize) -> Result<(), Errno> {
        let folder = match self.folder_of(step) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        let new = self.temporary(index, "new");
        if let Some(stat) = beneath::look(folder.as_fd(), new.as_ref())? {
            remove(&folder, new.as_ref(), &stat)?;
        }
        for role in ["swap", "old"] {
            let name = self.temporary(index, role);
            if let Some(stat) = beneath::look(folder.as_fd(), name.as_ref())? {
                self.clean_name(step, &folder, name.as_ref(), &stat)?;
            }
        }
        Ok(())
    }

    /// A name that what was there may bear. Somebody else's file goes back to its place.
    fn clean_name(
        &mut self,
        step: &Step,
        folder: &OwnedFd,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let (_, last) = step.place();
        let is_old = step.expected != Expected::Any && step.expected.is_moved(stat);
        if is_old || self.is_written(step, stat, folder, name)? {
            return remove(folder, name, stat);
        }
        if step.expected == Expected::Any && self.is_done(step)? {
            // It was to be overwritten, whatever it is.
            return remove(folder, name, stat);
        }
        if rename_new(folder, name, last).is_err() && exchange(folder, name, last)? {
            // What was in its place is what we wrote, or somebody made it since: only the former is removed.
            if let Some(stat) = beneath::look(folder.as_fd(), name)?
                && self.is_written(step, &stat, folder, name)?
            {
                remove(folder, name, &stat)?;
            }
        }
        Ok(())
    }

    /// Whether the host shows that a step was made.
    fn is_done(&mut self, step: &Step) -> Result<bool, Errno> {
        let host = self.pending.workspace.stat(&step.path)?;
        let Some(host) = host else {
            return Ok(step.action == Action::Remove);
        };
        match &step.action {
            Action::Folder => Ok(beneath::kind(&host).is_dir()),
            Action::Mode { mode } => {
                Ok(host.st_mode & 0o7777 == *mode && step.expected.is_moved(&host))
            }
            Action::Write { .. } => {
                if step.expected != Expected::Any && step.expected.is(Some(&host)) {
                    return Ok(false);
                }
                let folder = self.folder_of(step)?;
                let (_, last) = step.place();
                self.is_written(step, &host, &folder, last)
            }
            _ => Ok(false),
        }
    }

    /// Whether a name has what a step writes.
    fn is_written(
        &self,
        step: &Step,
        stat: &Stat,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<bool, Errno> {
        let kind = beneath::kind(stat);
        let Action::Write { mode, from } = &step.action else {
            // A new folder, of which nothing else is known.
            return Ok(step.action == Action::Folder && kind.is_dir());
        };
        let own = match from {
            Source::Staged(number) => {
                let path = journal::staged(&self.pending.folder, *number);
                let file = std::fs::File::open(path);
                Some(OwnedFd::from(
                    file.map_err(|error| upper::to_errno(&error))?,
                ))
            }
            _ => self.own(step)?,
        };
        // It has left the upper, so it landed.
        let Some(own) = own else { return Ok(true) };
        let own_stat = rustix::fs::fstat(&own)?;
        match (beneath::kind(&own_stat), kind) {
            (FileType::Symlink, FileType::Symlink) => {
                let target = rustix::fs::readlinkat(&own, "", Vec::new())?;
                let there = rustix::fs::readlinkat(folder, name, Vec::new())?;
                Ok(target.as_bytes() == there.as_bytes())
            }
            (FileType::RegularFile, FileType::RegularFile) => {
                if own_stat.st_size != stat.st_size || stat.st_mode & 0o7777 != *mode {
                    return Ok(false);
                }
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let there = match readable(folder, name) {
                    // Written so that its owner cannot read it: by its times, which we set as well.
                    Err(Errno::ACCESS) => {
                        return Ok(Moment::modified(&own_stat) == Moment::modified(stat));
                    }
                    opened => opened?,
                };
                let same = upper::same_contents(there, own, size);
                same.map_err(|error| upper::to_errno(&error))
            }
            _ => Ok(false),
        }
    }

    /// The upper's side of a step, opened. Nothing, if it has left the upper.
    fn own(&self, step: &Step) -> Result<Option<OwnedFd>, Errno> {
        let upper = &self.pending.upper;
        match upper.tree.stat(&step.path)? {
            None => Ok(None),
            Some(stat) if beneath::kind(&stat).is_file() => upper.file(&step.path).map(Some),
            Some(_) => upper.tree.handle(&step.path).map(Some),
        }
    }
}

fn readable(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name.as_bytes(), flags, rustix::fs::Mode::empty())
}

fn remove(folder: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let flags = match beneath::kind(stat).is_dir() {
        true => AtFlags::REMOVEDIR,
        false => AtFlags::empty(),
    };
    rustix::fs::unlinkat(folder, name, flags)
}
