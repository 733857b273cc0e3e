//! The tests of the binary once more, with each session in a container: of docker, then of podman, whose engine needs no daemon and
//! works with root and without.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::shell::{self, Done};

pub(crate) mod podman;

use podman::Podman;

/// The tests that are about what every boundary does.
pub(crate) const SAME: [&str; 14] = [
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
    "verify::",
    "workspace::",
];

/// Those that are not, and why.
const OTHER: [(&str, &str); 5] = [
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
        "the_name_of_a_workspace_means_nothing::as_user",
        "to an engine's overlay some names mean something, and others are told",
    ),
];
const NATIVE_PROCESSES: &str = "looks at the processes of the native boundary";

/// Runs them with each engine that there is.
pub(crate) fn run(shared: &Path, has_nextest: bool, variables: &[(&str, PathBuf)]) -> Done {
    let why = if !shell::is_root() {
        Some("only root starts a daemon, and an ordinary user beside it")
    } else if !has_nextest {
        Some("they are selected by cargo-nextest")
    } else {
        None
    };
    if let Some(why) = why {
        left_out("containers", why);
        return Ok(());
    }
    build_guest(&[])?;
    let docker = with_docker(shared, variables);
    let mapped = with_mapped_users(shared, variables);
    let composed = with_compose(shared, variables);
    docker
        .and(mapped)
        .and(composed)
        .and(with_podman(shared, variables))
}

/// Static, as it is installed: the container that masks what comes later has no library.
pub(crate) fn build_guest(options: &[&str]) -> Done {
    let build = ["rustc", "--locked", "--package", "palisade-guest"];
    let program = ["--bin", "palisade-guest", "--", "-C"];
    let mut guest = shell::cargo();
    guest
        .args(build)
        .args(options)
        .args(program)
        .arg("target-feature=+crt-static");
    shell::run(&mut guest)
}

fn left_out(what: &str, why: &str) {
    eprintln!("the tests in {what} are left out: {why}");
}

