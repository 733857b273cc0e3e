//! What only gVisor can get wrong: the sandbox, the relay, and what they leave. `cargo xtask test` runs these where there is `runsc`.

mod by_docker;

use std::io::{Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Identity, Lab, Policy, Skip, each_identity};

use serde_json::Value;

use crate::lab;

/// A lab whose sessions are sandboxes of gVisor's.
fn sandboxed(who: Identity) -> Result<Lab, Skip> {
    let lab = lab(who);
    if lab.is_sandboxed_by_docker() {
        return Err(Skip::because(
            "docker starts the sandboxes here",
            "gvisor::by_docker has the same",
        ));
    }
    if lab.is_sandboxed() {
        return Ok(lab);
    }
    let fix = "cargo xtask test, or name the boundary (PALISADE_TEST_BOUNDARY=gvisor)";
    Err(Skip::because("sessions are no sandboxes here", fix))
}

fn base(lab: &Lab) -> PathBuf {
    lab.home().join(".local/state/palisade/sandboxes")
}

fn folders(lab: &Lab) -> usize {
    std::fs::read_dir(base(lab)).map_or(0, Iterator::count)
}

/// Processes of this lab's sandboxes that have not ended, by number.
fn sandbox(lab: &Lab) -> Vec<String> {
    let base = base(lab).display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let of_this = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&base)
    };
    let found = all.filter(of_this);
    found
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn processes(lab: &Lab) -> usize {
    sandbox(lab).len()
}

fn control_groups(name: &str) -> usize {
    let all = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    all.filter(|entry| entry.path().join(name).exists()).count()
}

/// Of the one session there is.
fn name(lab: &Lab) -> String {
    let found = std::fs::read_dir(base(lab))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    format!("palisade-{}", found.file_name().to_str().unwrap())
}

/// Attacks from inside: what gets through is what docs/gvisor.md names of an old gVisor's, and more than `held` attempts do not.
fn verify_finds_what_is_named(lab: &Lab, held: usize) {
    let done = lab.palisade(["verify", "--json"]).run();
    let report: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    let with = |result: &str| -> Vec<&str> {
        let all = report["attempts"].as_array().expect("a list").iter();
        let found = all.filter(|attempt| attempt["result"] == result);
        found
            .filter_map(|attempt| attempt["name"].as_str())
            .collect()
    };
    let named = ["first-process", "fork-bomb"];
    assert!(
        with("not-held").iter().all(|name| named.contains(name)),
        "{done}"
    );
    assert!(with("held").len() > held, "{done}");
}

