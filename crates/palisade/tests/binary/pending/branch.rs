//! `palisade apply --branch`: a commit, and nothing of the repository's configuration runs.

use palisade_test_support::{Need, Skip, each_identity, need};

use super::*;

/// A repository with one commit, and changes of a session on top.
fn repository(who: Identity) -> Result<Fixture, Skip> {
    need(&[Need::Program("git", "git")])?;
    let fixture = Fixture::new(
        who,
        &[
            ("a.txt", "1\n"),
            ("gone", "x\n"),
            ("dirty", "committed\n"),
            (".gitignore", "*.log\n"),
            ("was/inner", "y\n"),
        ],
    );
    fixture.git(&["init", "-q", "-b", "main"]);
    fixture.git(&["add", "."]);
    fixture.git(&["commit", "-q", "-m", "first"]);
    fixture
        .lab
        .write(&fixture.lab.workspace().join("dirty"), "edited\n");
    std::thread::sleep(Duration::from_millis(25));
    fixture
        .lab
        .write(&fixture.folder(ID).join("changes/began"), "again");
    fixture
        .wrote("a.txt", "2\n")
        .wrote("new/deep", "n\n")
        .wrote_with_mode("run.sh", "#!/bin/sh\n", 0o755)
        .wrote("build.log", "noise\n")
        .wrote("odd\n\"n\u{e4}me", b"\0\xff")
        .linked("link", "a.txt")
        .linked("out", "/etc/passwd")
        .wrote(":(top)x", "magic\n")
        .removed("gone")
        .removed("was")
        .wrote(".git/hooks/pre-push", "evil");
    fixture.wrote("was2", "now a file\n");
    Ok(fixture)
}

fn state(fixture: &Fixture) -> [String; 3] {
    [
        fixture.git(&["status", "--porcelain", "-b"]).stdout,
        fixture.git(&["ls-files", "-s"]).stdout,
        fixture.git(&["rev-parse", "HEAD"]).stdout,
    ]
}

