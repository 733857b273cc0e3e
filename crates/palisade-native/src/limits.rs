//! Resource limits of a session: what holds each, and how well.
//!
//! ```text
//!   Surroundings::read() ─▶ judge(): how well each would be held       (nothing is changed)
//!                       └─▶ plan(): makes the control group, if any
//!                             attach(pid)   parent, before the agent runs
//!                             rlimits(), affinity()   child, before it gives up its rights
//!                             sample(), outcome()     parent, while it runs and after
//!                             drop          the group is removed
//! ```
//!
//! Each limit is held by the first of these that is there: a version 2 control group (delegated, or root), a version 1
//! group, limits of single processes. The number of processes is held by `RLIMIT_NPROC` where that counts a session
//! alone (Linux 5.14), which costs nothing.
//!
//! Without limits in the policy no control group is made; then only [`DEFAULT_PROCESSES`] holds, and no core is dumped.

mod choice;
mod group;
mod sample;
mod surroundings;
mod watch;

use std::time::Duration;

use palisade_boundary::{Assessment, Bytes, Control, Limits, StartError};
use palisade_guest::filter;
use palisade_sys::rlimit::Resource;
use rustix::thread::CpuSet;

use self::choice::{Choice, Means, whole_processors};
use self::group::{SessionGroup, Wanted};
pub(crate) use self::sample::descendants;
pub use self::surroundings::{GroupView, Surroundings, Unified};
pub use self::watch::Watch;

/// How often [`LimitsPlan::sample`] is called where it is needed. A process that fills memory at 1 GB/s overshoots by
/// a quarter of that; looking at 100 processes takes about 3 ms.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Processes and threads where the policy names no number: enough for a parallel build with a language server beside
/// it, and small enough that a fork bomb leaves the machine usable.
pub const DEFAULT_PROCESSES: u32 = 4096;

/// Palisade's own init is one of the session's processes.
const OWN_PROCESSES: u32 = 1;
/// Init and the dynamic loader of the smallest program take about 2 MiB.
const MIN_MEMORY: u64 = 4 << 20;
/// The kernel refuses a quota below 1 ms in a period of 100 ms.
const MIN_CPUS: f64 = 0.01;

/// A limit was passed and the session has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What to tell the user.
    pub message: String,
}

/// How this session's limits are held. Dropped after the last process of the session has ended.
#[derive(Debug)]
pub struct LimitsPlan {
    limits: Limits,
    groups: Vec<SessionGroup>,
    rlimits: Vec<(Resource, u64)>,
    affinity: Option<CpuSet>,
    /// Bytes that nothing but a look from outside holds.
    sampled: Option<u64>,
}

/// Whether any limit would be held by a control group, if one could be made.
pub(crate) fn want_groups(limits: &Limits, here: &Surroundings) -> bool {
    !choice::wanted(limits, here.kernel).is_empty()
}

/// How well each limit would be held: `limits.processes` always, the others where they are asked for.
pub fn judge(limits: &Limits, here: &Surroundings) -> Vec<Assessment> {
    let choice = Choice::of(limits, here);
    let controls = [
        (Control::Memory, choice.judge_memory()),
        (Control::Cpus, choice.judge_cpus(limits.cpus, here)),
        (Control::Processes, Some(choice.judge_processes(here))),
    ];
    controls
        .into_iter()
        .filter_map(|(control, enforcement)| {
            Some(Assessment {
                control,
                enforcement: enforcement?,
            })
        })
        .collect()
}

/// Makes what the limits need, before the boundary is made. Where no limit is asked for, nothing is made.
///
/// # Errors
/// A limit nothing could run under, or a control group that could not be made.
pub fn plan(limits: &Limits, here: &Surroundings) -> Result<LimitsPlan, StartError> {
    check(limits)?;
    let choice = Choice::of(limits, here);
    let mut plan = LimitsPlan::without_groups(limits);
    plan.groups = make_groups(limits, &choice)?;
    if let (Some(Means::Process), Some(bytes)) = (&choice.memory, limits.memory) {
        plan.rlimits.push((Resource::Data, bytes));
        plan.sampled = Some(bytes);
    }
    if let (Some(Means::Process), Some(cpus)) = (&choice.cpus, limits.cpus) {
        plan.affinity = some_processors(&here.processors, whole_processors(cpus))?;
    }
    // Where a group counts them, the kernel is older, and would count the user's processes outside too.
    if matches!(choice.processes, Some(Means::Unified | Means::Legacy(_))) {
        plan.rlimits
            .retain(|(resource, _)| *resource != Resource::Nproc);
    }
    Ok(plan)
}

impl LimitsPlan {
    fn without_groups(limits: &Limits) -> Self {
        let processes = limits.processes.unwrap_or(DEFAULT_PROCESSES);
        Self {
            limits: *limits,
            groups: Vec::new(),
            rlimits: vec![
                // A dump would put the agent's memory into the workspace, or hand it to a program of the host's.
                (Resource::Core, 0),
                (
                    Resource::Nproc,
                    u64::from(processes.saturating_add(OWN_PROCESSES)),
                ),
            ],
            affinity: None,
            sampled: None,
        }
    }

