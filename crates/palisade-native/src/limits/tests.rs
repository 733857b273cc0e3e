//! Limits put on real programs: by control groups where the tests are run by root, by process limits everywhere.

mod groups;
mod processes;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use palisade_boundary::Limits;
use rustix::process::Pid;

use super::choice::PROCESSES_COUNTED_APART;
use super::surroundings::kernel_version;
use super::*;

/// A perl program that is under the plan's limits from its first instruction. Perl is part of every Debian system.
struct Held {
    child: Child,
}

impl Held {
    fn start(plan: &mut LimitsPlan, program: &str) -> Self {
        Self::start_as(plan, Command::new("sh"), program)
    }

    /// `shell` becomes a shell when it is given `-c SCRIPT`.
    fn start_as(plan: &mut LimitsPlan, mut shell: Command, program: &str) -> Self {
        let script = "echo ready; read limits; exec prlimit $limits perl -e \"$0\"";
        shell.args(["-c", script, program]);
        let pipes = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::null()).spawn().expect("shell");
        let mut ready = [0; 6];
        let stdout = child.stdout.as_mut().expect("pipe");
        std::io::Read::read_exact(stdout, &mut ready).expect("the shell is there");

        plan.attach(child.id()).expect("attach");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(set) = plan.affinity() {
            rustix::thread::sched_setaffinity(pid, set).expect("affinity");
        }
        let stdin = child.stdin.as_mut().expect("pipe");
        stdin
            .write_all(arguments(plan.rlimits()).as_bytes())
            .expect("go");
        Self { child }
    }

    /// What it printed, and whether it ended well.
    fn finish(self) -> (String, bool) {
        let output = self.child.wait_with_output().expect("wait");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            output.status.success(),
        )
    }
}

/// The process limits as arguments of `prlimit`, which is part of every Debian system.
fn arguments(rlimits: &[(Resource, u64)]) -> String {
    let mut line = String::new();
    for (resource, value) in rlimits {
        let name = match resource {
            Resource::Core => "core",
            Resource::Nproc => "nproc",
            Resource::Data => "data",
            other => panic!("{other:?} is not a limit of ours"),
        };
        let hard = rustix::process::getrlimit(*resource).maximum;
        let value = hard.map_or(*value, |hard| hard.min(*value));
        line.push_str(&format!("--{name}={value} "));
    }
    line + "\n"
}

fn memory(bytes: u64) -> Limits {
    Limits {
        memory: Some(bytes),
        ..Limits::default()
    }
}

fn cpus(cpus: f64) -> Limits {
    Limits {
        cpus: Some(cpus),
        ..Limits::default()
    }
}

/// Fills this many MiB and says so.
fn hog(mebibytes: u32) -> String {
    // Grown in place: repetition would keep a second copy.
    format!("my $x = ''; vec($x, {mebibytes} << 20, 8) = 1; print 'filled'")
}

#[test]
fn without_limits_no_group_is_made_and_defaults_hold() {
    let here = Surroundings::read().expect("surroundings");
    let plan = plan(&Limits::default(), &here).expect("plan");
    assert!(plan.groups.is_empty() && plan.affinity().is_none() && !plan.needs_sampling());
    assert_eq!(
        plan.rlimits(),
        [(Resource::Core, 0), (Resource::Nproc, 4097)]
    );
    assert_eq!(plan.outcome(), None);
    let judged = judge(&Limits::default(), &here);
    assert_eq!(judged.len(), 1);
    assert_eq!(judged[0].control, Control::Processes);
}

#[test]
fn limits_nothing_could_run_under_are_refused() {
    let here = Surroundings::default();
    let none = Limits {
        processes: Some(0),
        ..Limits::default()
    };
    for limits in [
        memory(1 << 20),
        cpus(0.001),
        cpus(-1.0),
        cpus(f64::NAN),
        none,
    ] {
        let error = plan(&limits, &here).expect_err("too little");
        assert!(error.fix.is_some(), "{error}");
    }
    assert!(plan(&memory(64 << 20), &here).is_ok());
}

#[test]
fn sizes_are_written_for_people() {
    let text = |bytes| Bytes(bytes).to_string();
    assert_eq!(text(2 << 30), "2 GiB");
    assert_eq!(text(1536 << 20), "1536 MiB");
    assert_eq!(text(1000), "1000 bytes");
}
