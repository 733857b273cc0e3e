//! `palisade verify`: all is held on this machine, what the policy opens is said to be open, and without a boundary nothing
//! is held.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::net::UnixListener;

use palisade_conformance::{Host, MaskedKind, Opened, Preparation, Stage, Status, judge};
use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Finished, Identity, Lab, Policy, each_identity};
use serde_json::Value;

use crate::lab;

/// What an ordinary user cannot do outside either, on the usual machine.
const ROOTS: [&str; 10] = [
    "system-secrets",
    "write-system",
    "kernel-memory",
    "devices",
    "bpf",
    "performance-counters",
    "settings",
    "control-groups",
    "other-user",
    "terminal",
];
/// What not every machine has: IPv6, an address but loopback, kernel modules, a sysctl, set-user-id programs.
const NOT_EVERYWHERE: [&str; 18] = [
    "first-process",
    "loopback-v6",
    "ipv6",
    "direct-address",
    "udp",
    "vsock",
    "kernel-sockets",
    "io-uring",
    "keyring",
    "page-faults",
    "performance-counters",
    "kernel-memory",
    "devices",
    "control-groups",
    "terminal",
    "set-user-id",
    "memory-hog",
    "system-secrets",
];

/// What a run says of each attempt.
fn results(done: &Finished) -> BTreeMap<String, String> {
    let report: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    let attempts = report["attempts"].as_array().expect("a list").iter();
    attempts
        .map(|attempt| {
            let text = |name: &str| attempt[name].as_str().expect("text").to_owned();
            (text("name"), text("result"))
        })
        .collect()
}

fn verify(lab: &Lab, policy: &Policy) -> Finished {
    let by_podman = lab.is_contained() && lab.engine() == "podman";
    let engine = "[boundary.container]\nengine = \"podman\"\n";
    let engine = if by_podman { engine } else { "" };
    let policy = lab.policy(policy.to_toml() + engine);
    let verify = lab
        .palisade(["verify", "--json", "--policy"])
        .args([policy]);
    // A container's own engine is the one that is attacked, and podman has no socket.
    if lab.is_contained() && !by_podman {
        return verify.run();
    }
    let engine = format!("unix://{}", lab.path("docker.sock").display());
    verify.env("DOCKER_HOST", engine).run()
}

/// Attempts with a result, but for those that may have it.
fn others(results: &BTreeMap<String, String>, result: &str, but: &[&[&str]]) -> Vec<String> {
    let found = results.iter().filter(|(_, found)| *found == result);
    let found = found.map(|(name, _)| name.clone());
    found
        .filter(|name| !but.iter().any(|but| but.contains(&name.as_str())))
        .collect()
}

