//! A container that somebody else starts: the line as it was printed works, and any other is refused before the agent runs.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Child;

use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Finished, Identity, Lab, Policy, each_identity};

use super::{contained, containers, engine, wait_until};

/// A gate that is ready.
struct Gate {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    /// What it printed.
    line: String,
}

impl Gate {
    fn of(lab: &Lab, options: &[&str], command: &[&str]) -> Self {
        let words = [&["serve", "--quiet"], options, &["--"], command].concat();
        let mut process = lab.palisade(words).spawn();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let mut gate = Self {
            process,
            output,
            line,
        };
        if gate.line.is_empty() {
            panic!("no line: {}", gate.end().stderr);
        }
        gate
    }

    /// Of a shell's script.
    fn script(lab: &Lab, options: &[&str], script: &str) -> Self {
        Self::of(lab, options, &["sh", "-c", script])
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = std::process::Command::new("/bin/kill")
            .args([name, &id])
            .status();
        assert!(sent.unwrap().success());
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    fn end(&mut self) -> Finished {
        wait_until("the gate ends", || self.has_ended());
        let status = self.process.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.output.read_to_string(&mut stdout).unwrap();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        Finished {
            status: status.code().unwrap_or(-1),
            stdout,
            stderr,
            elapsed: Default::default(),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn paste(lab: &Lab, line: &str) -> Finished {
    lab.outside("sh").args(["-c", line]).run()
}

/// The line of a container that does not end by itself.
fn waiting(lab: &Lab, options: &[&str]) -> (Gate, Child) {
    let gate = Gate::script(lab, options, "touch started; sleep 1000");
    let container = lab.outside("sh").args(["-c", &gate.line]).spawn();
    wait_until("the agent runs", || {
        lab.workspace().join("started").exists()
    });
    (gate, container)
}

/// The folder that the line names.
fn folder(lab: &Lab) -> PathBuf {
    lab.home().join(".local/state/palisade/served")
}

fn is_empty(folder: &std::path::Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut all| all.next().is_none())
}

fn nothing_is_left(lab: &Lab) {
    let label = format!("label=palisade.base={}", folder(lab).display());
    let left = || engine(lab, &["ps", "--all", "--quiet", "--filter", &label]).stdout;
    wait_until("no container is left", || left().is_empty());
    assert!(is_empty(&folder(lab)));
}

each_identity! {
    fn the_line_as_it_was_printed_runs_the_agent(who) {
        let lab = contained(who)?;
        lab.write(&lab.workspace().join(".env"), "S3CRET");
        let server = Server::http(Web);
        let policy = Policy::new().reach("allowed.test", 80, server.address());
        let policy = lab.policy(policy.to_toml());
        let options = ["--policy", policy.to_str().unwrap()];
        let script = "cat .env; touch new; curl -s -o /dev/null -o /dev/null -w '%{http_code}\n' http://allowed.test/ http://denied.test/; id -u; exit 7";
        let planned = [&["plan", "--show-command"], &options[..], &["--", "sh", "-c", script]].concat();
        let planned = lab.palisade(planned).run().expect(0);
        assert!(is_empty(&folder(&lab)), "a plan does nothing");
        let mut gate = Gate::script(&lab, &options, script);
        assert_eq!(planned.stdout.lines().last(), Some(gate.line.trim_end()), "{planned}");
        let agent = paste(&lab, &gate.line).expect(7);
        let lines: Vec<_> = agent.stdout.lines().collect();
        assert_eq!(lines[..2], ["200", "403"], "{agent}");
        assert_ne!(lines[2], "0");
        assert!(lab.workspace().join("new").exists());
        assert_eq!(gate.end().expect(7).stdout, "");
        lab.expect_allowed("allowed.test");
        lab.expect_denied("denied.test", "not-allowed");
        nothing_is_left(&lab);
    }

    fn both_lines_of_a_plan_work_when_pasted(who) {
        let lab = contained(who)?;
        let odd = lab.write(&lab.workspace().join("it's a \"$folder\"/file"), "content");
        let odd = odd.parent().unwrap();
        let words = ["plan", "--show-command", "--at", "../the gate's", "--env", "A=b c'\"$d", "--"];
        let command = ["sh", "-c", "cat file; echo \"$A\"; pwd", "it's"];
        let both = lab.palisade(words).args(command).directory(odd).run().expect(0);
        let lines: Vec<_> = both.stdout.lines().filter(|line| !line.starts_with('#')).collect();
        let [gate, container] = lines.as_slice() else {
            panic!("{both}");
        };
        let ready = lab.path("ready").display().to_string();
        let script = format!("({gate}) > '{ready}' & until [ -s '{ready}' ]; do sleep 0.05; done; {container}; echo $?; wait $!; echo $?");
        lab.write(&lab.path("ready"), "");
        let done = paste(&lab, &script).expect(0);
        assert_eq!(done.stdout, format!("contentb c'\"$d\n{}\n0\n0\n", odd.display()), "{done}");
    }

    fn changes_of_a_served_container_are_reviewed(who) {
        let lab = contained(who)?;
        // Twice, for the line is the same, and what is changed is another session's.
        for name in ["one", "two"] {
            let script = format!("cat README.md; rm README.md; mkdir README.md; echo > {name}");
            let mut gate = Gate::script(&lab, &["--access", "review"], &script);
            paste(&lab, &gate.line).expect(0).expect_output("a project");
            gate.end().expect(0);
            assert!(!lab.workspace().join(name).exists());
            let review = lab.palisade(["review", "--stat"]).run();
            assert!(review.stdout.contains(name), "{review}");
            lab.palisade(["discard", "--yes"]).run().expect(0);
        }
        lab.palisade(["sessions", "prune", "--keep", "0"]).run().expect(0);
        assert!(is_empty(&lab.home().join(".local/state/palisade/sessions")));
        nothing_is_left(&lab);
    }

    fn what_a_served_agent_changes_under_scratch_is_gone(who) {
        let lab = contained(who)?;
        let script = "rm README.md && echo > new && ls";
        let mut gate = Gate::script(&lab, &["--access", "scratch"], script);
        paste(&lab, &gate.line).expect(0).expect_output("new");
        gate.end().expect(0);
        assert!(!lab.workspace().join("new").exists() && lab.workspace().join("README.md").exists());
        nothing_is_left(&lab);
    }

    fn another_line_than_the_printed_one_is_refused_by_name(who) {
        let lab = contained(who)?;
        let docker = lab.engine() == "docker";
        let profile = lab.write(&lab.path("open.json"), "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}");
        let profile = format!("seccomp={}", profile.display());
        let drop = |option: &'static str| move |line: &str| {
            let dropped = line.replacen(&format!(" '{option}'"), "", 1).replacen(&format!(" {option} "), " ", 1);
            assert_ne!(dropped, line, "{option}");
            dropped
        };
        let add = |option: String| move |line: &str| line.replacen(" --rm ", &format!(" --rm {option} "), 1);
        let swap = |from: &'static str, to: String| move |line: &str| {
            let start = line.find(from).expect("named");
            let length = line[start..].find(['\'', ' ']).unwrap();
            format!("{}{to}{}", &line[..start], &line[start + length..])
        };
        type Change<'a> = Box<dyn Fn(&str) -> String + 'a>;
        let mut changes: Vec<(&str, Change<'_>)> = vec![
            (if docker { "the dropped capabilities" } else { "the guest's capabilities" }, Box::new(drop("--cap-drop=ALL"))),
            ("the root", Box::new(drop("--read-only"))),
            ("the removal", Box::new(drop("--rm"))),
            ("no-new-privileges", Box::new(drop("--security-opt=no-new-privileges"))),
            ("the system-call filter", Box::new(swap("seccomp=", profile))),
            ("s", Box::new(add("--volume=/:/host".into()))),
        ];
        if docker {
            let other = lab.path("").file_name().unwrap().to_str().unwrap().to_owned();
            let other = format!("--name={other}");
            changes.push(("the guest's capabilities", Box::new(add("--cap-add=SYS_CHROOT".into()))));
            changes.push(("privilege", Box::new(add("--privileged".into()))));
            changes.push(("the process namespace", Box::new(add("--pid=host".into()))));
            // The engine itself refuses settings of the host's network.
            let host = swap("--network=none", "--network=host".into());
            let settings = swap("--sysctl=", "--no-healthcheck".into());
            changes.push(("a network of the container's own", Box::new(move |line| settings(&host(line)))));
            changes.push(("container", Box::new(swap("--name=", other))));
        }
        for (control, change) in changes {
            let mut gate = Gate::script(&lab, &[], "touch ran");
            let changed = change(&gate.line);
            let agent = paste(&lab, &changed);
            assert_ne!(agent.status, 0, "{control}: {agent}");
            let refused = ["privilege", "the process namespace", "a network of the container's own"].contains(&control);
            if refused && agent.stderr.contains("rror response") {
                // The engine itself has no such rights on some machines, or gives them to nobody: so nobody called.
                gate.signal("-INT");
                gate.end().expect(125);
                continue;
            }
            wait_until(&format!("the gate ends: {control}: {agent}"), || gate.has_ended());
            gate.end().expect(125).expect_error(control);
            assert!(!lab.workspace().join("ran").exists(), "{control}");
        }
        // The control: as it was printed it runs.
        let mut gate = Gate::script(&lab, &[], "touch ran");
        paste(&lab, &gate.line).expect(0);
        gate.end().expect(0);
        assert!(lab.workspace().join("ran").exists());
        nothing_is_left(&lab);
    }

    fn a_line_is_good_once_and_only_while_its_gate_is_there(who) {
        let lab = contained(who)?;
        let (mut gate, mut container) = waiting(&lab, &[]);
        paste(&lab, &gate.line).expect_error("in use");
        // Neither is its place free for another gate.
        let other = lab.palisade(["serve", "--quiet", "--", "true"]).run();
        other.expect(125).expect_error("in use").expect_error("--at DIR");
        gate.signal("-INT");
        assert_eq!(gate.end().status, 143);
        container.wait().unwrap();
        nothing_is_left(&lab);
        assert_ne!(paste(&lab, &gate.line).status, 0);
    }

    fn a_gate_that_is_killed_takes_its_container_with_it(who) {
        let lab = contained(who)?;
        let (mut gate, mut container) = waiting(&lab, &[]);
        // A session of the usual kind has nothing to do with it.
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert!(container.try_wait().unwrap().is_none());
        gate.process.kill().unwrap();
        container.wait().unwrap();
        let label = format!("label=palisade.base={}", folder(&lab).display());
        let left = || engine(&lab, &["ps", "--all", "--quiet", "--filter", &label]).stdout;
        wait_until("no container is left", || left().is_empty());
        // The next one takes its place over.
        let mut gate = Gate::script(&lab, &[], "exit 3");
        paste(&lab, &gate.line).expect(3);
        gate.end().expect(3);
        nothing_is_left(&lab);
        assert!(containers(&lab).is_empty());
    }

    fn a_container_that_is_killed_ends_its_gate(who) {
        let lab = contained(who)?;
        let gate = Gate::script(&lab, &[], "touch started; sleep 1000");
        let name = gate.line.split("--name=").nth(1).unwrap();
        let name = &name[..name.find(['\'', ' ']).unwrap()];
        let mut container = lab.outside("sh").args(["-c", &gate.line]).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        engine(&lab, &["kill", name]);
        let mut gate = gate;
        assert_eq!(gate.end().status, 137);
        container.wait().unwrap();
        nothing_is_left(&lab);
    }

    fn a_gate_waits_until_it_is_told_to_end(who) {
        let lab = contained(who)?;
        let mut gate = Gate::script(&lab, &[], "true");
        gate.signal("-WINCH");
        gate.signal("-TSTP");
        gate.signal("-INT");
        gate.end().expect(125).expect_error("before anybody started the container");
        assert!(is_empty(&folder(&lab)));
    }

    fn what_changed_since_the_line_was_printed_is_refused(who) {
        let lab = contained(who)?;
        let shown = lab.home().join("shown");
        lab.write(&shown.join("file"), "x");
        let policy = |text: &str| lab.policy(Policy::new().filesystem(text).to_toml());
        let file = policy("");
        let options = ["--policy", file.to_str().unwrap()];
        let planned = [&["plan", "--show-command"], &options[..], &["--", "touch", "ran"]].concat();
        let planned = lab.palisade(planned).run().expect(0);
        policy("read = [\"~/shown\"]");
        let mut gate = Gate::of(&lab, &options, &["touch", "ran"]);
        let old = planned.stdout.lines().last().unwrap();
        assert_ne!(old, gate.line.trim_end());
        paste(&lab, old);
        gate.end().expect(125).expect_error("mount");
        // A secret that came while the gate waited is in no line.
        let mut gate = Gate::of(&lab, &options, &["touch", "ran"]);
        lab.write(&lab.workspace().join(".env"), "S3CRET");
        paste(&lab, &gate.line);
        gate.end().expect(125).expect_error("masked").expect_error("start the gate again");
        assert!(!lab.workspace().join("ran").exists());
        nothing_is_left(&lab);
    }

    fn what_appears_while_a_served_agent_runs_is_masked(who) {
        let lab = contained(who)?;
        let script = "touch started; for i in $(seq 300); do [ -e .env ] && [ ! -s .env ] && exit 5; sleep 0.1; done; cat .env";
        let mut gate = Gate::script(&lab, &[], script);
        let mut container = lab.outside("sh").args(["-c", &gate.line]).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        lab.write(&lab.workspace().join(".env"), "S3CRET");
        gate.end().expect(5);
        container.wait().unwrap();
    }

    fn what_cannot_be_served_is_refused_before_a_line_is_printed(who) {
        let lab = contained(who)?;
        let show = |options: &[&str]| {
            let words = [&["plan", "--show-command"], options, &["--", "true"]].concat();
            let done = lab.palisade(words).run();
            assert_eq!(done.stdout, "", "{done}");
            done
        };
        show(&["--boundary", "native"]).expect(125).expect_error("--boundary container");
        show(&["--at", "."]).expect(125).expect_error("the agent is shown");
        let nothing = lab.palisade(["plan", "--show-command"]).run();
        nothing.expect(125).expect_error("-- COMMAND");
        lab.palisade(["plan", "--at", "x"]).run().expect(125).expect_error("--show-command");
        // Whoever can write a folder on the way could put another in its place.
        let open = lab.path("open");
        std::fs::create_dir(&open).unwrap();
        let other = if who == Identity::Root { Identity::User } else { who };
        other.own(&open);
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        let open = open.join("gate").display().to_string();
        let refused = lab.palisade(["serve", "--at", &open, "--", "true"]).run();
        refused.expect(125).expect_error("by others");
    }
}