each_identity! {
    fn the_changes_become_a_commit_and_nothing_else_moves(who) {
        let fixture = repository(who)?;
        let before = state(&fixture);
        let done = fixture.palisade(&["apply", "--yes", "--branch", "agent/work", "-m", "by the agent"]).expect(1);
        done.expect_output("9 files committed").expect_output("left out: 1 of git's own files").expect_output("left out: 1 that git ignores").expect_output("left out: 1 links that lead out");
        assert_eq!(state(&fixture), before);
        assert_eq!(fixture.host("a.txt"), "1\n");
        let changed = fixture.git(&["diff", "-z", "--no-renames", "--raw", "--abbrev=4", "main", "agent/work"]).stdout;
        for part in [
            "M\0a.txt\0", "D\0gone\0", "A\0new/deep\0", ":000000 100755", "A\0run.sh\0", ":000000 120000", "A\0link\0",
            "D\0was/inner\0", "A\0was2\0", "A\0:(top)x\0", "A\0odd\n\"n\u{e4}me\0",
        ] {
            assert!(changed.contains(part), "{part:?} in {changed:?}");
        }
        assert!(!changed.contains("A\0out") && !changed.contains("dirty") && !changed.contains("build.log") && !changed.contains("hooks"), "{changed:?}");
        let log = fixture.git(&["log", "--format=%s|%an|%P", "-1", "agent/work"]).stdout;
        assert_eq!(log, format!("by the agent|T|{}", before[2]));
        assert_eq!(fixture.git(&["show", "agent/work:new/deep"]).stdout, "n\n");
        fixture.git(&["fsck", "--strict"]);
        fixture.palisade(&["apply", "--yes", "--branch", "link", "out"]).expect(0);
        assert_eq!(fixture.git(&["diff", "--name-only", "main", "link"]).stdout, "out\n");
        // Still to be decided about.
        fixture.palisade(&["review", "--stat"]).expect(0).expect_output("M a.txt");
    }

    fn a_branch_that_exists_or_has_no_name_is_refused(who) {
        let fixture = repository(who)?;
        let before = state(&fixture);
        fixture.palisade(&["apply", "--yes", "--branch", "main"]).expect(125).expect_error("there is a branch `main` already");
        for bad in ["-x", "a..b", "a b", "", "@{-1}"] {
            let done = fixture.palisade(&["apply", "--yes", &format!("--branch={bad}")]);
            assert_eq!(done.status, 125, "{bad}: {done}");
        }
        assert_eq!(state(&fixture), before);
        assert_eq!(fixture.git(&["branch", "--format=%(refname)"]).stdout, "refs/heads/main\n");
    }

    fn nothing_the_repository_names_is_run(who) {
        let fixture = repository(who)?;
        let ran = fixture.lab.path("ran");
        let script = format!("#!/bin/sh\necho \"$0\" >> {}\ncat\n", ran.display());
        fs::write(&ran, "").unwrap();
        who.own(&ran);
        for hook in ["reference-transaction", "post-index-change", "post-commit", "pre-commit", "fsmonitor-watchman"] {
            let hook = fixture.lab.write(&fixture.lab.workspace().join(".git/hooks").join(hook), &script);
            fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let evil = fixture.lab.write(&fixture.lab.path("evil"), &script);
        fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
        let evil = evil.to_str().unwrap();
        for (key, value) in [("core.fsmonitor", evil), ("filter.f.clean", evil), ("filter.f.process", evil), ("core.pager", evil), ("commit.gpgSign", "true"), ("gpg.program", evil)] {
            fixture.git(&["config", key, value]);
        }
        fixture.lab.write(&fixture.lab.workspace().join(".git/info/attributes"), "* filter=f\n");
        // The control: git by itself runs them.
        fixture.git_command(&["update-ref", "refs/heads/control", "HEAD"]).run().expect(0);
        fixture.git_command(&["status"]).run();
        assert!(fs::read_to_string(&ran).unwrap().lines().count() > 1);
        fs::write(&ran, "").unwrap();
        let done = fixture.lab.palisade(["apply", "--yes", "--branch", "quiet"]);
        let done = done.env("GIT_DIR", "/nonexistent").env("GIT_INDEX_FILE", "/nonexistent").env("GIT_EXTERNAL_DIFF", evil);
        done.run().expect(1).expect_output("on the new branch quiet");
        fixture.lab.palisade(["review"]).run().expect(0);
        assert_eq!(fs::read_to_string(&ran).unwrap(), "");
    }

    fn a_workspace_below_the_top_commits_below_it(who) {
        need(&[Need::Program("git", "git")])?;
        let mut fixture = Fixture::new(who, &[("sub/a.txt", "1\n"), ("top", "t\n")]);
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        let id = "20261124-000000-below";
        fixture.session(id, 9, &fixture.lab.workspace().join("sub"));
        fixture.id = id;
        fixture.wrote("a.txt", "2\n");
        fixture.palisade(&["apply", "below", "--yes", "--branch", "b"]).expect(0);
        assert_eq!(fixture.git(&["diff", "--name-only", "main", "b"]).stdout, "sub/a.txt\n");
        assert_eq!(fixture.git(&["show", "b:sub/a.txt"]).stdout, "2\n");
    }

    fn what_the_last_commit_holds_makes_no_commit(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[("a", "edited\n")]);
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        fixture.lab.write(&fixture.lab.workspace().join("a"), "other\n");
        fixture.wrote("a", "edited\n");
        fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(125).expect_error("nothing differs from the last commit");
    }

    fn a_file_in_the_place_of_a_link_is_committed(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[("real/inner", "r\n")]);
        symlink("real", fixture.lab.workspace().join("linked")).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        fixture.replaced_folder("linked").wrote("linked/own", "o\n");
        fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(0);
        let changed = fixture.git(&["diff", "--name-status", "--no-renames", "main", "b"]).stdout;
        assert_eq!(changed, "D\tlinked\nA\tlinked/own\n");
    }

    fn what_lies_in_a_submodule_is_left_out(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[("module/inner", "i\n")]);
        let module = fixture.lab.workspace().join("module");
        for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "inner"]] {
            fixture.git_command(arguments).directory(&module).run().expect(0);
        }
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.git(&["-c", "advice.addEmbeddedRepo=false", "add", "."]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        fixture.wrote("module/inner", "2\n").wrote("own", "o\n");
        let done = fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(1);
        done.expect_output("left out: 1 in a submodule");
        assert_eq!(fixture.git(&["diff", "--name-only", "main", "b"]).stdout, "own\n");
    }

    fn a_repository_with_longer_names_of_objects_works_too(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[("bin", "\0one"), ("gone", "x\n")]);
        fixture.git(&["init", "-q", "-b", "main", "--object-format=sha256"]);
        fixture.git(&["add", "."]);
        fixture.git(&["commit", "-q", "-m", "first"]);
        fixture.wrote("bin", "\0two").removed("gone");
        fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(0);
        assert_eq!(fixture.git(&["diff", "--name-status", "main", "b"]).stdout, "M\tbin\nD\tgone\n");
        let patch = fixture.palisade(&["review", "--patch"]).expect(0).stdout;
        fixture.git_command(&["apply", "--index", "-"]).stdin(patch).run().expect(0);
        assert_eq!(fixture.host("bin"), "\0two");
        assert_eq!(fixture.git(&["diff", "--cached", "b"]).stdout, "");
    }

    fn a_repository_without_commits_gets_its_first(who) {
        need(&[Need::Program("git", "git")])?;
        let fixture = Fixture::new(who, &[]);
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.wrote("a", "x\n");
        fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(0).expect_output("1 file committed");
        assert_eq!(fixture.git(&["log", "--format=%P", "b"]).stdout, "\n");
        assert_eq!(fixture.git(&["ls-tree", "-r", "--name-only", "b"]).stdout, "a\n");
    }

    fn without_a_repository_it_says_so(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("a", "x");
        let done = fixture.palisade(&["apply", "--yes", "--branch", "b"]).expect(125);
        done.expect_error("not a git repository");
    }
}
