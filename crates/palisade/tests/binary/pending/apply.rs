use std::os::unix::fs::MetadataExt as _;

use palisade_test_support::{Need, each_identity, need};

use super::*;

each_identity! {
    fn what_is_applied_lands_and_is_no_longer_pending(who) {
        let fixture = Fixture::new(who, &[("a.txt", "1\n"), ("gone", "x")]);
        fixture.wrote("a.txt", "2\n").wrote("new/deep/file", "n").removed("gone");
        let done = fixture.palisade(&["apply", "--yes"]).expect(0);
        done.expect_output("M a.txt  +1 -1").expect_output("applied 3 changes");
        assert_eq!(fixture.host("a.txt"), "2\n");
        assert_eq!(fixture.host("new/deep/file"), "n");
        assert!(!fixture.exists("gone"));
        let owner = fs::metadata(fixture.lab.workspace().join("new/deep/file")).unwrap().uid();
        assert_eq!(owner, who.uid());
        fixture.palisade(&["apply", "--yes"]).expect(0).expect_error("pending changes");
    }

    fn without_a_terminal_it_takes_a_yes(who) {
        let fixture = Fixture::new(who, &[("a", "1")]);
        fixture.wrote("a", "2");
        for command in ["apply", "discard"] {
            fixture.palisade(&[command]).expect(125).expect_error("--yes");
        }
        let answered = fixture.lab.palisade(["apply"]).stdin("y\n").run();
        answered.expect(125);
        assert_eq!(fixture.host("a"), "1");
    }

    fn the_question_is_asked_and_heard(who) {
        let fixture = Fixture::new(who, &[("a", "1\n")]);
        fixture.wrote("a", "2\n");
        let mut no = fixture.terminal(&["apply"]);
        no.expect("Apply these changes [y,n,v,p,?]?");
        no.type_keys("?\n");
        no.expect("none; they stay pending");
        no.type_keys("v\n");
        no.expect("+2");
        no.type_keys("n\n");
        assert_eq!(no.wait(), 1);
        assert_eq!(fixture.host("a"), "1\n");
        let mut end = fixture.terminal(&["apply"]);
        end.expect("?");
        end.type_keys("\x04");
        assert_eq!(end.wait(), 1);
        assert_eq!(fixture.host("a"), "1\n");
        let mut yes = fixture.terminal(&["apply"]);
        yes.expect("[y,n,v,p,?]?");
        yes.type_keys("y\n");
        yes.expect("applied 1 change");
        assert_eq!(yes.wait(), 0);
        assert_eq!(fixture.host("a"), "2\n");
    }

    fn many_changes_do_not_hide_the_question(who) {
        let fixture = Fixture::new(who, &[]);
        for n in 0..50 {
            fixture.wrote(&format!("f{n:02}"), "x").wrote_with_mode(&format!("run{n:02}"), "x", 0o755);
        }
        fixture.wrote("zz/.envrc", "evil");
        let done = fixture.palisade(&["apply", "--yes"]).expect(0);
        assert!(done.stdout.lines().count() < 60, "{done}");
        let first = done.stdout.split("Look at these first\n").nth(1).unwrap();
        assert!(first.starts_with("  zz/.envrc"), "{done}");
        done.expect_output("and 31 more; `palisade review` shows them all").expect_output("and 81 more");
    }

    fn paths_and_exceptions_choose(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("src/a.rs", "a").wrote("src/b.lock", "b").wrote("other", "o").wrote("src/deep/c.rs", "c");
        fixture.palisade(&["apply", "--yes", "--except", "*.lock", "src"]).expect(0);
        assert!(fixture.exists("src/a.rs") && fixture.exists("src/deep/c.rs"));
        assert!(!fixture.exists("src/b.lock") && !fixture.exists("other"));
        let left = fixture.palisade(&["review", "--stat", ID, "--", "other"]).expect(0).expect_output("other");
        assert!(!left.stdout.contains("b.lock"), "{left}");
        // From a folder below, as typed there.
        let below = fixture.lab.palisade(["apply", "--yes", "b.lock"]).directory(&fixture.lab.workspace().join("src"));
        below.run().expect(0);
        assert!(fixture.exists("src/b.lock") && !fixture.exists("other"));
        fixture.palisade(&["apply", "--yes", "--except", "["]).expect(125).expect_error("is no pattern");
    }

    fn a_conflict_is_shown_from_three_sides_and_never_overwritten(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[("a.txt", "base\n"), ("untracked", "base\n"), ("calm", "base\n")]);
        fixture.git(&["init", "-q"]);
        fixture.git(&["add", "a.txt"]);
        fixture.wrote("a.txt", "the session\n").wrote("untracked", "the session\n").wrote("calm", "the session\n");
        fixture.lab.write(&fixture.lab.workspace().join("a.txt"), "the host\n");
        fixture.lab.write(&fixture.lab.workspace().join("untracked"), "the host\n");
        let done = fixture.palisade(&["apply", "--yes"]).expect(1);
        for text in [
            "In conflict; left alone without --force",
            "from the index to the host's now:\n@@ -1 +1 @@\n-base\n+the host\n",
            "from the index to the session's:\n@@ -1 +1 @@\n-base\n+the session\n",
            "was not kept; from the host's now to the session's:\n@@ -1 +1 @@\n-the host\n+the session\n",
            "left: a.txt: it changed on the host",
        ] {
            assert!(done.stdout.contains(text), "{text:?}\n{done}");
        }
        assert_eq!((fixture.host("a.txt"), fixture.host("calm")), ("the host\n".into(), "the session\n".into()));
        assert_eq!(fixture.host("untracked"), "the host\n");
        fixture.palisade(&["apply", "--yes", "--force", "a.txt"]).expect(0);
        assert_eq!((fixture.host("a.txt"), fixture.host("untracked")), ("the session\n".into(), "the host\n".into()));
    }

    fn a_link_that_leads_out_lands_only_by_its_name(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.linked("out", "/etc/passwd").linked("folder/out", "../../..").linked("in", "README.md").wrote("x", "x");
        let done = fixture.palisade(&["apply", "--yes"]).expect(1);
        done.expect_output("left: out: it is a link that leads out").expect_output("left: folder/out:");
        assert!(fixture.exists("in") && fixture.exists("x"));
        assert!(!fixture.exists("out") && !fixture.exists("folder/out"));
        // The folder it lies in is not its name.
        fixture.palisade(&["apply", "--yes", "folder"]).expect(1);
        assert!(!fixture.exists("folder/out"));
        fixture.palisade(&["apply", "--yes", "out"]).expect(0);
        assert!(fixture.exists("out") && !fixture.exists("folder/out"));
        fixture.palisade(&["apply", "--yes", "--force"]).expect(0);
        assert!(fixture.exists("folder/out"));
    }

    fn an_apply_that_was_cut_short_has_to_be_ended_first(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("a", "x");
        fixture.lab.write(&fixture.folder(ID).join("changes/journal"), "");
        fixture.palisade(&["apply", "--yes"]).expect(125).expect_error("was cut short").expect_error("--resume");
        assert!(!fixture.exists("a"));
        fixture.palisade(&["review"]).expect(0).expect_error("was cut short");
        fixture.palisade(&["apply", "--resume"]).expect(0).expect_output("applied 0 changes");
        fixture.palisade(&["apply", "--resume"]).expect(0).expect_output("no apply of session");
        fixture.palisade(&["apply", "--yes"]).expect(0);
        assert!(fixture.exists("a"));
        // Cut short after the last change: the journal is all there is.
        fixture.lab.write(&fixture.folder(ID).join("changes/journal"), "");
        fixture.palisade(&["apply", "--give-up"]).expect(0).expect_output("applied 0 changes");
        fixture.palisade(&["apply", "--resume"]).expect(0).expect_error("pending changes");
    }

    fn what_is_discarded_is_gone_and_the_workspace_as_it_was(who) {
        let fixture = Fixture::new(who, &[("a", "1"), ("gone", "x")]);
        fixture.wrote("a", "2").wrote("new", "n").removed("gone");
        fixture.palisade(&["discard", "--yes", "new"]).expect(0).expect_output("discarded 1 change");
        let left = fixture.palisade(&["review", "--stat"]).expect(0);
        assert!(left.stdout.contains("M a") && !left.stdout.contains("new"), "{left}");
        let mut terminal = fixture.terminal(&["discard"]);
        terminal.expect("Throw these changes away [y,n,?]?");
        terminal.type_keys("n\n");
        assert_eq!(terminal.wait(), 1);
        let mut terminal = fixture.terminal(&["discard"]);
        terminal.expect("Throw these changes away [y,n,?]?");
        terminal.type_keys("y\n");
        assert_eq!(terminal.wait(), 0);
        fixture.palisade(&["review"]).expect(0).expect_error("pending changes");
        assert_eq!((fixture.host("a"), fixture.host("gone")), ("1".into(), "x".into()));
        assert!(!fixture.exists("new"));
    }

    fn all_is_discarded_without_a_look_at_it(who) {
        let fixture = Fixture::new(who, &[("a", "1")]);
        fixture.wrote("a", "2").wrote("deep/er/new", "n");
        fixture.palisade(&["discard", "--unread"]).expect(125).expect_error("--yes");
        fixture.palisade(&["discard", "--unread", "--yes", "a"]).expect(125).expect_error("paths are named");
        fixture.palisade(&["discard", "--unread", "--yes"]).expect(0).expect_output("all changes discarded");
        fixture.palisade(&["review"]).expect(0).expect_error("pending changes");
        assert_eq!(fixture.host("a"), "1");
    }

    fn what_cannot_land_is_named(who) {
        let fixture = Fixture::new(who, &[]);
        let pipe = fixture.upper("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        fixture.wrote("a", "x");
        fixture.palisade(&["review"]).expect(0).expect_output("pipe is a");
        fixture.palisade(&["apply", "--yes"]).expect(1).expect_output("left: pipe is a pipe");
        assert!(fixture.exists("a") && !fixture.exists("pipe"));
    }
}
