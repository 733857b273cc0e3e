//! From a real session to files on the host.

use std::os::unix::fs::MetadataExt as _;

use palisade_test_support::{Policy, each_identity};

use super::*;

each_identity! {
    fn what_an_agent_did_is_reviewed_picked_and_applied(who) {
        let lab = lab(who);
        for (path, contents) in [("gone", "x\n"), ("old", "same\n"), ("tree/deep/file", "y\n"), ("a.txt", "1\n2\n3\n")] {
            lab.write(&lab.workspace().join(path), contents);
        }
        who.own(&lab.workspace());
        let script = "set -e; rm gone; mv old new; rm -r tree; mkdir tree; echo z > tree/other; sed -i s/2/two/ a.txt; \
            mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit; ln -s /etc/passwd out; mkfifo pipe";
        let policy = Policy::new().filesystem("access = \"review\"");
        let ran = lab.run(&policy, ["sh", "-c", script]).run().expect(0);
        assert!(ran.stderr.contains("palisade review"), "{ran}");
        assert_eq!(fs::read_to_string(lab.workspace().join("a.txt")).unwrap(), "1\n2\n3\n");
        let shown = lab.palisade(["review"]).run().expect(0);
        for text in [
            ".git/hooks/pre-commit  a hook that git runs", "out  leads out of the workspace", "pipe is a pipe",
            "R old -> new", "D gone", "D tree/deep/file", "A tree/other", "-2\n+two\n",
        ] {
            assert!(shown.stdout.contains(text), "{text:?}\n{shown}");
        }
        let done = lab.palisade(["apply", "--yes", "--except", ".git"]).run().expect(1);
        done.expect_output("left: out: it is a link").expect_output("left: pipe is a pipe");
        let mut names: Vec<_> = fs::read_dir(lab.workspace()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["README.md", "a.txt", "new", "tree"]);
        for path in ["new", "tree", "tree/other", "a.txt"] {
            let found = fs::symlink_metadata(lab.workspace().join(path)).unwrap();
            assert_eq!((found.uid(), found.gid()), (who.uid(), who.uid()), "{path}");
        }
        let left = lab.palisade(["review", "--stat"]).run().expect(0);
        assert!(left.stdout.contains("pre-commit") && !left.stdout.contains("a.txt"), "{left}");
        lab.palisade(["discard", "--yes"]).run().expect(0);
        lab.palisade(["review"]).run().expect(0).expect_error("pending changes");
        assert!(!lab.workspace().join(".git").exists());
    }
}
