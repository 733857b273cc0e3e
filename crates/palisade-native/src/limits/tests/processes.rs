//! By limits of single processes, as on a machine where no control group is to be had.

use super::*;

/// Forks until it cannot, says how often it could, and cleans up. Gives up at 300.
pub(super) const BOMB: &str = "my @p; while (@p < 300) { my $p = fork; last unless defined $p; \
     if (!$p) { sleep 60; exit } push @p, $p } kill 'KILL', @p; waitpid $_, 0 for @p; print scalar @p";

fn no_groups() -> Surroundings {
    Surroundings {
        groups: GroupView::default(),
        ..Surroundings::default()
    }
}

/// A shell in a user namespace of its own, as an ordinary user even where root runs the tests.
fn user_namespace() -> Command {
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if root { "setpriv" } else { "unshare" });
    if root {
        command.args([
            "--reuid",
            "1000",
            "--regid",
            "1000",
            "--clear-groups",
            "unshare",
        ]);
    }
    command.args(["--user", "--map-current-user", "sh"]);
    command
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    let limits = |processes| Limits {
        processes: Some(processes),
        ..Limits::default()
    };
    assert!(
        kernel_version() >= PROCESSES_COUNTED_APART,
        "this test needs Linux 5.14"
    );
    for (processes, forks) in [(20, "20"), (400, "300")] {
        let mut plan = plan(&limits(processes), &no_groups()).expect("plan");
        let (printed, _) = Held::start_as(&mut plan, user_namespace(), BOMB).finish();
        assert_eq!(printed, forks, "of {processes} processes");
    }
}

/// Two sessions of one user are counted apart: both reach the same number at the same time.
#[test]
fn sessions_do_not_count_against_each_other() {
    let limits = Limits {
        processes: Some(30),
        ..Limits::default()
    };
    let mut first_plan = plan(&limits, &no_groups()).expect("plan");
    let mut second_plan = plan(&limits, &no_groups()).expect("plan");
    let slow = BOMB.replace(
        "kill 'KILL'",
        "select undef, undef, undef, 0.3; kill 'KILL'",
    );
    let first = Held::start_as(&mut first_plan, user_namespace(), &slow);
    let second = Held::start_as(&mut second_plan, user_namespace(), &slow);
    assert_eq!(
        (first.finish().0, second.finish().0),
        ("30".to_owned(), "30".to_owned())
    );
}

#[test]
fn one_process_cannot_fill_memory() {
    let mut tight = plan(&memory(100 << 20), &no_groups()).expect("plan");
    assert!(tight.needs_sampling());
    let (printed, well) = Held::start(&mut tight, &hog(300)).finish();
    assert!(!printed.contains("filled") && !well, "{printed}");
    let mut ample = plan(&memory(1 << 30), &no_groups()).expect("plan");
    let (printed, well) = Held::start(&mut ample, &hog(300)).finish();
    assert!(printed.contains("filled") && well, "{printed}");
}

#[test]
fn several_processes_that_fill_memory_together_are_seen() {
    // Each stays below the limit; together they are above it.
    let together =
        "$| = 1; my $p = fork; my $x = ''; vec($x, 70 << 20, 8) = 1; print 'f'; sleep 60";
    let mut tight = plan(&memory(100 << 20), &no_groups()).expect("plan");
    let ample = plan(&memory(1 << 30), &no_groups()).expect("plan");
    let mut held = Held::start(&mut tight, together);
    let mut filled = [0; 2];
    let stdout = held.child.stdout.as_mut().expect("pipe");
    std::io::Read::read_exact(stdout, &mut filled).expect("both have filled their memory");
    let init = held.child.id();
    let (seen, unseen) = (tight.sample(init), ample.sample(init));
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children"));
    for pid in children.expect("children").split_whitespace() {
        let pid = pid.parse().ok().and_then(Pid::from_raw).expect("pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    }
    held.child.kill().expect("kill");
    held.child.wait().expect("wait");
    let message = seen.map(|e| e.message);
    assert_eq!(
        message.as_deref(),
        Some("memory limit of 100 MiB reached (session ended)")
    );
    assert_eq!(unseen, None);
}

#[test]
fn processors_are_bound_and_the_filter_keeps_them_so() {
    let read = "open my $f, '<', '/proc/self/status'; print grep /^Cpus_allowed_list/, <$f>";
    let mut one = plan(&cpus(0.5), &no_groups()).expect("plan");
    let (printed, _) = Held::start(&mut one, read).finish();
    let list = printed.split_whitespace().nth(1).expect("list");
    if Surroundings::default().processors.count() > 1 {
        assert!(
            list.parse::<u32>().is_ok(),
            "{list} is more than one processor"
        );
        assert!(!one.filter_options().affinity);
    }
    let mut all = plan(&cpus(1e6), &no_groups()).expect("plan");
    let (printed, _) = Held::start(&mut all, read).finish();
    assert!(
        all.affinity().is_none() && all.filter_options().affinity,
        "{printed}"
    );
}
