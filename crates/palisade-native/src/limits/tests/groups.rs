//! By control groups. Each test says what it needs where that is missing.

use palisade_test_support::{Outcome, Skip, conclude};

use super::*;

/// A plan that rests on control groups alone.
fn by_groups(limits: &Limits) -> Result<LimitsPlan, Skip> {
    let here = Surroundings::read().expect("surroundings");
    let choice = Choice::of(limits, &here);
    let soft = [&choice.memory, &choice.cpus]
        .into_iter()
        .flatten()
        .any(|means| *means == Means::Process);
    if soft {
        let fix = "run the tests as root, or in a delegated control group";
        return Err(Skip::because("no control group can be made", fix));
    }
    let plan = plan(limits, &here).expect("plan");
    assert!(!plan.groups.is_empty() && !plan.needs_sampling());
    Ok(plan)
}

#[test]
fn a_memory_hog_is_killed() {
    conclude("a_memory_hog_is_killed", memory_hog());
}

fn memory_hog() -> Outcome {
    let mut tight = by_groups(&memory(100 << 20))?;
    assert_eq!(tight.outcome(), None);
    let (printed, well) = Held::start(&mut tight, &hog(300)).finish();
    assert!(!printed.contains("filled") && !well, "{printed}");
    let outcome = tight.outcome().expect("the kernel counted it");
    assert_eq!(
        outcome,
        "memory limit of 100 MiB reached (1 process killed)"
    );

    let paths: Vec<_> = tight.groups.iter().map(|g| g.path().to_owned()).collect();
    drop(tight);
    assert!(paths.iter().all(|p| !p.exists()), "{paths:?} stayed");

    let mut ample = by_groups(&memory(1 << 30))?;
    let (printed, well) = Held::start(&mut ample, &hog(300)).finish();
    assert!(printed.contains("filled") && well, "{printed}");
    assert_eq!(ample.outcome(), None);
    Ok(())
}

#[test]
fn a_processor_quota_holds() {
    conclude("a_processor_quota_holds", quota());
}

/// Two processes spin for a second: without the quota they would use one processor or two.
fn quota() -> Outcome {
    // `POSIX::times` counts hundredths of a second and begins with the time of day; `POSIX` is part of perl-base, finer
    // clocks are not. What perl used to start up is taken off.
    let spin = "use POSIX (); my @a = POSIX::times; my $end = $a[0] + 100; my $p = fork; \
                1 while (POSIX::times)[0] < $end; exit unless $p; waitpid $p, 0; my @b = POSIX::times; \
                print(($b[1] + $b[2] + $b[3] + $b[4] - $a[1] - $a[2]) / ($b[0] - $a[0]))";
    let share = |plan: &mut LimitsPlan| -> f64 {
        let (printed, well) = Held::start(plan, spin).finish();
        assert!(well, "{printed}");
        printed.parse().expect("a share of one processor")
    };
    // So little that a busy machine gives it too. Never much more: one period at each end is 0.02.
    let held = share(&mut by_groups(&cpus(0.1))?);
    assert!((0.01..0.2).contains(&held), "{held} of a processor used");
    // Without a quota a machine that does much else gives little at times, and more when it is asked again.
    let mut free = Vec::new();
    while !free.iter().any(|free| *free > held * 1.5) {
        assert!(free.len() < 20, "{free:?} without a quota, {held} with");
        free.push(share(&mut by_groups(&cpus(64.0))?));
    }
    Ok(())
}

#[test]
fn processes_are_counted_by_the_group_on_an_older_kernel() {
    conclude(
        "processes_are_counted_by_the_group_on_an_older_kernel",
        older(),
    );
}

fn older() -> Outcome {
    let limits = Limits {
        processes: Some(20),
        ..Limits::default()
    };
    let here = Surroundings {
        kernel: (5, 10),
        ..Surroundings::read().expect("surroundings")
    };
    let choice = Choice::of(&limits, &here);
    if choice.processes == Some(Means::Process) {
        let fix = "run the tests as root, or in a delegated control group";
        return Err(Skip::because("no control group can be made", fix));
    }
    let mut plan = plan(&limits, &here).expect("plan");
    assert!(
        !plan
            .rlimits()
            .iter()
            .any(|(resource, _)| *resource == Resource::Nproc)
    );
    let (printed, _) = Held::start(&mut plan, super::processes::BOMB).finish();
    // 20, one for palisade's own init, less the bomb itself.
    assert_eq!(printed, "20");
    let outcome = plan.outcome().expect("the kernel counted it");
    assert!(
        outcome.starts_with("process limit of 20 reached ("),
        "{outcome}"
    );
    Ok(())
}
