//! Secrets within what is shown, and what the host would run: out of reach in every access.

use std::fs;
use std::process::Command;

use palisade_test_support::{Lab, Policy, each_identity};
use serde_json::{Value, json};

use crate::lab;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nS3CRET\n-----END PRIVATE KEY-----\n";

/// A file of the person's.
fn put(lab: &Lab, name: &str, text: &str) {
    lab.write(&lab.workspace().join(name), text);
}

fn git(lab: &Lab, arguments: &[&str]) {
    lab.outside("git").args(arguments).run().expect(0);
}

each_identity! {
    fn secrets_are_hidden_in_every_access(who) {
        let lab = lab(who);
        for name in [".env", "deep/er/.env.local", ".aws/credentials", "tls/server.key"] {
            put(&lab, name, KEY);
        }
        put(&lab, ".env.example", "EXAMPLE=1\n");
        put(&lab, "tls/ca.pem", "-----BEGIN CERTIFICATE-----\n");
        fs::hard_link(lab.workspace().join(".env"), lab.workspace().join("innocent")).unwrap();
        let script = "cat .env deep/er/.env.local .aws/* tls/server.key innocent /proc/self/root$PWD/.env; \
            cat .env.example tls/ca.pem; (echo x > .env) 2>/dev/null; mv .env away 2>/dev/null; ln .env other 2>/dev/null; \
            mv deep moved 2>/dev/null && cat moved/er/.env.local; cat away other; true";
        for access in ["read", "scratch", "review", "write"] {
            let done = lab.palisade(["run", "--quiet", "--access", access, "--", "sh", "-c", script]).run().expect(0);
            assert!(done.stdout.contains("EXAMPLE=1\n-----BEGIN CERTIFICATE"), "{access}: {done:?}");
            assert!(!done.stdout.contains("S3CRET"), "{access}: {done:?}");
        }
        assert_eq!(fs::read_to_string(lab.workspace().join(".env")).unwrap(), KEY);
        // The control: without the masks the same script prints it by each name.
        let policy = Policy::new().filesystem("unmask = [\".env\", \".env.*\", \"*.key\", \".aws\"]");
        let shown = lab.run(&policy, ["cat", ".env", ".aws/credentials", "innocent"]).run().expect(0);
        assert_eq!(shown.stdout.matches("S3CRET").count(), 3);
    }

    fn what_came_since_the_last_session_is_masked_and_protected_from_the_first_moment(who) {
        let lab = lab(who);
        put(&lab, "a", "a\n");
        put(&lab, "later/b", "b\n");
        // A list of files that changed this shortly before is not believed: what is tried here is one that is.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let script = "cat .env later/.env.local 2>/dev/null; echo evil > .husky/pre-commit; cat innocent; true";
        for (round, access) in ["write", "review", "scratch", "read"].into_iter().enumerate() {
            let run = |script| lab.palisade(["run", "--quiet", "--access", access, "--", "sh", "-c", script]).run().expect(0);
            run("true");
            put(&lab, ".env", KEY);
            put(&lab, "later/.env.local", KEY);
            put(&lab, ".husky/pre-commit", "echo good\n");
            put(&lab, "innocent", &format!("{round}\n"));
            let done = run(script);
            assert_eq!(done.stdout, format!("{round}\n"), "{access}: {done:?}");
            assert_eq!(fs::read_to_string(lab.workspace().join(".husky/pre-commit")).unwrap(), "echo good\n", "{access}");
            // And what is gone needs no mask: the session starts.
            for name in [".env", "later/.env.local", ".husky/pre-commit"] {
                fs::remove_file(lab.workspace().join(name)).unwrap();
            }
            fs::remove_dir(lab.workspace().join(".husky")).unwrap();
            let done = run(script);
            assert_eq!(done.stdout, format!("{round}\n"), "{access}: {done:?}");
        }
    }

    fn what_appears_or_is_replaced_while_the_agent_runs_is_masked(who) {
        let lab = lab(who);
        put(&lab, ".env", "old S3CRET\n");
        let look = "for name in second.env third/.env .env; do i=0; \
            while [ -s $name ] && [ $i -lt 500 ]; do sleep 0.01; i=$((i+1)); done; cat $name; done; echo end";
        for access in ["write", "review"] {
            // An overlay that was asked for a name which was not there answers so from then on: there the agent waits
            // without asking.
            let wait = if access == "write" {
                "echo > ready; until [ -e second.env ]; do sleep 0.01; done"
            } else {
                "sleep 1.5"
            };
            let script = format!("{wait}; {look}");
            let session = lab.palisade(["run", "--access", access, "--", "sh", "-c", &script]).spawn();
            // In a review nothing the agent does is seen here.
            while access == "write" && !lab.workspace().join("ready").exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            if access == "review" {
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            // As an editor saves: a new file in the place of the old one, which takes the mask with it.
            put(&lab, "new", "new S3CRET\n");
            fs::rename(lab.workspace().join("new"), lab.workspace().join(".env")).unwrap();
            put(&lab, "third/.env", "third S3CRET\n");
            put(&lab, "second.env", "second S3CRET\n");
            let done = session.wait_with_output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, err) = (text(&done.stdout), text(&done.stderr));
            assert_eq!(out, "end\n", "{access}: {err}");
            assert!(err.contains("second.env appeared and is masked by `*.env` (built-in)"), "{err}");
            for name in ["second.env", "third/.env", "ready"] {
                let _ = fs::remove_file(lab.workspace().join(name));
            }
        }
    }

    fn a_policy_masks_more_and_less_and_says_so(who) {
        let lab = lab(who);
        put(&lab, ".env", "S3CRET\n");
        put(&lab, "conf/live.yml", "S3CRET\n");
        let policy = Policy::new().filesystem("mask = [\"conf/*.yml\"]\nunmask = [\".env\"]");
        let done = lab.run(&policy, ["cat", ".env", "conf/live.yml"]).run().expect(0);
        assert_eq!(done.stdout, "S3CRET\n");
        let explained = lab.palisade(["explain", "--masks"]).run().expect(0);
        let env = lab.workspace().join(".env");
        assert!(explained.stdout.contains(&format!("{}: masked by `.env` (built-in)", env.display())), "{explained:?}");
        let read = lab.palisade(["check", "--read", ".env"]).run().expect(1);
        assert!(read.stdout.contains("masked by `.env` (built-in)"), "{read:?}");
        lab.palisade(["check", "--read", "conf/live.yml"]).run().expect(0);
        let bad = Policy::new().filesystem("mask = [\"../x\"]");
        lab.run(&bad, ["true"]).run().expect(125).expect_error("steps back");
    }

    fn a_tracked_secret_is_warned_of(who) {
        let lab = lab(who);
        put(&lab, ".env", "S3CRET\n");
        let env = lab.workspace().join(".env").display().to_string();
        let tracked = || {
            let told = lab.palisade(["doctor", "--json"]).run().expect(0);
            serde_json::from_str::<Value>(&told.stdout).unwrap()["workspace"]["tracked_secrets"].take()
        };
        let warned = || {
            let said = |words: &[&str]| lab.palisade(words).run().expect(0).stdout;
            let line = format!("git tracks {env}: `git show HEAD:…` prints what the mask hides");
            [said(&["explain", "--masks"]), said(&["explain"]), said(&["doctor"])].map(|said| said.contains(&line))
        };
        git(&lab, &["init", "-q"]);
        git(&lab, &["add", "-f", ".env"]);
        assert_eq!((warned(), tracked()), ([true; 3], json!([env])));
        let unmask = Policy::new().filesystem("unmask = [\".env\"]");
        let shown = lab.palisade(["doctor", "--policy"]).args([lab.policy(unmask.to_toml())]).run().expect(0);
        assert!(!shown.stdout.contains("git tracks"), "{shown}");
        git(&lab, &["rm", "-q", "--cached", ".env"]);
        assert_eq!((warned(), tracked()), ([false; 3], json!([])));
        // Where no policy can be read the doctor says so, and all it says of the machine.
        let broken = lab.policy("nonsense");
        let told = lab.palisade(["doctor", "--policy"]).args([&broken]).run().expect(0);
        told.expect_output("native boundary").expect_output("not looked for masked files").expect_output("policy.toml");
        let told = lab.palisade(["doctor", "--json", "--policy"]).args([&broken]).run().expect(0);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        assert!(told["workspace"]["error"].as_str().unwrap().contains("policy.toml"), "{told}");
    }

    fn what_the_host_runs_is_kept_from_a_writable_workspace(who) {
        let lab = lab(who);
        let top = lab.workspace();
        git(&lab, &["init", "-q"]);
        put(&lab, "a", "a\n");
        put(&lab, ".vscode/tasks.json", "{}\n");
        put(&lab, "pkg/.github/workflows/ci.yml", "on: push\n");
        git(&lab, &["init", "-q", "--bare", "bare.git"]);
        let attacks = "set -x; echo evil > .git/hooks/pre-commit; git config core.fsmonitor ./evil; mv .git .old; \
            mv .git/hooks .git/older; rm -rf .vscode; echo evil > .vscode/tasks.json; echo evil > .vscode/settings.json; \
            mv pkg/.github pkg/old; echo evil > pkg/.github/workflows/ci.yml; echo evil > bare.git/hooks/update; mv bare.git b; \
            git add -A && git -c user.name=a -c user.email=a@b commit -qm works; echo $?";
        let done = lab.palisade(["run", "--", "sh", "-c", attacks]).run().expect(0);
        assert_eq!(done.stdout.lines().last(), Some("0"), "a commit works: {done:?}");
        // Of a boundary that is weaker in something else it says so.
        let said = done.stderr.lines().filter(|line| line.contains("palisade:") && !line.contains("note: weaker on"));
        assert_eq!(said.count(), 0, "{done:?}");
        let evil = Command::new("grep").args(["-rl", "evil"]).arg(&top).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&evil.stdout), "");
        for kept in [".git/hooks", ".vscode/tasks.json", "pkg/.github/workflows/ci.yml", "bare.git/hooks"] {
            assert!(top.join(kept).exists(), "{kept}");
        }
        let check = lab.palisade(["check", "--write", ".git/hooks/pre-commit"]).run().expect(1);
        assert!(check.stdout.contains("read-only (`protect`)"), "{check:?}");
        // What comes is named, and only what could run something.
        let new = "git init -q sub; git init -q other; echo evil > sub/.git/hooks/post-checkout; mkdir .husky; echo x > .husky/pre-commit";
        let done = lab.palisade(["run", "--", "sh", "-c", new]).run().expect(0);
        let line = format!("{0}/.husky, {0}/sub/.git/hooks;", top.display());
        assert!(done.stderr.contains(&line), "{done:?}");
        assert!(!done.stderr.contains("other"), "{done:?}");
        // The control: without it the first attack works.
        let policy = Policy::new().filesystem("protect = false");
        lab.run(&policy, ["sh", "-c", "echo evil > .git/hooks/pre-commit"]).run().expect(0);
        assert!(top.join(".git/hooks/pre-commit").exists());
    }
}