each_identity! {
    fn all_is_held(who) {
        let lab = lab(who);
        for (name, text) in [(".env", "KEY=x"), ("keys/id_rsa", "key"), ("src/main.tfstate", "{}")] {
            lab.write(&lab.workspace().join(name), text);
        }
        let _engine = UnixListener::bind(lab.path("docker.sock")).unwrap();
        who.own(&lab.path("docker.sock"));
        let done = verify(&lab, &Policy::new()).expect(0);
        let results = results(&done);
        assert_eq!(results["engine-socket"], "held", "{done}");
        assert_eq!(others(&results, "not-held", &[]), [""; 0], "{done}");
        assert_eq!(others(&results, "open", &[]), [""; 0], "{done}");
        let roots: &[&str] = if who == Identity::Root { &[] } else { &ROOTS };
        assert_eq!(others(&results, "not-tried", &[&NOT_EVERYWHERE, roots]), [""; 0], "{done}");
        // What was refused is in the log, as of any agent.
        for destination in ["169.254.169.254", "2606:4700:4700::1111"] {
            lab.expect_denied(destination, "not-allowed");
        }
        // Nothing of it stays.
        let left = std::fs::read_dir(lab.workspace()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("verify")), "{left:?}");
    }

    fn limits_hold(who) {
        let lab = lab(who);
        // Without a control group the limit of memory is weaker, and yet ends the hog.
        let accepted = "";
        let limits = format!("{accepted}[boundary]\naccept_weaker = [\"limits.memory\"]\n[limits]\nmemory = \"96MiB\"\nprocesses = 80");
        let done = verify(&lab, &Policy::new().tables(&limits)).expect(0);
        let results = results(&done);
        for name in ["fork-bomb", "memory-hog"] {
            assert_eq!(results[name], "held", "{name}: {done}");
        }
    }

    fn what_the_policy_opens_is_open(who) {
        let lab = lab(who);
        let web = Server::http(Web);
        let policy = Policy::new()
            .filesystem("unmask = [\".env.palisade-verify-*\"]")
            .reach("169.254.169.254", 80, web.address())
            .reach("[2606:4700:4700::1111]", 80, web.address());
        let done = verify(&lab, &policy).expect(0);
        let results = results(&done);
        let masked = ["masked-planted", "masked-root", "masked-handle", "masked-link", "masked-move"];
        for name in masked.into_iter().chain(["secret-files", "metadata", "gate", "ipv6"]) {
            assert_eq!(results[name], "open", "{name}: {done}");
        }
        assert_eq!(others(&results, "not-held", &[]), [""; 0], "{done}");
    }

    fn a_secret_that_shows_is_told(who) {
        let lab = lab(who);
        let rule = "host = \"api.example.com\"\ncredential = \"api\"";
        let policy = Policy::new().rule("allow", rule).tables(
            "[credentials.api]\nsource = { env = \"API_TOKEN\" }\ninject = { header = \"x-api-key\" }",
        );
        let run = || {
            let policy = lab.policy(policy.to_toml());
            let verify = lab.palisade(["verify", "--json", "--policy"]).args([policy]);
            verify.env("API_TOKEN", "not-a-real-token-7c1e").run()
        };
        let hidden = run().expect(0);
        assert_eq!(results(&hidden)["secret-files"], "held", "{hidden}");
        lab.write(&lab.workspace().join("notes.txt"), "use not-a-real-token-7c1e for now");
        let shown = run().expect(1);
        assert_eq!(others(&results(&shown), "not-held", &[]), ["secret-files"], "{shown}");
    }

    fn people_get_a_table(who) {
        let lab = lab(who);
        let done = lab.palisade(["verify"]).run().expect(0);
        done.expect_output(if lab.is_contained() { "container" } else { "native" }).expect_output("fork-bomb").expect_output("0 not held").expect_output("not tried (");
    }

    fn an_interrupt_leaves_nothing_behind(who) {
        let lab = lab(who);
        let temporary = lab.path("temporary");
        std::fs::create_dir(&temporary).unwrap();
        who.own(&temporary);
        let line = format!(
            "setsid '{}' verify > \"$TMPDIR/said\" 2>&1 & p=$!; until ls -A | grep -q palisade-verify; do sleep 0.01; done; \
             kill -INT -$p; wait $p; echo status $?; ls -A . \"$TMPDIR\"; cat \"$TMPDIR/said\"",
            lab.binary().display()
        );
        let invocation = lab.outside("/bin/sh").args(["-c", &line]);
        let done = invocation.env("TMPDIR", &temporary).run().expect(0);
        assert!(!done.stdout.contains("palisade-verify"), "{done}");
        done.expect_output("status 125").expect_output("interrupted");
    }

    fn a_watch_lets_the_command_be(who) {
        let lab = lab(who);
        let script = "until test -e stop; do sleep 0.1; done; echo said; exit 3";
        let watch = ["verify", "--watch", "--every", "1", "--", "sh", "-c", script];
        // Long enough for a round: two attempts wait a second each for an answer that does not come.
        let stop = lab.workspace().join("stop");
        let timer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(8));
            std::fs::write(stop, "").unwrap();
        });
        let done = lab.palisade(watch).run().expect(3);
        timer.join().unwrap();
        assert_eq!(done.stdout, "said\n", "{done}");
        done.expect_error("nothing got through").expect_error(" round");
    }

    fn a_session_is_frozen_once_something_gets_through(who) {
        let lab = lab(who);
        // The folder that the attacker writes to is put where it looks, since nothing real gets through.
        let script = r#"t=$(sed -n 's/.*"token":"\([0-9a-f]*\)".*/\1/p' /run/palisade-watch/stage)
            mkdir /tmp/palisade-verify-$t
            (sleep 1000 & while :; do date +%N > tick; done) & wait"#;
        let done = lab.palisade(["verify", "--watch", "--every", "1", "--", "sh", "-c", script]).run();
        done.expect(1).expect_error("frozen by").expect_error("write-outside got through");
        let ticked = std::fs::read_to_string(lab.workspace().join("tick")).unwrap();
        let frozen = lab.audit().into_iter().find(|line| line["type"] == "frozen");
        assert!(frozen.is_some_and(|line| line["reason"].to_string().contains("write-outside")));
        assert_eq!(std::fs::read_to_string(lab.workspace().join("tick")).unwrap(), ticked);
    }

    fn a_watch_that_is_ended_from_inside_freezes_the_session(who) {
        let lab = lab(who);
        let script = r#"for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline | grep -q "verify --repeat-fro[m]" && kill -9 ${p#/proc/}; done; sleep 1000"#;
        let done = lab.palisade(["verify", "--watch", "--", "sh", "-c", script]).run();
        done.expect(1).expect_error("was ended from inside");
    }

    fn a_watched_program_that_is_not_there_is_named(who) {
        let lab = lab(who);
        lab.palisade(["verify", "--watch", "--", "no-such-program"]).run().expect(127).expect_error("no-such-program");
        lab.palisade(["verify", "--watch"]).run().expect(125).expect_error("<COMMAND>");
    }

    fn a_session_that_cannot_start_is_a_failure(who) {
        let lab = lab(who);
        let done = lab.palisade(["verify", "--json", "--boundary", "no-such"]).run().expect(125);
        assert_eq!(done.stdout, "", "{done}");
    }
}

