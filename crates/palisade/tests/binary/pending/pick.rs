//! `palisade apply --pick` on a terminal, with the letters of `git add -p`.

use palisade_test_support::each_identity;

use super::*;

/// Twenty lines, some of them changed.
fn lines(changed: &[usize]) -> String {
    let line = |n: usize| {
        if changed.contains(&n) {
            format!("new {n}\n")
        } else {
            format!("{n}\n")
        }
    };
    (1..=20).map(line).collect()
}

fn answer(terminal: &mut Terminal, question: &str, key: &str) {
    terminal.expect(question);
    terminal.type_keys(&format!("{key}\n"));
}

each_identity! {
    fn hunks_are_chosen_one_by_one(who) {
        let fixture = Fixture::new(who, &[("a.txt", &lines(&[]))]);
        fixture.wrote("a.txt", lines(&[2, 10, 18]));
        let mut terminal = fixture.terminal(&["apply", "--pick"]);
        answer(&mut terminal, "(1/3) Apply this hunk of a.txt [y,n,q,a,d,?]?", "y");
        answer(&mut terminal, "(2/3)", "?");
        terminal.expect("leave this hunk and all later ones");
        answer(&mut terminal, "(2/3)", "n");
        answer(&mut terminal, "(3/3)", "y");
        terminal.expect("applied 1 change");
        assert_eq!(terminal.wait(), 0);
        assert_eq!(fixture.host("a.txt"), lines(&[2, 18]));
        // What was left is what is pending.
        fixture.palisade(&["review"]).expect(0).expect_output("-10\n+new 10\n").expect_output("M a.txt  +1 -1");
        fixture.palisade(&["apply", "--yes"]).expect(0);
        assert_eq!(fixture.host("a.txt"), lines(&[2, 10, 18]));
    }

    fn a_hunk_splits_and_the_rest_goes_by_one_letter(who) {
        let fixture = Fixture::new(who, &[("a.txt", &lines(&[])), ("b.txt", &lines(&[])), ("c.txt", &lines(&[]))]);
        fixture.wrote("a.txt", lines(&[2, 5])).wrote("b.txt", lines(&[2, 10, 18])).wrote("c.txt", lines(&[2, 10, 18]));
        let mut terminal = fixture.terminal(&["apply", "-p"]);
        answer(&mut terminal, "(1/1) Apply this hunk of a.txt [y,n,q,a,d,s,?]?", "s");
        answer(&mut terminal, "(1/2)", "n");
        answer(&mut terminal, "(2/2)", "y");
        answer(&mut terminal, "(1/3) Apply this hunk of b.txt", "n");
        answer(&mut terminal, "(2/3)", "a");
        answer(&mut terminal, "(1/3) Apply this hunk of c.txt", "y");
        answer(&mut terminal, "(2/3)", "d");
        terminal.expect("applied");
        assert_eq!(terminal.wait(), 0);
        assert_eq!(fixture.host("a.txt"), lines(&[5]));
        assert_eq!(fixture.host("b.txt"), lines(&[10, 18]));
        assert_eq!(fixture.host("c.txt"), lines(&[2]));
    }

    fn quitting_keeps_what_was_chosen_before(who) {
        let fixture = Fixture::new(who, &[("b.txt", &lines(&[])), ("c.txt", "1")]);
        fixture.wrote("a/new", "n").wrote("b.txt", lines(&[2, 18])).wrote("c.txt", "2");
        let mut terminal = fixture.terminal(&["apply"]);
        answer(&mut terminal, "Apply these changes [y,n,v,p,?]?", "p");
        answer(&mut terminal, "Apply this change [y,n,q,?]?", "y");
        answer(&mut terminal, "(1/2)", "y");
        answer(&mut terminal, "(2/2)", "q");
        terminal.expect("applied");
        assert_eq!(terminal.wait(), 0);
        assert_eq!((fixture.host("a/new"), fixture.host("b.txt")), ("n".into(), lines(&[2])));
        assert_eq!(fixture.host("c.txt"), "1");
    }

    fn what_has_no_lines_is_chosen_whole(who) {
        let fixture = Fixture::new(who, &[("folder/a", "1"), ("folder/b", "2"), ("mode", "m"), ("old", "same\n"), ("other/x", "x")]);
        fixture
            .wrote("bin", b"\0")
            .removed("folder")
            .wrote_with_mode("mode", "m", 0o755)
            .wrote("new", "same\n")
            .removed("old")
            .removed("other");
        let mut terminal = fixture.terminal(&["apply", "--pick"]);
        answer(&mut terminal, "Apply this change", "n");
        answer(&mut terminal, "Apply this, with the 2 below it", "y");
        answer(&mut terminal, "Apply this change", "y");
        terminal.expect("renamed from old");
        answer(&mut terminal, "Apply this change", "y");
        answer(&mut terminal, "Apply this, with the 1 below it", "n");
        terminal.expect("applied");
        assert_eq!(terminal.wait(), 0);
        assert!(!fixture.exists("bin") && !fixture.exists("folder"));
        assert!(fixture.exists("new") && !fixture.exists("old") && fixture.exists("other/x"));
        let mode = fs::metadata(fixture.lab.workspace().join("mode")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
    fn gits_own_files_are_one_question_and_hooks_another(who) {
        let fixture = Fixture::new(who, &[(".git/HEAD", "ref: refs/heads/main\n")]);
        fixture
            .wrote(".git/HEAD", "ref: refs/heads/other\n")
            .wrote(".git/hooks/pre-commit", "evil")
            .wrote(".git/objects/aa/bb", "1")
            .wrote(".git/objects/cc/dd", "2")
            .wrote(".git/refs/heads/other", "3")
            .wrote("z", "z");
        let mut terminal = fixture.terminal(&["apply", "--pick"]);
        terminal.expect(".git/  4 of git's own files");
        answer(&mut terminal, "Apply them together [y,n,q,?]?", "y");
        terminal.expect("a hook that git runs");
        answer(&mut terminal, "Apply this change", "n");
        answer(&mut terminal, "Apply this change", "y");
        terminal.expect("applied 5 changes");
        assert_eq!(terminal.wait(), 0);
        assert!(fixture.exists(".git/objects/aa/bb") && fixture.exists(".git/refs/heads/other") && fixture.exists("z"));
        assert!(!fixture.exists(".git/hooks/pre-commit"));
    }
}