fn with_docker(shared: &Path, variables: &[(&str, PathBuf)]) -> Done {
    if shell::program("dockerd").is_none() {
        left_out(
            "containers of docker",
            "dockerd is not installed (package docker.io)",
        );
        return Ok(());
    }
    let daemon = Daemon::start(&shared.join("docker"), &mut Command::new("dockerd"))?;
    let mut command = shell::cargo();
    command
        .args(tests(&selection(&OTHER_DAEMONS, &AGENTS_ALONE)))
        .env("DOCKER_HOST", daemon.address())
        .env("PALISADE_TEST_BOUNDARY", "container")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

/// Few, since the containers are the same but for the numbers of users.
fn with_mapped_users(shared: &Path, variables: &[(&str, PathBuf)]) -> Done {
    if shell::program("dockerd").is_none() {
        return Ok(());
    }
    let folder = shared.join("mapped");
    let ids = folder.join("ids");
    let failed = |error: std::io::Error| format!("write {}: {error}", ids.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(&ids, MAPPED_IDS).map_err(failed)?;
    let mut dockerd = podman::with_ids(&ids, "");
    dockerd.args(["dockerd", "--userns-remap", MAPPED_USER]);
    let daemon = Daemon::start(&folder, &mut dockerd)?;
    let same = ["containers::", "workspace::"];
    let other: Vec<(&str, &str)> = OTHER.iter().chain(&OTHER_MAPPED).copied().collect();
    let mapped = selected(&same, &other);
    let selection = format!("({mapped} & test(::as_root)) | test(containers::mapped::)");
    let mut command = shell::cargo();
    command
        .args(tests(&selection))
        .env("DOCKER_HOST", daemon.address())
        .env("PALISADE_TEST_BOUNDARY", "container")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

/// With mounts that are shared, as a system manager makes them: the gate of a compose file is shown the host's. An older compose has no
/// word for namespaces of control groups, so the daemon makes them unasked.
fn with_compose(shared: &Path, variables: &[(&str, PathBuf)]) -> Done {
    if shell::program("dockerd").is_none() {
        return Ok(());
    }
    if shell::program("docker-compose").is_none() {
        let why = "docker-compose is not installed (package docker-compose)";
        left_out("containers of a compose file", why);
        return Ok(());
    }
    let script = "mount --make-rshared / && exec dockerd \"$@\"";
    let mut dockerd = Command::new("unshare");
    dockerd
        .args(["--mount", "--propagation=slave", "sh", "-c", script, "sh"])
        .arg("--default-cgroupns-mode=private");
    let daemon = Daemon::start(&shared.join("composed"), &mut dockerd)?;
    let mut command = shell::cargo();
    command
        .args(tests("test(containers::compose::)"))
        .env("DOCKER_HOST", daemon.address())
        .env("PALISADE_TEST_BOUNDARY", "container")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

/// Whose subordinate ids a daemon has that maps users: one of every Debian's.
const MAPPED_USER: &str = "daemon";
const MAPPED_IDS: &str = "daemon:300000:65536\n";

/// What wants a daemon of another kind.
const OTHER_DAEMONS: [(&str, &str); 2] = [
    ("containers::mapped::", "want a daemon that maps users"),
    (
        "containers::compose::",
        "want a daemon whose mounts are shared",
    ),
];

const OTHER_MAPPED: [(&str, &str); 2] = [
    (
        "the_agent_is_the_user_that_the_policy_names",
        "nobody is, and containers::mapped has that it is said",
    ),
    OTHER_DAEMONS[1],
];

fn with_podman(shared: &Path, variables: &[(&str, PathBuf)]) -> Done {
    let needed = [
        ("podman", "podman"),
        ("runc", "runc"),
        ("newuidmap", "uidmap"),
    ];
    for (program, package) in needed {
        if shell::program(program).is_none() {
            let why = format!("{program} is not installed (package {package})");
            left_out("containers of podman", &why);
            return Ok(());
        }
    }
    let podman = Podman::new(&shared.join("pod"))?;
    let mut command = podman.command("cargo");
    command
        .args(tests(&selection(&NOT_WITH_PODMAN, &NOT_TWICE)))
        .env("PALISADE_TEST_BOUNDARY", "container")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

/// What podman does another way, and why it is left out there.
const NOT_WITH_PODMAN: [(&str, &str); 6] = [
    OTHER_DAEMONS[0],
    OTHER_DAEMONS[1],
    ("memory_is_limited::as_user", NO_GROUPS),
    ("limits_hold::as_user", NO_GROUPS),
    (
        "a_session_is_frozen_once_something_gets_through::as_user",
        "without the unified hierarchy nothing can be frozen, so the session is ended",
    ),
    (
        "a_volume_is_kept_and_is_apart_from_others::as_user",
        "podman itself makes ~/.cache, which is looked for",
    ),
];

/// What is about the agent and the gate alone, which are the same whoever starts palisade: seen once with an engine.
pub(crate) const AGENTS_ALONE: [&str; 3] = ["credentials::", "intercepted::", "status::"];

/// With root podman starts the same containers as docker, by the same runtime: what is about the agent alone is seen there.
const NOT_TWICE: [&str; 8] = [
    "claude_code::",
    "credentials::",
    "files::",
    "intercepted::",
    "limits::",
    "pending::",
    "status::",
    "terminal::",
];

const NO_GROUPS: &str =
    "without root and without the unified hierarchy memory is not limited, and it says so";

/// Most of a session's start is waiting for the engine, so more of them run than there are processors.
const THREADS: [&str; 2] = ["--test-threads", "4"];

fn tests(selection: &str) -> Vec<String> {
    let run = ["nextest", "run", "--package", "palisade", "--locked"];
    let all = run.into_iter().chain(THREADS);
    let all = all.chain(["--no-fail-fast", "--filterset"]);
    all.chain([selection]).map(str::to_owned).collect()
}

/// Those of every boundary but `other`; of `not_by_root` what an ordinary user runs.
fn selection(other: &[(&str, &str)], not_by_root: &[&str]) -> String {
    let other: Vec<(&str, &str)> = OTHER.iter().chain(other).copied().collect();
    selected(&SAME, &other) + &but_by_root(not_by_root)
}

/// Without those of these as root.
pub(crate) fn but_by_root(names: &[&str]) -> String {
    let each = names.iter();
    each.map(|name| format!(" & !(test({name}) & test(::as_root))"))
        .collect()
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
pub(crate) struct Daemon {
    process: Child,
    folder: PathBuf,
}

impl Daemon {
    /// How often and how long it is asked whether it answers. It takes two or three seconds.
    const TRIES: u32 = 300;
    const PAUSE: Duration = Duration::from_millis(100);
    /// The user that tests take on when root runs them.
    const GROUP: &str = "1000";

    /// One where this user can start one and it is installed.
    pub(crate) fn if_there(folder: &Path) -> Done<Option<Self>> {
        if !shell::is_root() || shell::program("dockerd").is_none() {
            return Ok(None);
        }
        Self::start(folder, &mut Command::new("dockerd")).map(Some)
    }

    pub(crate) fn start(folder: &Path, dockerd: &mut Command) -> Done<Self> {
        let failed = |error: std::io::Error| format!("start dockerd: {error}");
        std::fs::create_dir_all(folder).map_err(failed)?;
        let log = std::fs::File::create(folder.join("log")).map_err(failed)?;
        let at = |name: &str| folder.join(name);
        let process = dockerd
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

    pub(crate) fn address(&self) -> String {
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
