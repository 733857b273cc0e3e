//! How the workspace may be used: where changes land, what is kept of them, and what lies beside it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use palisade_test_support::{Finished, Identity, Lab, Policy, Skip, each_identity};
use serde_json::Value;

use crate::lab;

const CHANGE: &str = "echo changed > README.md; echo new > new; ls";

/// A session with this access.
fn run(lab: &Lab, access: &str, script: &str) -> Finished {
    let words = ["run", "--access", access, "--", "sh", "-c", script];
    lab.palisade(words).run()
}

/// `palisade sessions --json`, the newest last.
fn sessions(lab: &Lab) -> Vec<Value> {
    let listed = lab.palisade(["sessions", "--json"]).run().expect(0);
    let lines = listed.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn newest(lab: &Lab) -> (String, Value) {
    let record = sessions(lab).pop().unwrap();
    (record["id"].as_str().unwrap().to_owned(), record)
}

fn changes_of(lab: &Lab, id: &str) -> PathBuf {
    lab.home()
        .join(".local/state/palisade/sessions")
        .join(id)
        .join("changes")
}

fn host(lab: &Lab, name: &str) -> String {
    fs::read_to_string(lab.workspace().join(name)).unwrap()
}

fn volume(path: &str, name: &str) -> Policy {
    Policy::new().tables(&format!(
        "[[filesystem.volume]]\npath = \"{path}\"\nname = \"{name}\""
    ))
}

each_identity! {
    fn scratch_changes_vanish(who) {
        let lab = lab(who);
        let done = run(&lab, "scratch", CHANGE).expect(0);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("README.md\nnew\n", ""));
        assert_eq!(host(&lab, "README.md"), "# a project\n");
        assert!(!lab.workspace().join("new").exists());
        let (id, record) = newest(&lab);
        assert!(!changes_of(&lab, &id).exists());
        assert_eq!(record["pending_changes"], false);
    }

    fn scratch_is_bounded(who) {
        let lab = lab(who);
        let policy = Policy::new().filesystem("access = \"scratch\"\nscratch_size = \"1MiB\"");
        let done = lab.run(&policy, ["sh", "-c", "head -c 3000000 /dev/zero > big"]).run();
        assert_ne!(done.status, 0);
        done.expect_error("No space left");
        let roomy = Policy::new().filesystem("access = \"scratch\"\nscratch_size = \"8MiB\"");
        lab.run(&roomy, ["sh", "-c", "head -c 3000000 /dev/zero > big"]).run().expect(0);
    }

    fn review_keeps_changes_apart_and_says_so(who) {
        let lab = lab(who);
        let done = run(&lab, "review", CHANGE).expect(0);
        let (id, record) = newest(&lab);
        assert_eq!(done.stderr, format!("palisade: 2 files changed; see `palisade review {id}`\n"));
        assert_eq!(host(&lab, "README.md"), "# a project\n");
        assert!(!lab.workspace().join("new").exists());
        let upper = changes_of(&lab, &id).join("upper");
        assert_eq!(fs::read_to_string(upper.join("README.md")).unwrap(), "changed\n");
        assert_eq!(record["pending_changes"], true);
        assert_eq!(record["access"], "review");
        let owner = fs::metadata(upper.join("new")).unwrap().uid();
        match who {
            Identity::Root => {
                assert_eq!(record["owners"]["from"][0], owner);
                assert_eq!(record["owners"]["to"], serde_json::json!([0, 0]));
                assert_ne!(owner, 0, "an agent of root's has an id of its own");
            }
            Identity::User => assert_eq!((owner, &record["owners"]), (who.uid(), &Value::Null)),
        }
        lab.palisade(["sessions"]).run().expect(0).expect_output("changes pending");
    }

    fn nobody_else_reaches_what_is_kept_and_it_began_before_it_was_changed(who) {
        let lab = lab(who);
        run(&lab, "review", "echo x > new; chmod 6755 new; chmod 777 .").expect(0);
        let changes = changes_of(&lab, &newest(&lab).0);
        let session = changes.parent().unwrap();
        for folder in [session, &changes] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", folder.display());
        }
        assert_eq!(fs::metadata(session).unwrap().uid(), who.uid());
        let at = |name: &str| {
            let found = fs::metadata(changes.join(name)).unwrap();
            (found.ctime(), found.ctime_nsec())
        };
        assert!(at("began") <= at("upper/new"));
    }

    fn a_session_that_changes_nothing_leaves_nothing_and_says_nothing(who) {
        let lab = lab(who);
        for script in ["true", "touch README.md; chmod 700 .; chmod 755 .", "echo x > new; rm new"] {
            let done = run(&lab, "review", script).expect(0);
            assert_eq!(done.stderr, "", "{script}");
            assert!(!changes_of(&lab, &newest(&lab).0).exists(), "{script}");
        }
        let words = ["run", "--quiet", "--access", "review", "--", "touch", "new"];
        assert_eq!(lab.palisade(words).run().expect(0).stderr, "");
        assert_eq!(newest(&lab).1["pending_changes"], true);
        // A program that cannot be started leaves nothing either.
        lab.palisade(["run", "--access", "review", "--", "no-such-program"]).run().expect(127);
        assert!(!changes_of(&lab, &newest(&lab).0).exists());
    }

    fn changes_outlive_a_palisade_that_is_killed(who) {
        let lab = lab(who);
        let words = ["run", "--access", "review", "--", "sh", "-c", "echo x > new; sync; echo done; sleep 60"];
        let mut child = lab.palisade(words).command();
        let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let (id, record) = newest(&lab);
        assert_eq!((&record["running"], &record["pending_changes"]), (&Value::Bool(true), &Value::Bool(false)));
        let earlier = ["run", "--access", "review", "--continue", &id, "--", "true"];
        lab.palisade(earlier).run().expect(125).expect_error("still runs");
        let process = fs::read_to_string(changes_of(&lab, &id).join("process")).unwrap();
        let number = process.split(' ').next().unwrap();
        let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap();
        assert_eq!(name, "palisade-init\n");
        child.kill().unwrap();
        child.wait().unwrap();
        // What was inside may outlive palisade by a moment, and is waited for.
        while newest(&lab).1["running"] == true {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!PathBuf::from(format!("/proc/{number}")).exists());
        assert_eq!(newest(&lab).1["pending_changes"], true);
        let text = fs::read_to_string(changes_of(&lab, &id).join("upper/new")).unwrap();
        assert_eq!(text, "x\n");
    }

    fn a_session_goes_on_with_the_changes_of_an_earlier_one(who) {
        let lab = lab(who);
        run(&lab, "review", CHANGE).expect(0);
        let (first, record) = newest(&lab);
        let began = |id: &str| {
            let found = fs::metadata(changes_of(&lab, id).join("began")).unwrap();
            (found.ctime(), found.ctime_nsec())
        };
        let start = began(&first);
        let go_on = |access: &str, id: &str, script: &str| {
            let words = ["run", "--access", access, "--continue", id, "--", "sh", "-c", script];
            lab.palisade(words).run()
        };
        go_on("write", &first, "true").expect(125).expect_error("only changes under \"review\"");
        go_on("scratch", &first, "true").expect(125).expect_error("--access review");
        let elsewhere = lab.write(&lab.home().join("other/file"), "x");
        let words = ["run", "--access", "review", "--continue", &first, "--", "true"];
        let other = lab.palisade(words).directory(elsewhere.parent().unwrap()).run();
        other.expect(125).expect_error("the workspace here is");
        // What was left by the first is there, is the agent's own, and can be changed again.
        let done = go_on("review", &first, "cat README.md new; echo more >> new; rm README.md; mkdir d; test -O new && echo own");
        assert!(done.expect(0).stdout.starts_with("changed\nnew\nown\n"));
        let (second, next) = newest(&lab);
        assert_eq!(next["continues"], first.as_str());
        assert_eq!(next["owners"], record["owners"]);
        assert_eq!(began(&second), start, "conflicts are told by the first start");
        assert!(!changes_of(&lab, &first).exists());
        let upper = changes_of(&lab, &second).join("upper");
        assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "new\nmore\n");
        let list = lab.palisade(["sessions"]).run().expect(0);
        assert!(list.stdout.contains(&format!("changes went on to {second}")), "{list}");
        go_on("review", &first, "true").expect(125).expect_error("has no pending changes");
        go_on("review", "no-such", "true").expect(125).expect_error("palisade sessions");
        go_on("review", "../x", "true").expect(125).expect_error("not the name of a session");
    }

    fn pending_changes_are_not_thrown_away_in_silence(who) {
        let lab = lab(who);
        run(&lab, "review", "echo x > new; mkdir -p deep/er; touch deep/er/f; chmod 000 deep/er deep").expect(0);
        run(&lab, "write", "true").expect(0);
        let (prune, id) = (["sessions", "prune", "--keep", "0"], sessions(&lab)[0]["id"].clone());
        let kept = lab.palisade(prune).run().expect(0).expect_output("removed 1, kept 1");
        assert!(kept.stdout.contains("--discard-changes"), "{kept}");
        assert!(changes_of(&lab, id.as_str().unwrap()).exists());
        let all = lab.palisade(prune).args(["--discard-changes"]).run();
        all.expect(0).expect_output("removed 1, kept 0");
        assert!(!changes_of(&lab, id.as_str().unwrap()).exists());
    }

    fn a_governing_file_is_read_only_in_each_access(who) {
        let lab = lab(who);
        let policy = lab.workspace().join("ci/deep/policy.toml");
        lab.write(&lab.workspace().join("ci/file"), "");
        let attack = "
            for f in palisade.toml ci/deep/policy.toml; do
                echo x > $f; echo x >> $f; rm -f $f; mv $f $f.old; ln -sf /tmp $f; touch n; mv -f n $f; chmod 777 $f
            done
            mv ci ci2; mv ci/deep d; rm -rf ci; mkdir -p ci/deep; echo forged > ci/deep/policy.toml
            echo reached > free; exit 0";
        for access in ["read", "scratch", "review", "write"] {
            lab.write(&lab.workspace().join("palisade.toml"), "version = 1\n");
            lab.write(&policy, "version = 1\n# governs\n");
            let script = format!("{attack} & wait; cat palisade.toml ci/deep/policy.toml");
            let words = ["run", "--policy", "ci/deep/policy.toml", "--access", access, "--", "sh", "-c"];
            let done = lab.palisade(words).args([&script]).run().expect(0);
            assert_eq!(done.stdout, "version = 1\nversion = 1\n# governs\n", "{access}: {done}");
            assert_eq!(fs::read_to_string(&policy).unwrap(), "version = 1\n# governs\n");
            let control = run(&lab, "scratch", "cd ci/deep && echo x > policy.toml && mv ../deep ../d; cat ../*/policy.toml");
            assert_eq!(control.stdout, "x\n", "nobody governs by this file here: {control}");
        }
    }

    fn the_name_of_a_workspace_means_nothing(who) {
        let lab = lab(who);
        for name in ["a:b,c", "lowerdir=x", "-o", "a\\,b c"] {
            let folder = lab.home().join("work").join(name);
            lab.write(&folder.join("file"), "host\n");
            for access in ["scratch", "review"] {
                let words = ["run", "--quiet", "--access", access, "--", "sh", "-c", "cat file; echo x > file; cat file"];
                let done = lab.palisade(words).directory(&folder).run().expect(0);
                assert_eq!(done.stdout, "host\nx\n", "{name}");
                assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "host\n", "{name}");
            }
        }
    }

    fn a_workspace_that_holds_palisades_state_is_no_lower_layer(who) {
        let lab = lab(who);
        let state = lab.workspace().join("state");
        lab.write(&state.join("file"), "x");
        for access in ["scratch", "review"] {
            let words = ["run", "--access", access, "--", "true"];
            let refused = lab.palisade(words).env("XDG_STATE_HOME", &state).run();
            refused.expect(125).expect_error("cannot be writable inside");
        }
    }

    fn a_volume_is_kept_and_is_apart_from_others(who) {
        let lab = lab(who);
        let cache = "~/.cache/tool";
        let inside = |name: &str, script: &str| lab.run(&volume(cache, name), ["sh", "-c", script]).run();
        inside("one", "umask 077; echo kept > ~/.cache/tool/f; ln -s f ~/.cache/tool/l; mkdir ~/.cache/tool/d").expect(0);
        let again = inside("one", "cat ~/.cache/tool/l && echo more >> ~/.cache/tool/f && rmdir ~/.cache/tool/d && echo own").expect(0);
        assert_eq!(again.stdout, "kept\nown\n", "the next agent owns what the last one made");
        let other = inside("two", "ls -A ~/.cache/tool").expect(0);
        assert_eq!(other.stdout, "");
        assert!(!lab.home().join(".cache").exists(), "the host's own folder is left alone");
        let both = Policy::new().tables("[[filesystem.volume]]\npath = \"~/a\"\nname = \"one\"\n[[filesystem.volume]]\npath = \"~/b\"\nname = \"two\"");
        let seen = lab.run(&both, ["sh", "-c", "cat ~/a/f; ls -A ~/b"]).run().expect(0);
        assert_eq!(seen.stdout, "kept\nmore\n");
        // A volume shows nothing of what lies beside it, by no name.
        let out = inside("one", "ls -A ~/.cache/tool/.. ; cat ~/.cache/tool/../../.local/state/palisade/volumes/two/used");
        assert_eq!(out.stdout, "tool\n", "{out}");
    }

    fn volumes_are_listed_and_removed_unless_they_are_used(who) {
        let lab = lab(who);
        let shown = "mkdir -p ~/v/d; head -c 5000 /dev/zero > ~/v/d/f; chmod 000 ~/v/d";
        lab.run(&volume("~/v", "big"), ["sh", "-c", shown]).run().expect(0);
        lab.palisade(["volume", "list"]).run().expect(0).expect_output("big").expect_output("last used");
        let policy = lab.policy(volume("~/v", "big").to_toml());
        let words = ["run", "--policy", policy.to_str().unwrap(), "--", "sleep", "60"];
        let mut child = lab.palisade(words).spawn();
        let used = || {
            let listed = lab.palisade(["volume", "list", "--json"]).run().expect(0);
            serde_json::from_str::<Value>(&listed.stdout).unwrap()["in_use"] == true
        };
        while !used() {
            std::thread::sleep(Duration::from_millis(20));
        }
        lab.palisade(["volume", "remove", "big"]).run().expect(125).expect_error("in use by a session");
        // A second session may share it.
        lab.run(&volume("~/v", "big"), ["true"]).run().expect(0);
        child.kill().unwrap();
        child.wait().unwrap();
        lab.palisade(["volume", "remove", "big"]).run().expect(0).expect_output("removed big");
        assert!(!lab.home().join(".local/state/palisade/volumes/big").exists());
        lab.palisade(["volume", "remove", "big"]).run().expect(125).expect_error("no volume `big`");
        lab.palisade(["volume", "remove", "../sessions"]).run().expect(125).expect_error("no volume");
        assert_eq!(lab.palisade(["volume", "list"]).run().expect(0).stdout, "");
    }

    fn a_file_system_in_memory_holds_its_size_and_no_programs(who) {
        let lab = lab(who);
        let policy = |more: &str| Policy::new().tables(&format!("[[filesystem.tmpfs]]\npath = \"~/fast\"\nsize = \"1MiB\"\n{more}"));
        let script = "cp /bin/true ~/fast/t && ~/fast/t && echo ran; head -c 3000000 /dev/zero > ~/fast/big; exit 0";
        let plain = lab.run(&policy(""), ["sh", "-c", script]).run().expect(0);
        assert_eq!(plain.stdout, "");
        plain.expect_error("Permission denied").expect_error("No space left");
        let exec = lab.run(&policy("exec = true"), ["sh", "-c", script]).run().expect(0);
        assert_eq!(exec.stdout, "ran\n");
    }

    fn a_workspace_of_another_group_is_said(who) {
        let lab = lab(who);
        let given = std::os::unix::fs::chown(lab.workspace(), None, Some(54_321));
        given.map_err(|_| Skip::because("cannot give a folder to another group", "run the tests as root too"))?;
        let said = |access: &str| run(&lab, access, "true").expect(0).stderr.contains("not of your user and group");
        assert_eq!(said("review"), who == Identity::User);
        assert_eq!(said("scratch"), who == Identity::User);
        assert!(!said("read") && !said("write"));
    }

    fn check_says_where_a_change_lands(who) {
        let lab = lab(who);
        let check = |access: &str| lab.palisade(["check", "--access", access, "--write", "README.md"]).run();
        check("read").expect(1);
        check("scratch").expect(0).expect_output("in memory alone");
        check("review").expect(0).expect_output("until `palisade apply`");
        let write = check("write").expect(0);
        assert_eq!(write.stdout.lines().count(), 1, "{write}");
    }
}
