//! What only a container can get wrong: the engine, and what it leaves. `cargo xtask test` runs these with a daemon of its own.

mod compose;
mod images;
mod mapped;
mod served;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use palisade_test_support::{Finished, Lab, Skip, each_identity};

use crate::lab;

/// A lab whose sessions are containers.
fn contained(who: palisade_test_support::Identity) -> Result<Lab, Skip> {
    let lab = lab(who);
    if lab.is_contained() {
        return Ok(lab);
    }
    let fix = "cargo xtask test, or name a boundary and an engine (PALISADE_TEST_BOUNDARY=container, DOCKER_HOST)";
    Err(Skip::because("sessions are no containers here", fix))
}

fn engine(lab: &Lab, arguments: &[&str]) -> Finished {
    lab.outside(lab.engine()).args(arguments).run().expect(0)
}

/// Containers of this lab's sessions, whatever their state.
fn containers(lab: &Lab) -> Vec<String> {
    let label = format!("label=palisade.base={}", base(lab).display());
    let found = engine(lab, &["ps", "--all", "--quiet", "--filter", &label]);
    found.stdout.lines().map(str::to_owned).collect()
}

/// Volumes that hold changes of this lab's sessions.
fn volumes(lab: &Lab) -> usize {
    let all = engine(lab, &["volume", "ls", "--quiet"]).stdout;
    let of_this = |name: &&str| {
        // Another test's may be gone by now.
        let shown = lab
            .outside(lab.engine())
            .args(["volume", "inspect", name])
            .run();
        shown.stdout.contains(lab.home().to_str().unwrap())
    };
    all.lines().filter(of_this).count()
}

fn base(lab: &Lab) -> PathBuf {
    lab.home().join(".local/state/palisade/containers")
}

fn folders(lab: &Lab) -> usize {
    std::fs::read_dir(base(lab)).map_or(0, Iterator::count)
}

/// Puts a program of ours before the engine's real one, which `$REAL` is.
fn wrapped(lab: &Lab, script: &str) -> String {
    let folder = lab.path("wrapped");
    let real = Path::new("/usr/bin").join(lab.engine());
    let text = format!("#!/bin/bash\nREAL={}\n{script}\n", real.display());
    let path = lab.write(&folder.join(lab.engine()), text);
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", folder.display())
}

