//! The tests of the binary once more, with each session in a container of docker.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::shell::{self, Done};

/// The tests that are about what every boundary does.
pub(crate) const SAME: [&str; 13] = [
    "claude_code::",
    "containers::",
    "credentials::",
    "escapes::",
    "files::",
    "intercepted::",
    "lifetime::",
    "limits::",
    "masks::",
    "pending::session",
    "status::",
    "terminal::",
    "workspace::",
];

/// Those that are not, and why.
const OTHER: [(&str, &str); 22] = [
    ("the_secret_is_nowhere_but_upstream", NATIVE_PROCESSES),
    (
        "killing_palisade_ends_everything_and_leaves_nothing::as_root",
        "looks for control groups of palisade's own making; containers:: has the same for an engine",
    ),
    (
        "changes_outlive_a_palisade_that_is_killed",
        NATIVE_PROCESSES,
    ),
    (
        "a_program_named_by_the_person",
        "/proc/self/exe is the guest, which anybody inside may run: it has no rights of its own",
    ),
    (
        "the_window_size_is_the_terminals",
        "the engine's client tells of a change later",
    ),
    (
        "what_appears_or_is_replaced_while_the_agent_runs",
        NO_LATE_MASKS,
    ),
    ("what_the_host_runs_is_kept_from_a_writable", NO_LATE_MASKS),
    ("scratch", NO_SCRATCH),
    ("secrets_are_hidden_in_every_access", NO_SCRATCH),
    ("what_came_since_the_last_session", NO_SCRATCH),
    ("the_name_of_a_workspace_means_nothing", NO_SCRATCH),
    ("a_governing_file_is_read_only_in_each_access", NO_SCRATCH),
    ("a_workspace_of_another_group_is_said", NO_SCRATCH),
    ("a_tracked_secret_is_warned_of::as_root", SAME_IDS),
    (
        "a_folder_shown_for_writing_keeps_its_owner::as_root",
        SAME_IDS,
    ),
    (
        "a_path_shown_for_reading_cannot_be_changed::as_root",
        SAME_IDS,
    ),
    (
        "an_agent_cannot_write_its_next_policy_or_its_log::as_root",
        SAME_IDS,
    ),
    ("review_keeps_changes_apart_and_says_so", SAYS_SO),
    (
        "a_session_that_changes_nothing_leaves_nothing_and_says_nothing",
        SAYS_SO,
    ),
    (
        "what_the_workspace_gets_belongs_to_its_owner::as_root",
        SAME_IDS,
    ),
    (
        "what_an_agent_did_is_reviewed_picked_and_applied::as_root",
        SAME_IDS,
    ),
    (
        "a_session_goes_on_with_the_changes_of_an_earlier_one::as_root",
        SAME_IDS,
    ),
];
const SAYS_SO: &str = "a session in a container says which weakness was accepted";
const NATIVE_PROCESSES: &str = "looks at the processes of the native boundary";
const NO_LATE_MASKS: &str = "nothing is masked in a container that runs, and it says so";
const NO_SCRATCH: &str = "a container has no access scratch, and says so";
const SAME_IDS: &str = "root's files are nobody's in a container";

/// Runs them, where there is an engine to be started.
pub(crate) fn run(shared: &Path, has_nextest: bool, variables: &[(&str, PathBuf)]) -> Done {
    let missing = if !shell::is_root() {
        Some("only root starts a daemon")
    } else if shell::program("dockerd").is_none() {
        Some("dockerd is not installed (package docker.io)")
    } else if !has_nextest {
        Some("they are selected by cargo-nextest")
    } else {
        None
    };
    if let Some(why) = missing {
        eprintln!("the tests in containers are left out: {why}");
        return Ok(());
    }
    let daemon = Daemon::start(&shared.join("docker"))?;
    let build = ["build", "--locked", "--package", "palisade-guest"];
    shell::run(shell::cargo().args(build))?;
    let mut command = shell::cargo();
    command
        .args(["nextest", "run", "--package", "palisade", "--locked"])
        .args(["--no-fail-fast", "--filterset", &selection()])
        .env("PALISADE_TEST_BOUNDARY", "container")
        .env("DOCKER_HOST", daemon.address())
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

fn selection() -> String {
    selected(&SAME, &OTHER)
}

/// Those of `same` that are not of `other`.
pub(crate) fn selected(same: &[&str], other: &[(&str, &str)]) -> String {
    let tests = |names: &mut dyn Iterator<Item = &str>| {
        let each: Vec<String> = names.map(|name| format!("test({name})")).collect();
        each.join(" | ")
    };
    let same = tests(&mut same.iter().copied());
    let other = tests(&mut other.iter().map(|(name, _)| *name));
    format!("({same}) & !({other})")
}

/// A docker daemon of this run's own: beside any other, without bridge and packet rules, in a folder of its own.
struct Daemon {
    process: Child,
    folder: PathBuf,
}

impl Daemon {
    /// How often and how long it is asked whether it answers. It takes two or three seconds.
    const TRIES: u32 = 300;
    const PAUSE: Duration = Duration::from_millis(100);
    /// The user that tests take on when root runs them.
    const GROUP: &str = "1000";

    fn start(folder: &Path) -> Done<Self> {
        let failed = |error: std::io::Error| format!("start dockerd: {error}");
        std::fs::create_dir_all(folder).map_err(failed)?;
        let log = std::fs::File::create(folder.join("log")).map_err(failed)?;
        let at = |name: &str| folder.join(name);
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("socket").display()))
            .args(["--group", Self::GROUP, "--bridge=none", "--iptables=false"])
            .args(["--ip6tables=false", "--ip-forward=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let daemon = Self {
            process,
            folder: folder.to_path_buf(),
        };
        for _ in 0..Self::TRIES {
            if daemon.answers() {
                return Ok(daemon);
            }
            std::thread::sleep(Self::PAUSE);
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        Err(format!("dockerd does not answer:\n{log}"))
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    fn answers(&self) -> bool {
        let version = Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .env("DOCKER_HOST", self.address())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    }
}

impl Drop for Daemon {
    /// Asked to end, it ends its own containerd too, which killing it would leave behind.
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().ok();
        self.process.wait().ok();
    }
}
