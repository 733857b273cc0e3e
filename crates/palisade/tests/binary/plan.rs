//! What would be held less well is said before anything starts, and starts only where it was accepted by name.

use std::fs;
use std::path::Path;

use palisade_test_support::{Finished, Identity, Lab, Need, Policy, each_identity, need};
use serde_json::{Value, json};

use crate::lab;

const PYTHON: Need = Need::Program("python3", "python3");

/// Answers some system calls as a kernel does that lacks something.
const LESSER_KERNEL: &str = include_str!("lesser_kernel.py");

const ACCEPTED: &str = "[boundary]\naccept_weaker = [\"landlock\"]";

/// `palisade` with these arguments, on a kernel without that.
fn without(what: &str, lab: &Lab, arguments: &[&str]) -> Finished {
    let script = lab.write(&lab.path("lesser_kernel.py"), LESSER_KERNEL);
    let python = lab.outside("python3").args([&script]).args([what]);
    python.args([lab.binary()]).args(arguments).run()
}

/// What `palisade plan --json` printed.
fn report(done: &Finished) -> Value {
    serde_json::from_str(&done.stdout).expect("one JSON object")
}

fn control<'a>(report: &'a Value, name: &str) -> &'a Value {
    let controls = report["controls"].as_array().expect("a list");
    let mut named = controls.iter().filter(|control| control["control"] == name);
    let found = named.next().expect("an answer for it");
    assert_eq!(named.next(), None, "two answers for {name}");
    found
}

/// The names of all sessions that ever were.
fn sessions(lab: &Lab) -> String {
    lab.palisade(["sessions"]).run().expect(0).stdout
}