/// And freezes everything, as `said`.
fn a_watch_freezes(lab: &Lab, said: &str) {
    // The folder that the attacker writes to is put where it looks.
    let script = r#"t=$(sed -n 's/.*"token":"\([0-9a-f]*\)".*/\1/p' /run/palisade-watch/stage)
        mkdir /tmp/palisade-verify-$t; while :; do date +%N > tick; sleep 0.1; done"#;
    let done = lab
        .palisade([
            "verify", "--watch", "--every", "1", "--", "sh", "-c", script,
        ])
        .run();
    done.expect(1)
        .expect_error(said)
        .expect_error("got through");
    assert!(lab.workspace().join("tick").exists());
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ways to a file that are open before it is masked, and are tried after that.
const WAYS_TO_WHAT_IS_MASKED_LATE: &str = r#"
import os, time
os.chdir("sub")
folder, root = os.open(".", os.O_RDONLY), os.open("/", os.O_PATH)
top = os.path.abspath("..")
child_reads, parent_says = os.pipe()
def contents(what, path, dir_fd=None):
    try:
        fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
        print(what, "SEEN" if os.read(fd, 100) else "empty")
    except OSError as error:
        print(what, error.strerror)
def tried(what, call):
    try:
        call()
        print(what, "DONE")
    except OSError as error:
        print(what, error.strerror)
child = os.fork()
if child == 0:
    try: os.stat("late.env")
    except OSError: pass
    os.read(child_reads, 1)
    contents("child", "late.env")
    os._exit(0)
open("../ready", "w")
# Known to gVisor by name, before the mask and after.
deadline = time.monotonic() + 60
while not os.path.exists("late.env"): pass
while os.path.exists("late.env") and os.stat("late.env").st_size and time.monotonic() < deadline and not os.path.exists("../go"): pass
os.write(parent_says, b"x")
os.waitpid(child, 0)
contents("name", "late.env")
contents("folder", "late.env", folder)
contents("root", top[1:] + "/sub/late.env", root)
contents("cwd", "/proc/self/cwd/late.env")
contents("fd", f"/proc/self/fd/{folder}/late.env")
os.symlink("sub/late.env", "../link")
contents("link", "../link")
tried("write", lambda: open("late.env", "a"))
tried("remove", lambda: os.unlink("late.env"))
tried("rename", lambda: os.rename("late.env", "other"))
tried("replace", lambda: os.rename("own", "late.env"))
tried("hard link", lambda: os.link("late.env", "other"))
os.rename(top + "/sub", top + "/moved")
contents("moved", top + "/moved/late.env")
contents("moved folder", "late.env", folder)
"#;

each_identity! {
    fn without_root_it_takes_programs_that_map_ids(who) {
        let lab = sandboxed(who)?;
        let runsc = lab.outside("sh").args(["-c", "command -v runsc"]).run().expect(0).stdout;
        let policy = Policy::new().tables(&format!("[boundary.gvisor]\nrunsc = \"{}\"", runsc.trim()));
        // The agent's own path is another.
        let done = lab.run(&policy, ["true"]).env("PATH", "/nonexistent").run();
        match who {
            Identity::Root => drop(done.expect(0)),
            Identity::User => drop(done.expect(125).expect_error("run newuidmap").expect_error("uidmap")),
        }
        assert_eq!(folders(&lab), 0);
    }

    fn a_limit_that_cannot_be_held_is_refused_and_one_that_can_is_held(who) {
        let lab = sandboxed(who)?;
        let policy = Policy::new().tables("[limits]\nmemory = \"2GiB\"");
        let done = lab.run(&policy, ["true"]).run();
        match who {
            Identity::Root => drop(done.expect(0)),
            Identity::User => drop(done.expect(125).expect_error("limits.memory")),
        }
        // The control: without the limit the sandbox has all the machine's.
        let count = "grep -c ^processor /proc/cpuinfo";
        let processors = |policy: Policy| {
            let done = lab.run(&policy, ["sh", "-c", count]).run().expect(0);
            done.stdout.trim().parse::<usize>().unwrap()
        };
        let all = processors(Policy::new());
        assert_eq!(all, std::thread::available_parallelism().unwrap().get());
        let one = processors(Policy::new().tables("[limits]\ncpus = 1.0"));
        if who == Identity::User {
            assert_eq!(one, 1);
        }
        assert_eq!(folders(&lab), 0);
    }

    fn a_session_leaves_no_sandbox_and_no_folder(who) {
        let lab = sandboxed(who)?;
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", "exit 4"]).run();
        assert_eq!(done.status, 4, "{done}");
        assert_eq!((processes(&lab), folders(&lab)), (0, 0));
    }

    fn a_palisade_that_is_killed_leaves_no_sandbox(who) {
        let lab = sandboxed(who)?;
        let mut palisade = lab.palisade(["run", "--quiet", "--", "sh", "-c", "touch started; sleep 1000"]).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        let group = name(&lab);
        assert!(processes(&lab) > 0);
        assert_eq!(control_groups(&group) > 0, who == Identity::Root);
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        wait_until("the sandbox is gone", || processes(&lab) == 0);
        wait_until("its control groups are gone", || control_groups(&group) == 0);
        // Its folder stays for the next session to remove.
        assert_eq!(folders(&lab), 1);
        lab.palisade(["run", "--quiet", "--", "true"]).run().expect(0);
        assert_eq!(folders(&lab), 0);
    }

    fn the_guest_is_out_of_the_agents_reach(who) {
        let lab = sandboxed(who)?;
        let attack = r#"
import ctypes, errno, os, signal, socket
def refused(what, call):
    try:
        call()
    except OSError as error:
        return print(what, errno.errorcode[error.errno])
    print(what, "DONE")
def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
def call():
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect("/run/palisade/control")
own = os.fork()
if own == 0:
    signal.pause()
refused("trace own", lambda: trace(own))
refused("trace", lambda: trace(1))
refused("kill own", lambda: os.kill(own, 9))
refused("kill", lambda: os.kill(1, 9))
refused("stop", lambda: os.kill(1, 19))
refused("memory", lambda: open("/proc/1/mem", "rb"))
refused("call", call)
refused("replace", lambda: os.rename("/run/palisade/gate", "/run/palisade/other"))
refused("files", lambda: [open(f"/proc/1/fd/{n}", "rb") for n in os.listdir("/proc/1/fd")])
print("environment", open("/proc/1/environ", "rb").read().strip(b"\0"))
"#;
        let done = lab.palisade(["run", "--quiet", "--", "python3", "-c", attack]).run().expect(0);
        let expected = [
            // The controls: the same calls get through where they may.
            "trace own DONE",
            "trace EPERM",
            "kill own DONE",
            "kill EPERM",
            "stop EPERM",
            "memory EACCES",
            "call ENOENT",
            "replace EROFS",
        ];
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert_eq!(lines.get(..expected.len()), Some(&expected[..]), "{done}");
        assert!(!lines.contains(&"files DONE"), "{done}");
        assert_eq!(lines.last(), Some(&"environment b''"), "{done}");
    }

    fn what_an_agent_tells_the_gate_itself_reaches_what_it_may_reach_anyway(who) {
        let lab = sandboxed(who)?;
        let upstream = Server::http(Web);
        let port = upstream.address().port();
        let policy = Policy::new().reach("yes.test", port, upstream.address());
        // The relay's own language: an opening for a proxy's client, frames.
        let client = r#"
import socket, struct, sys
for host in ("yes.test", "no.test"):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/palisade/gate")
    s.sendall(bytes([1, 1]) + bytes(22))
    text = f"GET http://{host}:PORT/ HTTP/1.1\r\nHost: {host}:PORT\r\nConnection: close\r\n\r\n".encode()
    s.sendall(struct.pack(">I", 1 << 24 | len(text)) + text)
    s.recv(4, socket.MSG_WAITALL)
    print(host, s.recv(12).decode().split()[1])
"#;
        let client = client.replace("PORT", &port.to_string());
        let done = lab.run(&policy, ["python3", "-c", &client]).run().expect(0);
        assert_eq!(done.stdout, "yes.test 200\nno.test 403\n", "{done}");
    }

    fn what_is_masked_late_is_masked_by_every_way_that_was_open_before(who) {
        let lab = sandboxed(who)?;
        lab.write(&lab.workspace().join("sub/own"), "");
        let run = |policy: Policy| {
            let mut session = lab.run(&policy, ["python3", "-u", "-c", WAYS_TO_WHAT_IS_MASKED_LATE]).spawn();
            wait_until("the agent runs", || lab.workspace().join("ready").exists() || session.try_wait().unwrap().is_some());
            lab.write(&lab.workspace().join("sub/late.env"), "S3CRET\n");
            // Long enough for a busy machine, too.
            std::thread::sleep(Duration::from_secs(4));
            lab.write(&lab.workspace().join("go"), "");
            let done = session.wait_with_output().unwrap();
            let out = String::from_utf8_lossy(&done.stdout).into_owned();
            (out, String::from_utf8_lossy(&done.stderr).into_owned())
        };
        let (masked, said) = run(Policy::new());
        let expected = "child empty\nname empty\nfolder empty\nroot empty\ncwd empty\nfd empty\nlink empty\n\
            write Permission denied\nremove Device or resource busy\nrename Device or resource busy\n\
            replace Device or resource busy\nhard link Operation not permitted\nmoved empty\nmoved folder empty\n";
        // Of the empty file's owner an ordinary caller may link it, but not across mounts.
        let expected = match who {
            Identity::Root => expected.to_owned(),
            Identity::User => expected.replace("Operation not permitted", "Invalid cross-device link"),
        };
        assert_eq!(masked, expected, "{said}");
        // The control: without the mask all of it gets through.
        for name in ["ready", "go", "link"] {
            std::fs::remove_file(lab.workspace().join(name)).unwrap();
        }
        std::fs::rename(lab.workspace().join("moved"), lab.workspace().join("sub")).unwrap();
        std::fs::remove_file(lab.workspace().join("sub/late.env")).unwrap();
        let (open, said) = run(Policy::new().filesystem("unmask = [\"late.env\"]"));
        for line in ["child SEEN", "name SEEN", "folder SEEN", "root SEEN", "cwd SEEN", "fd SEEN", "link SEEN", "write DONE"] {
            assert!(open.lines().any(|other| other == line), "{line}: {open}{said}");
        }
    }

    fn nothing_of_the_callers_environment_is_in_the_sandboxes_memory(who) {
        let lab = sandboxed(who)?;
        let run = lab.palisade(["run", "--quiet", "--", "sh", "-c", "touch started; sleep 1000"]);
        let mut palisade = run.env("PLANTED", lab.secret()).spawn();
        wait_until("the agent runs", || lab.workspace().join("started").exists());
        let holds = |id: &str| {
            let text = std::fs::read(format!("/proc/{id}/environ")).unwrap();
            String::from_utf8_lossy(&text).contains(lab.secret())
        };
        // The control: it is in palisade's own.
        let own = holds(&palisade.id().to_string());
        let found = sandbox(&lab);
        let held = found.iter().filter(|id| holds(id)).count();
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        assert!(own && found.len() > 1, "{found:?}");
        assert_eq!(held, 0);
    }

    fn output_into_one_file_is_whole_and_in_order(who) {
        let lab = sandboxed(who)?;
        let path = lab.write(&lab.path("output"), "before\n");
        // Not to append: whoever writes at a place of its own would write over what is there.
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        let script = "for i in 1 2 3; do echo out $i; echo error $i >&2; done";
        let mut palisade = lab
            .palisade(["run", "--quiet", "--", "sh", "-c", script])
            .command()
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        assert!(palisade.wait().unwrap().success());
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.remove(0), "before");
        for of in ["out", "error"] {
            let own: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with(of)).collect();
            assert_eq!(own, [1, 2, 3].map(|i| format!("{of} {i}")), "{text}");
        }
        assert_eq!(lines.len(), 6, "{text}");
    }

    fn input_from_a_file_is_read_to_its_end(who) {
        let lab = sandboxed(who)?;
        let text = "line\n".repeat(50_000);
        let path = lab.write(&lab.path("input"), &text);
        let done = lab
            .palisade(["run", "--quiet", "--", "sh", "-c", "wc -c; echo end"])
            .command()
            .stdin(std::fs::File::open(path).unwrap())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), format!("{}\nend\n", text.len()));
    }

    fn verify_finds_what_the_docs_name_and_no_more(who) {
        let lab = sandboxed(who)?;
        verify_finds_what_is_named(&lab, 40);
    }

    fn a_watch_freezes_the_sandbox_once_something_gets_through(who) {
        let lab = sandboxed(who)?;
        a_watch_freezes(&lab, "frozen by gVisor");
        assert_eq!((processes(&lab), folders(&lab)), (0, 0));
    }

    fn a_gvisor_that_never_answers_is_named(who) {
        let lab = sandboxed(who)?;
        let program = lab.write(&lab.path("runsc"), "#!/bin/sh\nexec sleep 600\n");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let policy = Policy::new().tables(&format!("[boundary.gvisor]\nrunsc = {program:?}"));
        let file = lab.policy(policy.to_toml());
        let done = lab.palisade(["doctor", "--json", "--policy"]).args([file]).run();
        let found: Value = serde_json::from_str(&done.stdout).unwrap();
        let gvisor = &found["boundaries"][2];
        assert_eq!(gvisor["usable"], false, "{gvisor:#}");
        assert!(gvisor["capabilities"][0]["detail"].as_str().unwrap().contains("did not answer for 15 s"), "{gvisor:#}");
    }

    fn a_gvisor_that_cannot_be_used_says_what_to_do(who) {
        let lab = sandboxed(who)?;
        let run = |table: &str| {
            let policy = Policy::new().tables(&format!("[boundary.gvisor]\n{table}"));
            lab.run(&policy, ["true"]).run().expect(125)
        };
        run("runsc = \"/nonexistent/runsc\"").expect_error("there is no program `/nonexistent/runsc`");
        run("runsc = \"bin/runsc\"").expect_error("a name or an absolute path");
        run("runsc = \"/bin/false\"").expect_error("runsc gave up");
        run("platform = \"fast\"").expect_error("`fast` is not known here");
        assert_eq!(folders(&lab), 0);
    }
}
