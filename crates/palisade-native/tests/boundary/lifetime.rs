//! How sessions begin and end, and what they leave behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Killed, as_everybody, as_root, eventually, marker, processes_with};

#[test]
fn the_agents_status_is_told() {
    as_everybody(|who| {
        for (script, code) in [
            ("exit 0", 0),
            ("exit 42", 42),
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
        ] {
            assert_eq!(who.shell(&[], script).code, code, "{script}");
        }
    });
}

#[test]
fn a_program_that_cannot_start_is_told_apart() {
    as_everybody(|who| {
        let directory = who.directory();
        let path = directory.path();
        for (name, mode) in [("plain", 0o644), ("script", 0o755)] {
            who.file(&path.join(name), "exit $1\n");
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).expect("mode");
        }
        let option = format!("ro:{}:/mnt", path.display());
        let run = |command: &[&str]| {
            let status = who
                .enter(&["system", &option], command)
                .status()
                .expect("runs");
            status.code().expect("code")
        };
        assert_eq!(run(&["no-such-program"]), 127);
        assert_eq!(run(&["/mnt/missing"]), 127);
        assert_eq!(run(&["/mnt/plain"]), 126);
        assert_eq!(run(&["/mnt"]), 126);
        assert_eq!(
            run(&["/mnt/script", "5"]),
            5,
            "a script without interpreter line goes to the shell"
        );
        assert_eq!(run(&["true"]), 0);
    });
}

#[test]
fn a_missing_working_directory_is_refused_by_name() {
    as_everybody(|who| {
        let refused = who.shell(&["cwd:/not/there"], "true");
        assert_eq!(refused.code, 125);
        assert!(refused.err.contains("/not/there"), "{refused:?}");
        assert_eq!(who.shell(&["cwd:/usr"], "pwd").fine(), "/usr\n");
    });
}

#[test]
fn everything_inside_ends_when_the_supervisor_is_killed() {
    as_everybody(|who| {
        let marker = marker();
        let script = format!("sleep {marker} & setsid sleep {marker} & sleep {marker}");
        let mut command = who.enter(&["system"], &["/bin/bash", "-c", &script]);
        let mut session = Killed(command.spawn().expect("starts"));
        eventually("three run", || {
            (processes_with(&marker).len() == 3).then_some(())
        });
        session.0.kill().expect("kill -9");
        session.0.wait().expect("reaped");
        eventually("all are gone", || {
            processes_with(&marker).is_empty().then_some(())
        });
    });
}

#[test]
fn what_the_agent_leaves_running_ends_with_it() {
    as_everybody(|who| {
        let marker = marker();
        let script =
            format!("setsid sleep {marker} & (sleep {marker} &) ; sleep 0.2; pgrep -c sleep");
        let said = who.shell(&[], &script).fine();
        assert_eq!(said.trim(), "2", "both ran");
        // No waiting: the end is told only when all are gone.
        assert!(processes_with(&marker).is_empty());
    });
}

#[test]
fn orphans_are_reaped() {
    as_everybody(|who| {
        let storm = "for i in $(seq 300); do (/bin/true & ) ; done; sleep 0.5; ps -eo stat | grep -c Z; ps -e | wc -l";
        let said = who.shell(&[], storm).out;
        let counts: Vec<u32> = said
            .lines()
            .map(|n| n.trim().parse().expect("number"))
            .collect();
        assert_eq!(counts[0], 0, "zombies: {said}");
        assert!(counts[1] < 12, "processes: {said}");
    });
}

#[test]
fn sessions_beside_each_other_share_the_workspace_and_nothing_else() {
    as_everybody(|who| {
        let workspace = who.directory();
        let path = workspace.path().display();
        let option = format!("own:{path}");
        let script = |own: &str, other: &str| {
            format!(
                "cd {path}; touch /tmp/{own}; touch {own}; for i in $(seq 400); do test -e {other} && break; sleep 0.05; done; \
                 test -e {other} && ls /tmp && ls /proc | grep -c '^[0-9]'"
            )
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| who.shell(&[&option], &script("a", "b")).fine());
            let second = scope.spawn(|| who.shell(&[&option], &script("b", "a")).fine());
            for (session, own) in [(first, "a"), (second, "b")] {
                let said = session.join().expect("thread");
                let mut lines = said.lines();
                assert_eq!(lines.next(), Some(own));
                let processes: u32 = lines.next().expect("count").parse().expect("number");
                assert!(processes <= 5, "{said}");
            }
        });
    });
}

#[test]
fn nothing_stays_behind_on_the_host() {
    as_everybody(|who| {
        let workspace = who.directory();
        let option = format!("own:{}", workspace.path().display());
        let mounts = || {
            fs::read_to_string("/proc/self/mountinfo")
                .expect("mounts")
                .lines()
                .count()
        };
        let before = mounts();
        who.shell(&[&option], "true").fine();
        who.shell(&["cwd:/not/there", &option], "true");
        assert_eq!(mounts(), before);
        assert_eq!(fs::read_dir(workspace.path()).expect("list").count(), 0);
    });
}

#[test]
fn the_standard_streams_are_the_agents_alone() {
    // Only root can look at a process that hides its memory.
    as_root(|who| {
        let mut command = who.enter(&["system"], &["sleep", "1000"]);
        let session = Killed(command.spawn().expect("starts"));
        eventually("init let go of them", || {
            let init = init_below(session.0.id())?;
            let open = |fd: &&str| fs::symlink_metadata(format!("/proc/{init}/fd/{fd}")).is_ok();
            (["0", "1", "2"].iter().filter(|fd| open(fd)).count() == 0).then_some(())
        });
    });
}

/// The init process of a session, by its name.
fn init_below(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "palisade-init").then(|| child.parse().ok())?
    })
}
