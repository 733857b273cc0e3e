//! A session on a real terminal.

use std::time::Duration;

use palisade_test_support::{Lab, Need, Policy, Terminal, each_identity, need};

use crate::lab;

/// `palisade run --policy … -- COMMAND` on a terminal.
fn session(lab: &Lab, command: &[&str]) -> Terminal {
    Terminal::start(&lab.run(&pass_term(), command), 24, 80)
}

fn pass_term() -> Policy {
    Policy::new().tables("[environment]\npass = [\"TERM\"]")
}

/// Prints `ready` without having the word on the command line, which a shell would echo.
const SAY_READY: &str = "printf 're%s\\n' ady";

each_identity! {
    fn ctrl_c_ends_the_agent(who) {
        let lab = lab(who);
        let mut terminal = session(&lab, &["sh", "-c", &format!("{SAY_READY}; exec sleep 1000")]);
        terminal.expect("ready");
        terminal.type_keys("\x03");
        assert_eq!(terminal.wait(), 130, "{}", terminal.screen());
    }

    fn ctrl_c_is_the_agents_to_handle(who) {
        let lab = lab(who);
        let script = format!("trap 'echo caught; exit 5' INT; {SAY_READY}; while :; do sleep 0.1; done");
        let mut terminal = session(&lab, &["sh", "-c", &script]);
        terminal.expect("ready");
        terminal.type_keys("\x03");
        terminal.expect("caught");
        assert_eq!(terminal.wait(), 5);
    }

    fn ctrl_z_stops_and_fg_resumes(who) {
        let lab = lab(who);
        let policy = lab.policy(pass_term().to_toml());
        let shell = lab.outside("/bin/bash").args(["--norc", "--noprofile", "-i"]);
        let mut terminal = Terminal::start(&shell.env("PS1", "$ "), 24, 80);
        terminal.expect("$ ");
        let script = format!("{SAY_READY}; read line; echo got-$line");
        let command = format!("{} run --policy {} -- sh -c \"{script}\"\n", lab.binary().display(), policy.display());
        // `$line` is for the shell inside.
        terminal.type_keys(&command.replace('$', "\\$"));
        terminal.expect("ready");
        terminal.type_keys("\x1a");
        terminal.expect("Stopped");
        // 128 and SIGTSTP: the shell sees the stop the agent made, not one of palisade's own.
        terminal.type_keys("echo sto'pped' $?\n");
        terminal.expect("stopped 148");
        terminal.type_keys("fg\n");
        terminal.type_keys("hello\n");
        terminal.expect("got-hello");
        terminal.type_keys("echo sta'tus' $?; exit 0\n");
        terminal.expect("status 0");
        assert_eq!(terminal.wait(), 0);
    }

    fn the_window_size_is_the_terminals(who) {
        let lab = lab(who);
        // To a container keys come by the engine and sizes by palisade, so that either may be first.
        let again = match lab.is_contained() {
            true => "until stty size | grep -v '24 80'; do sleep 0.1; done",
            false => "stty size",
        };
        let script = format!("stty size; {SAY_READY}; read line; {again}");
        let mut terminal = session(&lab, &["sh", "-c", &script]);
        terminal.expect("24 80");
        terminal.expect("ready");
        terminal.resize(40, 100);
        terminal.type_keys("\n");
        terminal.expect("40 100");
        assert_eq!(terminal.wait(), 0);
    }

    fn a_change_of_the_window_is_signalled(who) {
        let lab = lab(who);
        // The engine's client may set the first size once more, late, and miss that it has changed meanwhile.
        let script = format!("trap 'stty size | grep \"33 77\" && exit 0' WINCH; {SAY_READY}; while :; do sleep 0.1; done");
        let mut terminal = session(&lab, &["bash", "-c", &script]);
        terminal.expect("ready");
        let tries = if lab.is_contained() { 10 } else { 1 };
        let mut told = || {
            terminal.resize(33, 77);
            let told = terminal.shows("33 77", Duration::from_secs(60 / tries));
            terminal.resize(33, 78);
            told
        };
        assert!((0..tries).any(|_| told()), "{}", terminal.screen());
        assert_eq!(terminal.wait(), 0);
    }

    fn vim_edits_a_file(who) {
        need(&[Need::Program("vim", "vim")])?;
        let lab = lab(who);
        let mut terminal = session(&lab, &["vim", "-u", "NONE", "-i", "NONE", "README.md"]);
        terminal.expect("# a project");
        terminal.type_keys("Oedited by vim\x1b:wq\r");
        assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
        let text = std::fs::read_to_string(lab.workspace().join("README.md")).unwrap();
        assert_eq!(text, "edited by vim\n# a project\n");
    }

    fn less_pages_and_quits(who) {
        need(&[Need::Program("less", "less")])?;
        let lab = lab(who);
        let long: String = (0..500).map(|n| format!("line {n}\n")).collect();
        lab.write(&lab.workspace().join("long"), long);
        let mut terminal = session(&lab, &["less", "long"]);
        terminal.expect("line 20");
        terminal.type_keys("G");
        terminal.expect("line 499");
        terminal.type_keys("q");
        assert_eq!(terminal.wait(), 0);
    }

    fn top_shows_the_inside_alone(who) {
        need(&[Need::Program("top", "procps")])?;
        let lab = lab(who);
        let mut terminal = session(&lab, &["top"]);
        terminal.expect("Tasks:");
        terminal.expect("top");
        terminal.type_keys("q");
        assert_eq!(terminal.wait(), 0);
        assert!(!terminal.screen().contains("kthreadd"), "{}", terminal.screen());
    }

    fn the_terminal_is_left_as_it_was(who) {
        let lab = lab(who);
        let line = "stty -a > before; \"$0\" run -- sh -c 'stty raw -echo; kill -KILL $$'; stty -a > after; cmp before after && echo sa'me'";
        let shell = lab.outside("/bin/sh").args(["-c", line]).args([lab.binary()]);
        let mut terminal = Terminal::start(&shell, 24, 80);
        terminal.expect("same");
        assert_eq!(terminal.wait(), 0);
    }
}
