//! The commands beside `run`: what they print and how they exit.

use std::fs;
use std::path::PathBuf;

use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Identity, Lab, Need, Policy, each_identity, need};

use crate::lab;

const HOST: &str = "web.example.com";

/// A lab in which one session asked for one allowed and one denied host.
struct After {
    lab: Lab,
    _server: Server,
}

fn after_a_session(who: Identity) -> Result<After, palisade_test_support::Skip> {
    need(&[Need::Program("curl", "curl")])?;
    let lab = lab(who);
    let server = Server::http(Web);
    let policy = Policy::new().reach(HOST, 80, server.address());
    let line = format!("curl -sS http://{HOST}/echo?token=abc; curl -sS http://evil.example.com/");
    lab.run(&policy, ["sh", "-c", &line]).run().expect(0);
    Ok(After {
        lab,
        _server: server,
    })
}

/// The one session's log file.
fn log_file(lab: &Lab) -> PathBuf {
    let sessions = lab.home().join(".local/state/palisade/sessions");
    let mut found = fs::read_dir(sessions).unwrap().flatten();
    found.next().unwrap().path().join("audit.jsonl")
}

each_identity! {
    fn a_reader_that_goes_away_is_no_failure(who) {
        let lab = lab(who);
        let palisade = lab.binary().display().to_string();
        for command in ["explain", "explain --masks", "check --read README.md", "sessions", "schema"] {
            // The reader is gone before the first line is written.
            let line = format!("(sleep 0.2; {palisade} {command}) | true; echo ended");
            let done = lab.outside("sh").args(["-c", &line]).run().expect(0);
            assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("ended\n", ""), "{command}");
        }
    }

    fn log_shows_what_was_decided(who) {
        let After { lab, .. } = &after_a_session(who)?;
        let log = lab.palisade(["log"]).run().expect(0);
        let log = log.expect_output(HOST).expect_output("evil.example.com").expect_output("DENY");
        assert!(!log.stdout.contains("token"), "a query is not logged: {log}");
        let denied = lab.palisade(["log", "--denied"]).run().expect(0);
        assert!(denied.stdout.contains("evil.example.com") && !denied.stdout.contains(HOST), "{denied}");
        let events = lab.audit();
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!((kinds.first(), kinds.last()), (Some(&"start"), Some(&"end")));
        let event = &lab.decisions(HOST, "allow")[0];
        assert_eq!((&event["method"], &event["path"], &event["status"]), (&"GET".into(), &"/echo".into(), &200.into()));
        assert_eq!(event["address"], "127.0.0.1");
        assert!(event["bytes_down"].as_u64().unwrap() > 0);
    }

    fn log_verify_finds_every_kind_of_tampering(who) {
        let After { lab, .. } = &after_a_session(who)?;
        let verify = || lab.palisade(["log", "verify"]).run();
        verify().expect(0).expect_output("whole");
        let file = log_file(lab);
        let whole = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let mut removed = lines.clone();
        removed.remove(1);
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        let cut = &lines[..lines.len() - 1];
        for (what, text) in [
            ("changed", whole.replace("evil.example.com", "good.example.com")),
            ("removed", removed.concat()),
            ("swapped", swapped.concat()),
            ("cut", cut.concat()),
            ("empty", String::new()),
        ] {
            fs::write(&file, text).unwrap();
            let done = verify();
            assert_eq!(done.status, 1, "{what}: {done}");
        }
        fs::write(&file, &whole).unwrap();
        verify().expect(0);
    }

    fn sessions_lists_what_ran(who) {
        let After { lab, .. } = &after_a_session(who)?;
        lab.palisade(["run", "--quiet", "--", "sh", "-c", "exit 7"]).run().expect(7);
        let list = lab.palisade(["sessions"]).run().expect(0);
        assert_eq!(list.stdout.lines().count(), 2, "{list}");
        list.expect_output("exit 7").expect_output("1 allowed, 1 denied");
        let running = lab.palisade(["sessions", "--running"]).run().expect(0);
        assert_eq!(running.stdout, "");
    }

    fn sessions_prune_removes_the_oldest_and_none_that_runs(who) {
        let lab = lab(who);
        let mut running = lab.palisade(["run", "--quiet", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done"]).spawn();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while lab.palisade(["sessions", "--running"]).run().stdout.is_empty() {
            assert!(std::time::Instant::now() < until, "the session was never listed");
        }
        for status in [3, 4, 5] {
            lab.palisade(["run", "--quiet", "--", "sh", "-c", &format!("exit {status}")]).run().expect(status);
        }
        lab.palisade(["sessions", "prune", "--keep", "1"]).run().expect(0).expect_output("removed 2, kept 2");
        let left = lab.palisade(["sessions"]).run().expect(0).expect_output("running").expect_output("exit 5");
        assert_eq!(left.stdout.lines().count(), 2, "{left}");
        lab.write(&lab.workspace().join("go"), "");
        assert!(running.wait().unwrap().success());
        lab.palisade(["log", "verify"]).run().expect(0);
        lab.palisade(["sessions", "prune", "--keep", "0"]).run().expect(0).expect_output("removed 2, kept 0");
    }

    fn log_follow_shows_lines_as_they_come_and_ends_with_the_session(who) {
        let lab = lab(who);
        let mut session = lab.palisade(["run", "--quiet", "--", "sh", "-c", "until [ -e go ]; do sleep 0.02; done"]).spawn();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while lab.palisade(["sessions", "--running"]).run().stdout.is_empty() {
            assert!(std::time::Instant::now() < until, "the session was never listed");
        }
        let follow = lab.palisade(["log", "--follow"]);
        let follower = std::thread::spawn(move || follow.run());
        lab.write(&lab.workspace().join("go"), "");
        assert!(session.wait().unwrap().success());
        let followed = follower.join().unwrap().expect(0);
        followed.expect_output("ended with 0");
    }

    fn the_log_is_the_users_alone(who) {
        use std::os::unix::fs::PermissionsExt as _;
        let After { lab, .. } = &after_a_session(who)?;
        let file = log_file(lab);
        for path in [file.as_path(), file.parent().unwrap()] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        }
    }

    fn check_names_the_rule(who) {
        let lab = lab(who);
        let policy = lab.policy(Policy::new().allow("api.example.com", &[443]).to_toml());
        let check = |arguments: &[&str]| {
            lab.palisade(["check", "--policy"]).args([&policy]).args(arguments).run()
        };
        check(&["https://api.example.com/v1"]).expect(0).expect_output("api.example.com");
        check(&["http://api.example.com/"]).expect(1).expect_output("port");
        check(&["-X", "POST", "https://www.example.com/"]).expect(1).expect_output("api.example.com");
        check(&["https://127.0.0.1/"]).expect(1);
        let workspace = lab.workspace();
        let workspace = workspace.to_str().unwrap();
        check(&["--read", workspace]).expect(0);
        check(&["--write", workspace]).expect(0);
        check(&["--read", "/usr/bin"]).expect(0);
        check(&["--write", "/usr/bin"]).expect(1);
        check(&["--read", "/etc/shadow"]).expect(1);
        check(&["--read", &format!("{}/.ssh", lab.home().display())]).expect(1);
    }

    fn explain_says_it_in_plain_words(who) {
        let lab = lab(who);
        let policy = Policy::new().allow("api.example.com", &[443]).tables("[limits]\nprocesses = 99");
        let policy = lab.policy(policy.to_toml());
        let done = lab.palisade(["explain", "--policy"]).args([policy]).run().expect(0);
        done.expect_output("api.example.com").expect_output("443").expect_output("99");
        let done = lab.palisade(["explain", "--profile", "claude-code"]).run().expect(0);
        done.expect_output("api.anthropic.com");
    }

    fn doctor_says_what_this_machine_can_do(who) {
        let lab = lab(who);
        let done = lab.palisade(["doctor"]).run().expect(0);
        done.expect_output("native").expect_output("ready");
        let json = lab.palisade(["doctor", "--json"]).run().expect(0);
        let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(report["boundaries"][0]["usable"], true);
        assert!(report["boundaries"][0]["capabilities"].as_array().unwrap().len() > 3);
    }

    fn demo_needs_nothing_and_contains_its_agent(who) {
        let lab = lab(who);
        let done = lab.palisade(["demo"]).directory(std::path::Path::new("/")).run().expect(0);
        for attempt in ["ssh", "169.254.169.254", "DNS"] {
            assert!(done.stdout.contains(attempt), "{attempt}: {done}");
        }
    }

    fn help_and_version_go_to_standard_output(who) {
        let lab = lab(who);
        lab.palisade(["--help"]).run().expect(0).expect_output("Exit status");
        lab.palisade(["run", "--help"]).run().expect(0).expect_output("--policy");
        lab.palisade(["--version"]).run().expect(0).expect_output("palisade");
    }
}
