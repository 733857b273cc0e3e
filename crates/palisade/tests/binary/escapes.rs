//! What the attacks of `palisade verify` do not show: what a session passes on from where it was started, and who its agent
//! is on the host.

use std::process::Command;

use palisade_test_support::{Need, each_identity, need};

use crate::lab;

each_identity! {
    fn inherited_descriptors_are_closed(who) {
        let lab = lab(who);
        let secret = lab.home().join(".ssh/id_ed25519");
        // The shell opens it as descriptor 9; the control reads it from there.
        let line = |command: &str| format!("exec 9< '{}'; exec {command}", secret.display());
        let control = lab.outside("/bin/sh").args(["-c", &line("cat <&9")]).run().expect(0);
        assert_eq!(control.stdout, lab.secret());
        let inside = format!("'{}' run --quiet -- sh -c 'ls /proc/self/fd; cat /proc/self/fd/9'", lab.binary().display());
        let done = lab.outside("/bin/sh").args(["-c", &line(&inside)]).run();
        assert_ne!(done.status, 0);
        // 3 is the folder that ls itself reads.
        assert_eq!(done.stdout, "0\n1\n2\n3\n", "{done}");
    }

    fn the_environment_does_not_leak(who) {
        let lab = lab(who);
        let palisade = |arguments: &[&str]| {
            let invocation = lab.palisade(["run", "--quiet"]).args(arguments);
            let invocation = invocation.env("AWS_SECRET_ACCESS_KEY", lab.secret()).env("LD_PRELOAD", "");
            invocation.args(["--", "sh", "-c", "env; cat /proc/1/environ /proc/*/environ"]).run()
        };
        let passed = palisade(&["--env", "AWS_SECRET_ACCESS_KEY"]);
        assert!(passed.stdout.contains(lab.secret()), "{passed}");
        let inside = palisade(&[]);
        assert!(inside.stdout.contains("HOME="), "{inside}");
        assert!(!inside.stdout.contains(lab.secret()), "{inside}");
        assert!(!inside.stdout.contains("LD_PRELOAD"), "{inside}");
    }

    fn the_agent_is_nobody_on_the_host(who) {
        need(&[Need::Program("pgrep", "procps")])?;
        let lab = lab(who);
        let script = "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status; touch owned";
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", script]).run().expect(0);
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(done.stdout.contains(line), "{line}: {done}");
        }
        assert!(!done.stdout.contains("Uid:\t0\t"), "{done}");
        // From the host's side: no process of a session run by anyone is root's.
        let mark = format!("7{}", std::process::id());
        let mut palisade = lab.palisade(["run", "--quiet", "--", "sleep", &mark]).spawn();
        let uid = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let found = Command::new("pgrep").args(["-f", "-x", &format!("sleep {mark}")]).output().unwrap();
            let id = String::from_utf8(found.stdout).unwrap().trim().to_owned();
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("Uid:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        });
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        let uid = uid.expect("the agent was seen from the host");
        assert_ne!(uid, 0);
    }
}
