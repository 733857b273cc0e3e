//! A compose file that `palisade plan --compose` printed, run for real. It wants a daemon whose mounts are shared, as a system manager makes
//! them, and whose containers have control group namespaces of their own, which an older compose has no word for.

use std::path::PathBuf;

use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Finished, Lab, Need, Policy, Skip, each_identity, need};

use super::{contained, engine};

const COMPOSE: Need = Need::Program("docker-compose", "docker-compose");

const FIX: &str = "cargo xtask test starts a daemon that can";

/// A project of two services, gone when dropped.
struct Project<'a> {
    lab: &'a Lab,
    file: PathBuf,
    text: String,
}

impl<'a> Project<'a> {
    fn new(lab: &'a Lab, options: &[&str], script: &str) -> Self {
        let words = [&["plan", "--compose"], options, &["--", "sh", "-c", script]].concat();
        let text = lab.palisade(words).run().expect(0).stdout;
        let file = lab.write(&lab.path("compose.yaml"), &text);
        Self { lab, file, text }
    }

    fn compose(&self, words: &[&str]) -> Finished {
        let file = self.file.to_str().unwrap();
        let all = [&["--file", file], words].concat();
        self.lab.outside("docker-compose").args(all).run()
    }

    /// Runs it until the agent ends, and passes its status on.
    fn up(&self) -> Result<Finished, Skip> {
        let done = self.compose(&[
            "up",
            "--abort-on-container-exit",
            "--exit-code-from",
            "agent",
        ]);
        if done.stderr.contains("not a shared or slave mount") {
            return Err(Skip::because("the daemon's mounts are not shared", FIX));
        }
        Ok(done)
    }

    /// The same with another text.
    fn up_with(&self, text: &str) -> Result<Finished, Skip> {
        assert_ne!(text, self.text);
        self.lab.write(&self.file, text);
        let done = self.up();
        self.compose(&["down"]).expect(0);
        done
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.lab.write(&self.file, &self.text);
        self.compose(&["down", "--volumes"]);
    }
}

/// A lab whose daemon can run such a file.
fn composed(who: palisade_test_support::Identity) -> Result<Lab, Skip> {
    need(&[COMPOSE])?;
    let lab = contained(who)?;
    if lab.engine() != "docker" {
        return Err(Skip::because("a compose file is docker's", FIX));
    }
    let options = engine(&lab, &["info", "--format", "{{.SecurityOptions}}"]).stdout;
    if !options.contains("name=cgroupns") {
        return Err(Skip::because(
            "containers share control group namespaces",
            FIX,
        ));
    }
    Ok(lab)
}

each_identity! {
    fn a_compose_file_runs_the_agent_with_its_gate(who) {
        let lab = composed(who)?;
        lab.write(&lab.workspace().join(".env"), "S3CRET");
        let server = Server::http(Web);
        let policy = Policy::new().reach("allowed.test", 80, server.address());
        let policy = lab.policy(policy.to_toml());
        let script = "cat .env > seen; echo \"it's $HOME\" >> seen; echo >> runs; \
                      curl -s -o /dev/null -o /dev/null -w '%{http_code}\n' http://allowed.test/ http://denied.test/ >> seen; exit 7";
        let project = Project::new(&lab, &["--policy", policy.to_str().unwrap()], script);
        // Again and again, with the same containers.
        for runs in ["\n", "\n\n"] {
            let done = project.up()?;
            done.expect(7);
            let seen = std::fs::read_to_string(lab.workspace().join("seen")).unwrap();
            assert_eq!(seen, format!("it's {}\n200\n403\n", lab.home().display()));
            assert_eq!(std::fs::read_to_string(lab.workspace().join("runs")).unwrap(), runs);
        }
        lab.expect_allowed("allowed.test");
        lab.expect_denied("denied.test", "not-allowed");
    }

    fn changes_of_a_composed_agent_are_reviewed(who) {
        let lab = composed(who)?;
        let project = Project::new(&lab, &["--access", "review"], "cat README.md && rm README.md && echo > new");
        let done = project.up()?;
        done.expect(0);
        assert!(!lab.workspace().join("new").exists() && lab.workspace().join("README.md").exists());
        let review = lab.palisade(["review", "--stat"]).run();
        assert!(review.stdout.contains("A new") && review.stdout.contains("D README.md"), "{review}");
    }

    fn another_compose_file_than_the_printed_one_is_refused_by_name(who) {
        let lab = composed(who)?;
        let project = Project::new(&lab, &[], "touch ran");
        let text = project.text.clone();
        let changes = [
            ("the dropped capabilities", "    cap_drop:\n      - \"ALL\"\n", ""),
            ("the IPC namespace", "ipc: private", "ipc: shareable"),
            ("the system-call filter", "profile.json\"\n", "profile.json\"\n      - \"seccomp:unconfined\"\n"),
            ("the root", "    read_only: true\n    restart", "    read_only: false\n    restart"),
            ("mounts", "        read_only: true\n        source: \"/usr\"", "        read_only: false\n        source: \"/usr\""),
        ];
        for (control, from, to) in changes {
            let done = project.up_with(&text.replacen(from, to, 1))?;
            assert_ne!(done.status, 0, "{control}: {done}");
            assert!(done.stdout.contains(&format!("{control} is not as it was asked for")), "{control}: {done}");
            assert!(!lab.workspace().join("ran").exists(), "{control}");
        }
        // The control: as it was printed it runs.
        lab.write(&project.file, &text);
        project.up()?.expect(0);
        assert!(lab.workspace().join("ran").exists());
    }
}
