//! gVisor as a runtime of docker's, for root and for who may use docker's socket. `cargo xtask gvisor` runs these with a daemon of its own.

use std::os::unix::fs::{MetadataExt, chown};

use palisade_test_support::{Finished, Identity, Lab, Policy, Skip, each_identity};
use serde_json::Value;

use super::{a_watch_freezes, verify_finds_what_is_named, wait_until};
use crate::lab;

/// A lab whose sandboxes docker starts. The workspace is an ordinary user's, since the agent is its owner.
fn by_docker(who: Identity) -> Result<Lab, Skip> {
    let lab = lab(who);
    if !lab.is_sandboxed_by_docker() {
        let fix =
            "cargo xtask gvisor, or PALISADE_TEST_BOUNDARY=gvisor PALISADE_TEST_ENGINE=docker";
        return Err(Skip::because("docker starts no sandboxes here", fix));
    }
    if who == Identity::Root {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(lab.home(), std::fs::Permissions::from_mode(0o711)).unwrap();
        give(&lab, "");
        give(&lab, "README.md");
    }
    Ok(lab)
}

fn give(lab: &Lab, name: &str) {
    chown(lab.workspace().join(name), Some(1000), Some(1000)).unwrap();
}

fn containers(lab: &Lab) -> usize {
    let base = lab.home().join(".local/state/palisade/containers");
    let label = format!("label=palisade.base={}", base.display());
    let list = ["ps", "--all", "--quiet", "--filter", &label];
    let found = lab.outside("docker").args(list).run().expect(0);
    found.stdout.lines().count()
}

fn folders(lab: &Lab) -> usize {
    let base = lab.home().join(".local/state/palisade/containers");
    std::fs::read_dir(base).map_or(0, Iterator::count)
}

fn run(lab: &Lab, table: &str, access: &str, script: &str) -> Finished {
    let policy = Policy::new()
        .filesystem(&format!("access = {access:?}"))
        .tables(&format!("[boundary.gvisor]\nvia = \"docker\"\n{table}"));
    lab.run(&policy, ["sh", "-c", script]).run()
}

