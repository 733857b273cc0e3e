//! Limits without a control group, which an ordinary user has none of.

use palisade_boundary::{Assessment, BoundarySpec, Control, Enforcement, Weakness};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What to do about it.
pub(crate) const FIX: &str = "run it by sudo, or use the native boundary";
/// Why memory is not limited. Of a process gVisor limits addresses (RLIMIT_AS), which would end programs that only reserve some.
pub(crate) const MEMORY: &str =
    "without root there is no control group around the sandbox to limit it by";

/// How well memory and processor time are limited, where they are to be.
pub(crate) fn assess(spec: &BoundarySpec) -> impl Iterator<Item = Assessment> {
    let weaker = |why: String| {
        let fix = Some(FIX.to_owned());
        Enforcement::Weaker(Weakness { why, fix })
    };
    let memory = spec.limits.memory.map(|_| Assessment {
        control: Control::Memory,
        enforcement: Enforcement::Unenforceable(Weakness {
            why: MEMORY.to_owned(),
            fix: Some(FIX.to_owned()),
        }),
    });
    let cpus = spec.limits.cpus.map(|cpus| {
        let whole = whole(cpus);
        let enforcement = if f64::from(whole) <= cpus {
            Enforcement::Enforced(format!("binding the sandbox to {whole} of the machine's processors"))
        } else {
            weaker(format!(
                "without root there is no control group around the sandbox, so it is bound to {whole} processor instead of {cpus}"
            ))
        };
        Assessment {
            control: Control::Cpus,
            enforcement,
        }
    });
    memory.into_iter().chain(cpus)
}

/// Whole processors, at least one.
pub(super) fn whole(cpus: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = cpus as u32;
    whole.max(1)
}

/// Holds the calling process, and what it becomes. Processes are counted for the user namespace, and so for this sandbox alone
/// (Linux 5.14).
pub(super) fn hold(processes: u64, processors: Option<u32>) -> rustix::io::Result<()> {
    let own = getrlimit(Resource::Nproc);
    let most = own.maximum.map_or(processes, |own| own.min(processes));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nproc, limit)?;
    let Some(count) = processors else {
        return Ok(());
    };
    let own = sched_getaffinity(None)?;
    let some = some_of(&own, count).ok_or(Errno::INVAL)?;
    sched_setaffinity(None, &some)
}

/// The last of them: the first are where most else is.
fn some_of(own: &CpuSet, count: u32) -> Option<CpuSet> {
    let mut some = CpuSet::new();
    let all = (0..CpuSet::MAX_CPU)
        .rev()
        .filter(|number| own.is_set(*number));
    for number in all.take(usize::try_from(count).ok()?) {
        some.set(number);
    }
    (some.count() > 0).then_some(some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_bound_whole_and_never_none() {
        assert_eq!([0.5, 1.0, 1.9, 2.0].map(whole), [1, 1, 1, 2]);
        let mut own = CpuSet::new();
        for number in [3, 5, 9] {
            own.set(number);
        }
        let some = some_of(&own, 2).expect("some");
        let bound: Vec<usize> = (0..16).filter(|number| some.is_set(*number)).collect();
        assert_eq!(bound, [5, 9]);
        assert!(some_of(&CpuSet::new(), 2).is_none());
    }
}
