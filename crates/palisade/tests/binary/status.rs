//! Exit codes and standard streams: an agent behaves in a pipeline as it does without palisade.

use std::time::Duration;

use palisade_test_support::{Policy, each_identity};

use crate::lab;

const LARGE: usize = 50 << 20;

each_identity! {
    fn the_agents_status_passes_through(who) {
        let lab = lab(who);
        for (script, status) in [
            ("exit 0", 0),
            ("exit 3", 3),
            ("exit 255", 255),
            ("kill -INT $$", 130),
            ("kill -KILL $$", 137),
            ("kill -TERM $$", 143),
        ] {
            lab.run(&Policy::new(), ["sh", "-c", script]).run().expect(status);
        }
    }

    fn palisades_own_failures_have_their_own_codes(who) {
        let lab = lab(who);
        lab.palisade(["run", "--no-such-option", "--", "true"]).run().expect(125);
        lab.palisade(["run", "--policy", "/nonexistent.toml", "--", "true"]).run().expect(125);
        lab.palisade(["run", "--", "./README.md"]).run().expect(126);
        lab.palisade(["run", "--", "no-such-program"]).run().expect(127);
        lab.palisade(["run", "--", "./no-such-program"]).run().expect(127);
    }

    fn a_script_without_an_interpreter_line_runs(who) {
        let lab = lab(who);
        let script = lab.write(&lab.workspace().join("script"), "echo ran\n");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
        lab.palisade(["run", "--", "./script"]).run().expect(0).expect_output("ran");
    }

    fn standard_input_reaches_the_agent(who) {
        let lab = lab(who);
        let text = "a line\n".repeat(100_000);
        let done = lab.palisade(["run", "--quiet", "--", "cat"]).stdin(text.as_str()).run().expect(0);
        assert!(done.stdout == text, "{} bytes came back", done.stdout.len());
        assert_eq!(done.stderr, "");
    }

    fn closed_standard_input_is_no_trouble(who) {
        let lab = lab(who);
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", "cat; echo after"]).without_stdin().run();
        assert_eq!((done.status, done.stdout.as_str()), (0, "after\n"), "{done}");
    }

    fn large_output_arrives_whole(who) {
        let lab = lab(who);
        let script = format!("head -c {LARGE} /dev/zero | tr '\\0' x");
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", &script]).run();
        assert_eq!((done.status, done.stdout.len()), (0, LARGE));
    }

    fn a_reader_that_leaves_ends_the_writer(who) {
        let lab = lab(who);
        let line = "\"$0\" run --quiet -- yes | head -n 1";
        let done = lab.outside("/bin/sh").args(["-c", line]).args([lab.binary()]);
        let done = done.patience(Duration::from_secs(20)).run().expect(0);
        assert_eq!(done.stdout, "y\n");
    }

    fn output_and_errors_stay_apart(who) {
        let lab = lab(who);
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", "echo out; echo err >&2"]).run().expect(0);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    }

    fn the_command_sees_its_own_directory_and_arguments(who) {
        let lab = lab(who);
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", "pwd; printf '<%s>' \"$@\"", "x", "a b", "", "--policy"]).run();
        let expected = format!("{}\n<a b><><--policy>", lab.workspace().display());
        assert_eq!(done.expect(0).stdout, expected);
    }

    fn a_signal_to_the_agents_own_group_stays_inside(who) {
        let lab = lab(who);
        let line = "\"$0\" run --quiet -- sh -c 'kill -TERM 0'; echo survived $?";
        let done = lab.outside("/bin/sh").args(["-c", line]).args([lab.binary()]).run().expect(0);
        assert_eq!(done.stdout, "survived 143\n", "{done}");
    }

    fn what_the_workspace_gets_belongs_to_its_owner(who) {
        use std::os::unix::fs::MetadataExt as _;
        let lab = lab(who);
        lab.palisade(["run", "--", "sh", "-c", "id -u; mkdir made; echo x > made/file"]).run().expect(0);
        for name in ["made", "made/file"] {
            let found = std::fs::metadata(lab.workspace().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (who.uid(), who.uid()), "{name}");
        }
    }

    fn read_access_keeps_the_workspace_as_it_is(who) {
        let lab = lab(who);
        let script = "cat README.md; echo more >> README.md";
        lab.palisade(["run", "--access", "write", "--", "sh", "-c", script]).run().expect(0);
        let done = lab.palisade(["run", "--access", "read", "--", "sh", "-c", script]).run();
        assert_ne!(done.status, 0);
        done.expect_output("# a project\nmore\n").expect_error("Read-only file system");
    }

    fn denials_are_counted_at_the_end(who) {
        let lab = lab(who);
        let script = "exec 3<>/dev/tcp/denied.example.com/80; echo GET / >&3; cat <&3";
        let done = lab.palisade(["run", "--", "bash", "-c", script]).run();
        done.expect_error("denied.example.com").expect_error("palisade log");
        let quiet = lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert_eq!(quiet.stderr, "");
    }
}