    /// Puts a process, and so its descendants to come, under the limits. In the parent, before the agent runs.
    ///
    /// # Errors
    /// The kernel's refusal to move it, naming the group.
    pub fn attach(&mut self, pid: u32) -> Result<(), StartError> {
        self.groups.iter().try_for_each(|group| group.enter(pid))
    }

    /// What the child puts on itself by [`palisade_sys::rlimit::lower`], once it is who it is going to be.
    pub fn rlimits(&self) -> &[(Resource, u64)] {
        &self.rlimits
    }

    /// The processors the child binds itself to, where that is what limits it.
    pub fn affinity(&self) -> Option<&CpuSet> {
        self.affinity.as_ref()
    }

    /// What the filter has to close so that these limits hold.
    pub fn filter_options(&self) -> filter::Options {
        filter::Options {
            affinity: self.affinity.is_none(),
            ..filter::Options::default()
        }
    }

    /// Whether [`LimitsPlan::sample`] has to be called, every [`SAMPLE_EVERY`].
    pub fn needs_sampling(&self) -> bool {
        self.sampled.is_some()
    }

    /// Looks at the memory of the session whose init is this process. The caller ends the session if it is too much.
    pub fn sample(&self, init: u32) -> Option<Exceeded> {
        let limit = self.sampled?;
        let in_use = sample::memory_in_use(init, limit);
        (in_use > limit).then(|| Exceeded {
            message: format!("memory limit of {} reached (session ended)", Bytes(limit)),
        })
    }

    /// Which limits ended or refused something so far, in words for the user.
    pub fn outcome(&self) -> Option<String> {
        let mut reached = Vec::new();
        for events in self.groups.iter().map(SessionGroup::events) {
            let (killed, refused) = (events.memory_kills, events.refused_processes);
            reached.extend(self.limits.reached(killed, refused));
        }
        (!reached.is_empty()).then(|| reached.join("; "))
    }
}

fn refused<T>(cause: String, fix: &str) -> Result<T, StartError> {
    Err(StartError {
        what: "limit the session's resources".to_owned(),
        cause,
        fix: Some(fix.to_owned()),
    })
}

fn check(limits: &Limits) -> Result<(), StartError> {
    let refused = |cause: String| refused(cause, "raise the limit in the policy's [limits]");
    match *limits {
        Limits {
            memory: Some(bytes),
            ..
        } if bytes < MIN_MEMORY => {
            let (bytes, least) = (Bytes(bytes), Bytes(MIN_MEMORY));
            refused(format!(
                "no program starts in {bytes} of memory; at least {least} are needed"
            ))
        }
        Limits {
            cpus: Some(cpus), ..
        } if !(cpus >= MIN_CPUS && cpus.is_finite()) => refused(format!(
            "{cpus} processors cannot be given; at least {MIN_CPUS} are needed"
        )),
        Limits {
            processes: Some(0), ..
        } => refused("no program runs as no process".to_owned()),
        _ => Ok(()),
    }
}

/// One group for each hierarchy that a limit rests on.
fn make_groups(limits: &Limits, choice: &Choice) -> Result<Vec<SessionGroup>, StartError> {
    let with_own = limits.processes.map(|n| n.saturating_add(OWN_PROCESSES));
    let memory = |means: &Means| (choice.memory.as_ref() == Some(means)).then_some(limits.memory);
    let cpus = |means: &Means| (choice.cpus.as_ref() == Some(means)).then_some(limits.cpus);
    let processes = |means: &Means| (choice.processes.as_ref() == Some(means)).then_some(with_own);
    let wanted = |means: &Means| Wanted {
        memory: memory(means).flatten(),
        cpus: cpus(means).flatten(),
        processes: processes(means).flatten(),
    };
    let mut groups = Vec::new();
    if let Some(place) = &choice.place
        && wanted(&Means::Unified) != Wanted::default()
    {
        groups.push(SessionGroup::unified(place, wanted(&Means::Unified))?);
    }
    // Controllers mounted together are one hierarchy and one group.
    let mut done = Vec::new();
    for means in [&choice.memory, &choice.cpus, &choice.processes]
        .into_iter()
        .flatten()
    {
        if let Means::Legacy(own) = means
            && !done.contains(&own)
        {
            groups.push(SessionGroup::legacy(own, wanted(means))?);
            done.push(own);
        }
    }
    Ok(groups)
}

/// `count` of the processors at hand, or none if that is all of them. Sessions side by side begin at different ones.
fn some_processors(processors: &CpuSet, count: u32) -> Result<Option<CpuSet>, StartError> {
    let at_hand: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| processors.is_set(*cpu))
        .collect();
    if at_hand.is_empty() {
        let cause = "the kernel does not say which processors may be used".to_owned();
        return refused(cause, "leave `cpus` out of the policy's [limits]");
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count >= at_hand.len() {
        return Ok(None);
    }
    let first = std::process::id() as usize % at_hand.len();
    let mut set = CpuSet::new();
    for cpu in at_hand.iter().cycle().skip(first).take(count) {
        set.set(*cpu);
    }
    Ok(Some(set))
}

#[cfg(test)]
mod tests;