each_identity! {
    fn the_kernel_is_gvisors_and_the_agent_is_the_workspaces_owner(who) {
        let lab = by_docker(who)?;
        let outside = std::fs::read_to_string("/proc/version").unwrap();
        let done = run(&lab, "", "write", "cat /proc/version; id -u; touch own; cat README.md; exit 4").expect(4);
        assert!(!done.stdout.contains(outside.trim()), "{done}");
        let rest: Vec<&str> = done.stdout.lines().skip(1).collect();
        assert_eq!(rest, ["1000", "# a project"], "{done}");
        let own = std::fs::metadata(lab.workspace().join("own")).unwrap();
        assert_eq!((own.uid(), own.gid()), (1000, 1000));
        assert_eq!((containers(&lab), folders(&lab)), (0, 0));
    }

    fn changes_are_kept_apart_and_masks_hide(who) {
        let lab = by_docker(who)?;
        let secret = lab.write(&lab.workspace().join(".env"), lab.secret());
        // The control: it is read where it is not masked.
        let shown = lab.outside("cat").args([".env"]).run().expect(0);
        assert!(shown.stdout.contains(lab.secret()));
        let script = "cat .env; echo mine > .env; rm -f README.md; mkdir README.md; echo new > README.md/new; cat README.md/new";
        let done = run(&lab, "", "review", script).expect(0);
        assert_eq!(done.stdout, "new\n", "{done}");
        assert_eq!(std::fs::read_to_string(secret).unwrap(), lab.secret());
        assert!(lab.workspace().join("README.md").is_file());
        lab.palisade(["apply", "--yes"]).run().expect(0);
        assert!(lab.workspace().join("README.md/new").is_file());
        lab.palisade(["sessions", "prune", "--keep", "0"]).run().expect(0);
        assert_eq!((containers(&lab), folders(&lab)), (0, 0));
    }

    fn a_palisade_that_is_killed_leaves_no_container(who) {
        let lab = by_docker(who)?;
        let mut palisade = lab.palisade(["run", "--quiet", "--", "sh", "-c", "touch started; sleep 1000"]).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        assert_eq!(containers(&lab), 1);
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        wait_until("the container is gone", || containers(&lab) == 0);
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert_eq!(folders(&lab), 0);
    }

    fn a_runtime_that_was_not_told_what_it_takes_is_named(who) {
        let lab = by_docker(who)?;
        let named = |name: &str| format!("runsc = {name:?}");
        // The control: one that was.
        run(&lab, &named("runsc"), "write", "touch ran").expect(0);
        std::fs::remove_file(lab.workspace().join("ran")).unwrap();
        for (name, cause) in [
            ("runsc-without-uds", "before the guest could call"),
            ("runsc-without-raw", "a raw socket"),
            ("nonesuch", "does not have that runtime"),
        ] {
            let done = run(&lab, &named(name), "write", "touch ran").expect(125);
            let line = format!("\"{name}\": {{\"path\"");
            done.expect_error(cause).expect_error("daemon.json").expect_error(&line).expect_error("--host-uds=open");
            assert!(!lab.workspace().join("ran").exists(), "{name}");
        }
        assert_eq!((containers(&lab), folders(&lab)), (0, 0));
    }

    fn what_docker_cannot_give_it_is_refused(who) {
        let lab = by_docker(who)?;
        run(&lab, "", "scratch", "true").expect(125).expect_error("access: cannot be enforced").expect_error("via = \"runsc\"");
        run(&lab, "platform = \"ptrace\"", "write", "true").expect(125).expect_error("runtimeArgs");
        run(&lab, "runsc = \"/usr/bin/runsc\"", "write", "true").expect(125).expect_error("not a path");
        if who == Identity::Root {
            chown(lab.workspace(), Some(0), Some(0)).unwrap();
            run(&lab, "", "write", "true").expect(125).expect_error("owned by root");
        }
        assert_eq!((containers(&lab), folders(&lab)), (0, 0));
    }

    fn verify_finds_what_the_docs_name_and_no_more(who) {
        let lab = by_docker(who)?;
        verify_finds_what_is_named(&lab, 30);
    }

    fn a_watch_freezes_the_sandbox_once_something_gets_through(who) {
        let lab = by_docker(who)?;
        a_watch_freezes(&lab, "frozen by the container engine");
        assert_eq!((containers(&lab), folders(&lab)), (0, 0));
    }

    fn memory_is_held_by_dockers_group(who) {
        let lab = by_docker(who)?;
        let limited = |memory: &str| {
            let policy = Policy::new().tables(&format!("[limits]\nmemory = {memory:?}\n[boundary.gvisor]\nvia = \"docker\""));
            lab.run(&policy, ["python3", "-c", "b = bytearray(300 << 20); print(len(b))"]).run()
        };
        // The control: with more it comes to its end.
        limited("1GiB").expect(0).expect_output("314572800");
        let done = limited("200MiB");
        assert_ne!(done.status, 0, "{done}");
        assert!(!done.stdout.contains("314572800"), "{done}");
    }

    fn doctor_knows_the_runtime(who) {
        let lab = by_docker(who)?;
        let state = |name: &str| {
            let policy = Policy::new().tables(&format!("[boundary.gvisor]\nvia = \"docker\"\nrunsc = {name:?}"));
            let file = lab.policy(policy.to_toml());
            let done = lab.palisade(["doctor", "--json", "--policy"]).args([file]).run();
            let found: Value = serde_json::from_str(&done.stdout).unwrap();
            assert_eq!(found["boundaries"][2]["boundary"], "gvisor", "{found:#}");
            found["boundaries"][2].clone()
        };
        for (name, usable) in [("runsc", true), ("nonesuch", false)] {
            let found = state(name);
            assert_eq!(found["usable"], usable, "{found:#}");
        }
    }
}