each_identity! {
    fn a_weakness_refuses_the_start_until_it_is_accepted_by_its_name(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        let plain = lab.policy(Policy::new().to_toml());
        let plain = plain.to_str().unwrap();
        let touch = |options: &[&str]| {
            let mark = lab.workspace().join("ran");
            let _ = fs::remove_file(&mark);
            let arguments = [&["run"], options, &["--", "touch", "ran"]].concat();
            let done = without("landlock", &lab, &arguments);
            assert_eq!(mark.exists(), done.status == 0, "{done}");
            done
        };
        let before = sessions(&lab);
        let refused = touch(&["--policy", plain]).expect(125);
        for words in ["landlock: cannot be enforced", "fix: add landlock to", "accept_weaker = [\"landlock\"]", "--accept-weaker landlock"] {
            assert!(refused.stderr.contains(words), "{refused}");
        }
        assert!(!refused.stderr.contains("limits"), "{refused}");
        touch(&["--policy", plain, "--accept-weaker", "limits.memory"]).expect(125);
        assert_eq!(sessions(&lab), before, "a refused session leaves nothing");
        // The same kernel, and it is accepted: on the command line, in the policy.
        let done = touch(&["--policy", plain, "--accept-weaker", "landlock"]).expect(0);
        assert!(done.stderr.contains("landlock (accepted by --accept-weaker)"), "{done}");
        let accepting = lab.policy(Policy::new().tables(ACCEPTED).to_toml());
        let accepting = accepting.to_str().unwrap();
        let done = touch(&["--policy", accepting]).expect(0);
        assert_eq!(done.stderr.matches("weaker").count(), 1, "{done}");
        assert_eq!(touch(&["--quiet", "--policy", accepting]).expect(0).stderr, "");
        // The same policy, and nothing is weaker: nothing is said.
        let here = lab.palisade(["run", "--policy", accepting, "--", "true"]).run().expect(0);
        assert_eq!(here.stderr, "");
    }

    fn a_file_in_the_workspace_can_take_acceptance_back_and_not_give_it(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        let policy = lab.policy(Policy::new().tables(ACCEPTED).to_toml());
        let run = ["run", "--policy", policy.to_str().unwrap(), "--accept-weaker", "landlock", "--", "true"];
        without("landlock", &lab, &run).expect(0);
        let own = lab.workspace().join("palisade.toml");
        lab.write(&own, "version = 1\n[boundary]\nrequire = \"all\"\n");
        without("landlock", &lab, &run).expect(125).expect_error("take `require = \"all\"` out of palisade.toml:3");
        lab.palisade(run).run().expect(0);
        lab.write(&own, format!("version = 1\n{ACCEPTED}\n"));
        let wider = lab.palisade(run).run().expect(125);
        assert!(wider.stderr.contains("palisade.toml:3:18") && wider.stderr.contains("may only tighten"), "{wider}");
    }

    fn the_demo_is_shown_where_a_weakness_is_accepted(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        without("landlock", &lab, &["demo"]).expect(125).expect_error("--accept-weaker landlock");
        without("landlock", &lab, &["demo", "--accept-weaker", "landlock"]).expect(0);
    }

    fn a_control_that_does_not_exist_cannot_be_accepted(who) {
        let lab = lab(who);
        let policy = lab.policy("version = 1\n[boundary]\naccept_weaker = [\"limits.memroy\"]\n");
        let done = lab.palisade(["run", "--policy"]).args([&policy]).args(["--", "true"]).run().expect(125);
        for words in ["policy.toml:3:18", "^", "there is no control `limits.memroy`", "did you mean `limits.memory`?"] {
            assert!(done.stderr.contains(words), "{done}");
        }
        let done = lab.palisade(["plan", "--accept-weaker", "limits.memroy"]).run().expect(125);
        done.expect_error("did you mean `limits.memory`?");
    }

    fn the_plan_says_what_a_start_does(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        let policy = lab.policy(Policy::new().to_toml());
        let plan = ["plan", "--json", "--policy", policy.to_str().unwrap()];
        let refused = without("landlock", &lab, &plan).expect(1);
        let said = report(&refused);
        assert_eq!(said["starts"], false);
        let landlock = control(&said, "landlock");
        assert_eq!((&landlock["enforcement"], &landlock["accepted"]), (&json!("unenforceable"), &Value::Null));
        assert!(landlock["fix"].as_str().unwrap().contains("lsm="), "{landlock}");
        let accepted = [&plan[..], &["--accept-weaker", "landlock"]].concat();
        let said = report(&without("landlock", &lab, &accepted).expect(0));
        assert_eq!(said["starts"], true);
        assert_eq!(control(&said, "landlock")["accepted"], "--accept-weaker");
        // For people, the same.
        let words = without("landlock", &lab, &["plan"]).expect(1).stdout;
        assert!(words.contains("a session would be refused: landlock"), "{words}");
        let words = lab.palisade(["plan"]).run().expect(0).stdout;
        assert!(words.contains("a session would start"), "{words}");
        assert!(words.contains("landlock: enforced by Landlock ABI"), "{words}");
    }

    fn limits_are_planned_as_they_are_started(who) {
        let lab = lab(who);
        for (limit, name) in [("memory = \"1GiB\"", "limits.memory"), ("cpus = 0.5", "limits.cpus"), ("processes = 100", "limits.processes")] {
            let policy = lab.policy(Policy::new().tables(&format!("[limits]\n{limit}")).to_toml());
            let policy = policy.to_str().unwrap();
            let plan = lab.palisade(["plan", "--json", "--policy", policy]).run();
            let said = report(&plan);
            let answer = control(&said, name);
            let run = lab.palisade(["run", "--policy", policy, "--", "true"]).run();
            if answer["enforcement"] == "enforced" {
                assert_eq!((plan.status, run.status), (0, 0), "{run}");
                continue;
            }
            assert_eq!((plan.status, run.status), (1, 125), "{run}");
            let words = run.stderr;
            assert!(words.contains("systemd-run --user --scope") && words.contains(&format!("--accept-weaker {name}")), "{words}");
            lab.palisade(["run", "--policy", policy, "--accept-weaker", name, "--", "true"]).run().expect(0);
        }
    }

    fn ports_that_are_caught_one_by_one_are_named(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        let policy = lab.policy(Policy::new().allow("db.example.com", &[5432]).to_toml());
        let plan = ["plan", "--json", "--policy", policy.to_str().unwrap()];
        let whole = report(&lab.palisade(plan).run().expect(0));
        let caught = &control(&whole, "network.capture")["detail"];
        assert!(caught.as_str().unwrap().contains("every TCP port"), "{caught}");
        let fewer = report(&without("nftables", &lab, &plan).expect(0));
        let caught = control(&fewer, "network.capture")["detail"].as_str().unwrap();
        assert!(caught.contains("443, 5432") && !caught.contains("every"), "{caught}");
    }

    fn the_report_holds_everything_and_no_secret(who) {
        let lab = lab(who);
        let policy = lab.policy(everything());
        fs::create_dir_all(lab.workspace().join("target")).unwrap();
        lab.write(&lab.workspace().join(".env"), "A=1\n");
        let plan = lab.palisade(["plan", "--json", "--policy"]).args([&policy]);
        let plan = plan.env("TOKEN", "s3cr3t-t0k3n").env("PASSED", "p4ss3d");
        let done = plan.args(["--", "touch", "ran"]).run();
        for secret in ["s3cr3t-t0k3n", "p4ss3d", "v4lu3"] {
            assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{done}");
        }
        let said = report(&done);
        let names: Vec<&str> = said["controls"].as_array().unwrap().iter().map(|c| c["control"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "filesystem", "access", "masks", "protect", "volumes", "tmpfs", "network", "network.capture", "dns", "interception",
                "credentials", "identity", "system-calls", "landlock", "limits.memory", "limits.cpus", "limits.processes", "lifetime"
            ]
        );
        assert_eq!(said["command"], json!(["touch", "ran"]));
        assert_eq!(said["boundary"], "native");
        assert_eq!(said["workspace"]["access"], "write");
        assert_eq!(said["limits"], json!({ "memory": 1 << 30, "cpus": 0.5, "processes": 100 }));
        let variables = said["variables"].as_array().unwrap();
        assert!(["PASSED", "SET", "HOME"].iter().all(|name| variables.contains(&json!(name))), "{variables:?}");
        let files = said["files"].as_array().unwrap();
        let workspace = lab.workspace();
        let at = |kind: &str, path: &Path| {
            let path = path.to_str().unwrap();
            files.iter().any(|file| file["kind"] == kind && file["path"] == path)
        };
        let (secret, target) = (workspace.join(".env"), workspace.join("target"));
        assert!(at("host", &workspace) && at("mask", &secret) && at("memory", &target), "{files:?}");
        let rules = said["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 2, "{rules:?}");
        assert!(rules.iter().all(|rule| rule["enforced_by"].as_str().unwrap().starts_with("the gate")), "{rules:?}");
        // Nothing was done.
        assert!(!lab.workspace().join("ran").exists());
        assert_eq!(sessions(&lab), sessions_of_nobody(who));
    }

    fn what_came_since_the_last_session_is_in_the_plan(who) {
        let lab = lab(who);
        lab.write(&lab.workspace().join("later/b"), "b\n");
        // A list of files that changed this shortly before is not believed: what is tried here is one that is.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        let secret = lab.workspace().join("later/.env.local");
        let planned = || {
            let said = report(&lab.palisade(["plan", "--json"]).run().expect(0));
            let files = said["files"].as_array().unwrap().iter();
            let masks = files.filter(|file| file["kind"] == "mask").map(|file| file["path"].clone());
            masks.collect::<Vec<_>>()
        };
        assert_eq!(planned(), Vec::<Value>::new());
        lab.write(&secret, "A=1\n");
        assert_eq!(planned(), [json!(secret.to_str().unwrap())]);
    }

    fn what_is_weaker_by_choice_is_shown_and_starts(who) {
        let lab = lab(who);
        let said = report(&lab.palisade(["plan", "--json"]).run().expect(0));
        for name in ["masks", "protect"] {
            assert_eq!(control(&said, name)["enforcement"], "weaker-everywhere", "{name}");
        }
        let shown = lab.palisade(["plan"]).run().expect(0).stdout;
        assert!(shown.contains("protect: weaker on every boundary: "), "{shown}");
        assert!(!lab.palisade(["run", "--", "true"]).run().expect(0).stderr.contains("weaker"));
        // With access review nothing of it is left to choose.
        let said = report(&lab.palisade(["plan", "--json", "--access", "review"]).run().expect(0));
        assert_eq!(control(&said, "protect")["enforcement"], "enforced");
    }
}

/// What `palisade sessions` prints where there never was one.
fn sessions_of_nobody(who: Identity) -> String {
    sessions(&lab(who))
}

/// A policy that asks for all there is.
fn everything() -> &'static str {
    r#"version = 1
[filesystem]
access = "write"
volume = [{ path = "~/.cache/pip", name = "pip" }]
tmpfs = [{ path = "~/project/target", size = "1MiB" }]
[[network.allow]]
host = "api.example.com"
ports = [443]
credential = "token"
[[network.deny]]
host = "gist.example.com"
[credentials.token]
source = { env = "TOKEN" }
inject = { header = "authorization", format = "Bearer {secret}" }
[environment]
pass = ["PASSED"]
set = { SET = "v4lu3" }
[limits]
memory = "1GiB"
cpus = 0.5
processes = 100
"#
}