fn rights_in_namespaces(lab: &Lab) -> bool {
    lab.who() == palisade_test_support::Identity::Root || lab.is_rootless()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

each_identity! {
    fn a_session_leaves_no_container_and_no_folder(who) {
        let lab = contained(who)?;
        let during = lab.palisade(["run", "--quiet", "--", "sh", "-c", "exit 4"]).run();
        assert_eq!(during.status, 4, "{during}");
        assert_eq!((containers(&lab).len(), folders(&lab)), (0, 0));
    }

    fn a_palisade_that_is_killed_leaves_no_container(who) {
        let lab = contained(who)?;
        let mut palisade = lab.palisade(["run", "--quiet", "--", "sh", "-c", "touch started; sleep 1000"]).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        // Root masks what comes later by a process of its own, and others by a second container.
        let wanted = if rights_in_namespaces(&lab) { 1 } else { 2 };
        wait_until("all is there", || containers(&lab).len() == wanted);
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        wait_until("the container is gone", || containers(&lab).is_empty());
        // Its folder stays for the next session to remove.
        assert_eq!(folders(&lab), 1);
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert_eq!(folders(&lab), 0);
    }

    fn a_container_that_was_made_and_never_started_is_removed_by_the_next_session(who) {
        let lab = contained(who)?;
        // Killed together with docker's client before that comes to start what it made.
        let path = wrapped(&lab, "[ \"$2\" = run ] && { $REAL create \"${@:4}\"; kill -KILL $PPID; exit 1; }\nexec $REAL \"$@\"");
        let killed = lab.palisade(["run", "--quiet", "--access", "review", "--", "true"]).env("PATH", &path).run();
        assert_ne!(killed.status, 0, "{killed}");
        // Root lays the overlay by a process of its own, and without root podman by a mount of its own.
        let kept = usize::from(!lab.is_rootless() && !rights_in_namespaces(&lab));
        assert_eq!((containers(&lab).len(), folders(&lab), volumes(&lab)), (1, 1, kept));
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert_eq!((containers(&lab).len(), folders(&lab), volumes(&lab)), (0, 0, 0));
    }

    fn no_agent_starts_where_the_engine_dropped_a_control(who) {
        let lab = contained(who)?;
        let without = |option: &str| {
            format!(
                "if [ \"$2\" = run ]; then kept=(); for a in \"$@\"; do [[ \"$a\" == {option} ]] || kept+=(\"$a\"); done; exec $REAL \
                 \"${{kept[@]}}\"; fi\nexec $REAL \"$@\""
            )
        };
        let run = |path: &str| {
            let line = ["run", "--quiet", "--", "sh", "-c", "echo ran; touch ran"];
            lab.palisade(line).env("PATH", path).run()
        };
        // The control: one that drops nothing lets it run.
        run(&wrapped(&lab, &without("--nothing"))).expect(0).expect_output("ran");
        std::fs::remove_file(lab.workspace().join("ran")).unwrap();
        // Podman's own network needs more than a test has.
        let network = match lab.engine() {
            "docker" => ("--network=none", "the network"),
            _ => ("--mount=*/etc/alternatives*", "mounts"),
        };
        let (processes, capabilities) = match lab.engine() {
            "docker" => ("--pids-limit=*", "the dropped capabilities"),
            _ if lab.is_rootless() => ("--ulimit=nproc=*", "the guest's capabilities"),
            _ => ("--pids-limit=*", "the guest's capabilities"),
        };
        for (option, control) in [
            ("--read-only", "the root"),
            network,
            ("--security-opt=no-new-privileges", "no-new-privileges"),
            ("--security-opt=seccomp=*", "the system-call filter"),
            (processes, "limits.processes"),
            ("--cap-drop=ALL", capabilities),
        ] {
            let done = run(&wrapped(&lab, &without(option)));
            done.expect(125).expect_error(control);
            assert!(!lab.workspace().join("ran").exists(), "{option}");
        }
        assert_eq!(containers(&lab).len(), 0);
    }

    fn an_engine_that_cannot_be_used_says_what_to_do(who) {
        let lab = contained(who)?;
        let named = palisade_test_support::Policy::new().tables("[boundary.container]\nengine = \"docker\"");
        let run = |host: &str| lab.run(&named, ["true"]).env("DOCKER_HOST", host).run();
        // With podman as the engine docker's program is hidden.
        if lab.engine() == "docker" {
            run("unix:///nonexistent/docker.sock").expect(125).expect_error("systemctl start docker");
        }
        let own = format!("[boundary.container]\nengine = {:?}", lab.engine());
        let own = palisade_test_support::Policy::new().tables(&own);
        let none = lab.run(&own, ["true"]).env("PATH", "/nonexistent").run();
        none.expect(125).expect_error(&format!("there is no program `{}`", lab.engine()));
        assert_eq!(folders(&lab), 0);
    }

    fn folders_on_the_way_to_what_is_shown_are_the_agents(who) {
        let lab = contained(who)?;
        let shown = lab.home().join("deep/er/shown");
        lab.write(&shown.join("file"), "x");
        let policy = palisade_test_support::Policy::new().filesystem("read = [\"~/deep/er/shown\"]");
        let script = "cat ~/deep/er/shown/file && touch ~/deep/er/own && ! touch ~/deep/er/shown/own";
        lab.run(&policy, ["sh", "-c", script]).run().expect(0);
    }

    fn what_scratch_holds_in_memory_counts_as_the_agents_and_is_the_containers_alone(who) {
        let lab = contained(who)?;
        let run = |script: &str| {
            let limited = lab.policy("version = 1\n[limits]\nmemory = \"96MiB\"\n");
            let mut words = vec!["run", "--policy", limited.to_str().unwrap(), "--access", "scratch"];
            if lab.is_rootless() {
                words.extend(["--accept-weaker", "limits.memory"]);
            }
            lab.palisade(words.into_iter().chain(["--", "sh", "-c", script])).run()
        };
        let fits = "head -c 32M /dev/zero > much && rm -rf README.md && mkdir README.md && chmod 000 README.md && ls -d much";
        run(fits).expect(0).expect_output("much");
        let too_much = run("head -c 400M /dev/zero > much; ls -s much");
        if lab.is_rootless() {
            // Where nobody counts memory, the file system's own size is what there is.
            too_much.expect_error("No space left on device");
        } else {
            assert_eq!(too_much.status, 137);
        }
        assert!(!lab.workspace().join("much").exists());
        // The host sees no such file system, and so nothing can be left.
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = lab.path("").display().to_string();
        assert!(!table.contains(own.trim_end_matches('/')), "{table}");
        assert_eq!(containers(&lab).len(), 0);
    }

    fn nothing_of_an_overlay_is_left_that_its_user_cannot_remove(who) {
        let lab = contained(who)?;
        let script = "rm -rf README.md && mkdir README.md && echo > README.md/new";
        lab.palisade(["run", "--quiet", "--access", "review", "--", "sh", "-c", script]).run().expect(0);
        lab.palisade(["discard", "--yes"]).run().expect(0);
        lab.palisade(["sessions", "prune", "--keep", "0"]).run().expect(0);
        let left = std::fs::read_dir(lab.home().join(".local/state/palisade/sessions")).unwrap();
        assert_eq!(left.count(), 0);
        assert_eq!((containers(&lab).len(), folders(&lab)), (0, 0));
    }

    fn what_is_removed_before_it_is_masked_is_not_made_again(who) {
        let lab = contained(who)?;
        for access in ["write", "review", "scratch"] {
            let secret = lab.write(&lab.workspace().join(".env"), "S3CRET");
            // Removed after palisade looked and before the engine mounts.
            let path = wrapped(&lab, &format!("[ \"$2\" = run ] && rm -f {}\nexec $REAL \"$@\"", secret.display()));
            let run = ["run", "--quiet", "--access", access, "--", "sh", "-c", "touch ran; cat .env"];
            let done = lab.palisade(run).env("PATH", path).run();
            // Over what is read-only there the engine makes nothing, and the session is built anew or refused.
            if rights_in_namespaces(&lab) || access == "scratch" {
                let ends = if rights_in_namespaces(&lab) { &[1][..] } else { &[1, 125] };
                assert!(ends.contains(&done.status) && !done.stdout.contains("S3CRET"), "{access}: {done}");
            } else {
                done.expect(125).expect_error("was removed on the host while the container was made");
            }
            assert!(!secret.exists(), "{access}");
            let _ = std::fs::remove_file(lab.workspace().join("ran"));
        }
        assert_eq!((containers(&lab).len(), folders(&lab)), (0, 0));
    }

    fn the_agent_is_the_user_that_the_policy_names(who) {
        let lab = contained(who)?;
        let named = |access: &str, script: &str| {
            let policy = palisade_test_support::Policy::new().filesystem(&format!("access = {access:?}"));
            let policy = policy.tables("[boundary.container]\nuser = \"4321:5432\"");
            lab.run(&policy, ["sh", "-c", script]).run()
        };
        if lab.is_rootless() {
            named("write", "true").expect(125).expect_error("no ids but yours");
            return Ok(());
        }
        // The workspace is another user's, and whose it is decides.
        let script = "id -u; id -g; touch ~/own /tmp/own && ! touch own 2> /dev/null";
        let done = named("write", script).expect(0);
        assert_eq!(done.stdout, "4321\n5432\n", "{done}");
        match who {
            palisade_test_support::Identity::Root => drop(named("review", "touch own").expect(0)),
            palisade_test_support::Identity::User => {
                named("review", "true").expect(125).expect_error("4321:5432 could not write it");
            }
        }
    }

    fn a_runtime_is_one_that_the_engine_knows(who) {
        let lab = contained(who)?;
        let policy = |runtime: &str| {
            let table = format!("[boundary.container]\nruntime = {runtime:?}");
            palisade_test_support::Policy::new().tables(&table)
        };
        lab.run(&policy("runc"), ["true"]).run().expect(0);
        let refused = lab.run(&policy("nonesuch"), ["true"]).run();
        refused.expect(125).expect_error("does not have that runtime").expect_error("[boundary.container]");
        let file = lab.policy(policy("nonesuch").to_toml());
        let doctor = lab.palisade(["doctor", "--json", "--policy"]).args([file]).run();
        let found: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
        let container = &found["boundaries"][1];
        assert_eq!((&container["boundary"], &container["usable"]), (&"container".into(), &false.into()), "{found:#}");
        let usable = lab.palisade(["doctor", "--json"]).run().expect(0);
        let found: serde_json::Value = serde_json::from_str(&usable.stdout).unwrap();
        assert_eq!(found["boundaries"][1]["usable"], true, "{found:#}");
        let engine = found["boundaries"][1]["capabilities"][0]["detail"].as_str().unwrap();
        assert!(engine.starts_with(lab.engine()), "{engine}");
    }
}
