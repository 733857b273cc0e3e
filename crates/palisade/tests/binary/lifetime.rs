//! Sessions end whole, whatever ends them, and leave nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use palisade_test_support::{Identity, Lab, Policy, each_identity};

use crate::lab;

/// Time for the kernel to take a process tree down on a loaded machine.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Host process ids of programs started with this argument.
fn with_argument(argument: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_sleep = line.starts_with(b"sleep\0");
        if is_sleep
            && line
                .split(|byte| *byte == 0)
                .any(|word| word == argument.as_bytes())
        {
            found.push(id);
        }
    }
    found
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + GONE_WITHIN;
    while !condition() {
        assert!(Instant::now() < until, "not within {GONE_WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A number of seconds that no other test sleeps for.
fn mark(lab: &Lab) -> String {
    use std::os::unix::fs::MetadataExt as _;
    format!("9{}", fs::metadata(lab.home()).unwrap().ino())
}

/// What a session could leave on the host: mounts that others see, control groups, files beside its log.
fn traces(lab: &Lab, palisade: u32) -> Vec<String> {
    let mut traces = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = lab.path("").display().to_string();
    traces.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&root))
            .map(str::to_owned),
    );
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.contains("palisade") && name.contains(&palisade.to_string()) {
                    traces.push(entry.path().display().to_string());
                }
                folders.push(entry.path());
            }
        }
    }
    traces
}

/// Every path below the lab but the state folder's.
fn files(lab: &Lab) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![lab.path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.path().ends_with(".local/state/palisade") {
                continue;
            }
            files.push(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Limits that need a control group where one can be had.
fn limited() -> Policy {
    // An ordinary user seldom has a control group for them.
    let accepted = "[boundary]\naccept_weaker = [\"limits.memory\", \"limits.cpus\"]\n";
    let limits = "[limits]\nmemory = \"1GiB\"\ncpus = 1.5\nprocesses = 64";
    Policy::new().tables(&format!("{accepted}{limits}"))
}

/// A session with a tree of processes, one of which has left its group and session.
fn tree(mark: &str) -> [String; 3] {
    let script =
        format!("setsid sleep {mark} & (sleep {mark} &) ; nohup sleep {mark} & sleep {mark}");
    ["sh".into(), "-c".into(), script]
}

each_identity! {
    fn killing_palisade_ends_everything_and_leaves_nothing(who) {
        let lab = lab(who);
        let mark = mark(&lab);
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        let invocation = lab.run(&limited(), tree(&mark));
        let before = files(&lab);
        let mut palisade = invocation.spawn();
        wait_until("the agent's processes run", || with_argument(&mark).len() == 4);
        // As root there is a control group; its trace shows that one left behind would be seen.
        assert_eq!(traces(&lab, palisade.id()).is_empty(), who == Identity::User);
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        wait_until("the agent's processes are gone", || with_argument(&mark).is_empty());
        assert_eq!(files(&lab), before);
        let log = lab.palisade(["log", "verify"]).run().expect(1);
        log.expect_output("never wrote its end");
        // Nobody is left to remove the empty control group of a killed palisade: the next session does.
        lab.run(&limited(), ["true"]).run().expect(0);
        assert_eq!(traces(&lab, palisade.id()), Vec::<String>::new());
    }

    fn sigterm_ends_the_session_in_order(who) {
        let lab = lab(who);
        let mark = mark(&lab);
        let mut palisade = lab.run(&limited(), tree(&mark)).spawn();
        wait_until("the agent's processes run", || with_argument(&mark).len() == 4);
        let id = palisade.id().to_string();
        assert!(Command::new("/bin/kill").args(["-TERM", &id]).status().unwrap().success());
        let status = palisade.wait().unwrap();
        assert_eq!(status.code(), Some(143));
        assert_eq!(with_argument(&mark), Vec::<u32>::new());
        assert_eq!(traces(&lab, palisade.id()), Vec::<String>::new());
        lab.palisade(["log", "verify"]).run().expect(0);
    }

    fn what_the_agent_left_running_ends_with_it(who) {
        let lab = lab(who);
        let mark = mark(&lab);
        let script = format!("setsid sleep {mark} > /dev/null 2>&1 & sleep 0.2");
        lab.run(&Policy::new(), ["sh", "-c", &script]).run().expect(0);
        assert_eq!(with_argument(&mark), Vec::<u32>::new());
    }

    fn two_sessions_in_one_directory_do_not_meet(who) {
        let lab = lab(who);
        let policy = Policy::new();
        let session = |name: &str| {
            // Each waits for the other's file, so both run at the same time; each has a process space of its own.
            let other = if name == "one" { "two" } else { "one" };
            let script = format!("echo {name} > {name}; until [ -s {other} ]; do sleep 0.02; done; echo $$; echo {name} > /tmp/mine; sleep 0.2; cat /tmp/mine");
            lab.run(&policy, ["sh", "-c", &script])
        };
        let (one, two) = (session("one"), session("two"));
        let other = std::thread::spawn(move || two.run());
        let one = one.run().expect(0);
        let two = other.join().unwrap().expect(0);
        assert!(one.stdout.ends_with("one\n") && two.stdout.ends_with("two\n"), "{one}\n{two}");
        let sessions = lab.palisade(["sessions", "--json"]).run().expect(0);
        let ids: Vec<String> = sessions.stdout.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 2);
        for id in &ids {
            lab.palisade(["log", "verify", id]).run().expect(0);
        }
    }
}