/// The boundary that holds nothing: the attacker is started where the controls are. Each attempt that works outside has
/// to be found not held, one by one, or it could never fail.
#[test]
fn without_a_boundary_nothing_is_held() {
    let lab = lab(own_identity());
    let masked = lab.write(&lab.workspace().join(".env"), "KEY=x");
    let engine = lab.path("docker.sock");
    let _engine = UnixListener::bind(&engine).unwrap();
    let program = OsString::from(lab.binary());
    let argv = |option: &str| vec![program.clone(), "verify".into(), option.into()];
    let temporary = lab.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let host = Host::prepare(&Preparation {
        victim: argv("--victim"),
        temporary,
        workspace: lab.workspace(),
        plant: true,
        home: lab.home(),
        masked: vec![MaskedKind {
            rule: ".env".into(),
            path: masked,
            directory: false,
        }],
        home_secrets: vec![lab.home().join(".ssh/id_ed25519")],
        engines: vec![engine.clone()],
        secrets: Vec::new(),
        processes: Some(64),
        memory: Some(16 << 20),
    })
    .unwrap();
    let attacker = |stage: &Stage| {
        let mut argv = argv("--attack");
        argv.push(serde_json::to_string(stage).unwrap().into());
        argv
    };
    let control = host.control(attacker).unwrap();
    let (inside, status) = host.run(&attacker(&host.stage_with_stand_ins())).unwrap();
    assert!(status.success(), "{status}");
    let rows = judge(&control, &inside, &Opened::new());
    let held: Vec<_> = rows
        .iter()
        .filter(|row| !matches!(row.status, Status::NotHeld | Status::NotTried))
        .collect();
    assert!(held.is_empty(), "{held:#?}");
    let user = own_identity() == Identity::User;
    let may_lack = |name: &str| {
        name != "memory-hog" && NOT_EVERYWHERE.contains(&name) || user && ROOTS.contains(&name)
    };
    let untried = rows.iter().filter(|row| row.status == Status::NotTried);
    let untried: Vec<_> = untried.filter(|row| !may_lack(row.attempt.name)).collect();
    assert!(untried.is_empty(), "{untried:#?}");
}

fn own_identity() -> Identity {
    if rustix::process::geteuid().is_root() {
        Identity::Root
    } else {
        Identity::User
    }
}
