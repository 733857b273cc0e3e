//! The tests of the binary once more, with each session in a sandbox of gVisor's.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::containers::podman::{with_ids, write_ids};
use crate::containers::{AGENTS_ALONE, Daemon, SAME, build_guest, but_by_root, selected};
use crate::shell::{self, Done};

/// Those that are not about what every boundary does, and why.
const OTHER: [(&str, &str); 20] = [
    ("containers::", "they are about an engine"),
    (
        "verify::",
        "the gVisor of Debian 12 lets two attempts through; gvisor:: holds it to these",
    ),
    ("the_secret_is_nowhere_but_upstream", NATIVE_PROCESSES),
    ("killing_palisade_ends_everything", NATIVE_PROCESSES),
    ("sigterm_ends_the_session_in_order", NATIVE_PROCESSES),
    (
        "changes_outlive_a_palisade_that_is_killed",
        NATIVE_PROCESSES,
    ),
    (
        "the_agent_is_nobody_on_the_host",
        "gVisor does not tell of NoNewPrivs",
    ),
    ("a_program_named_by_the_person", LISTS),
    ("links_made_inside_do_not_lead_the_host_astray", LISTS),
    ("temporary_folders_are_the_sessions_own", LISTS),
    ("the_home_is_empty_but_for_what_the_policy_names", LISTS),
    ("the_system_is_there_and_cannot_be_changed", LISTS),
    ("a_volume_is_kept_and_is_apart_from_others", LISTS),
    (
        "memory_is_limited::as_user",
        "without root there is no limit of it, and it says so",
    ),
    ("processes_are_limited", NO_COUNT),
    ("a_fork_bomb_ends_and_the_host_goes_on", NO_COUNT),
    ("review_keeps_changes_apart_and_says_so", SAYS_SO),
    ("scratch_changes_vanish", SAYS_SO),
    (
        "a_session_that_changes_nothing_leaves_nothing_and_says_nothing",
        SAYS_SO,
    ),
    ("what_an_agent_did_is_reviewed_picked_and_applied", PIPES),
];
const NATIVE_PROCESSES: &str =
    "looks at the processes of the native boundary; gvisor:: has the same for a sandbox";
const LISTS: &str = "the gVisor of Debian 12 refuses a flag that `ls` of coreutils 9 uses";
const NO_COUNT: &str = "gVisor counts no processes, and it says so";
const PIPES: &str = "a pipe is made in gVisor's own memory, so none is among the changes";
const SAYS_SO: &str = "a session in gVisor says which weakness was accepted";

/// Runs them, where there is gVisor. An ordinary user's have subordinate ids for this run.
pub(crate) fn run(shared: &Path, has_nextest: bool, variables: &[(&str, PathBuf)]) -> Done {
    let missing = if !shell::is_root() {
        Some("only root runs it")
    } else if shell::program("runsc").is_none() {
        Some("runsc is not installed (package runsc)")
    } else if shell::program("newuidmap").is_none() {
        Some("newuidmap is not installed (package uidmap)")
    } else if !has_nextest {
        Some("they are selected by cargo-nextest")
    } else {
        None
    };
    if let Some(why) = missing {
        eprintln!("the tests in gVisor are left out: {why}");
        return Ok(());
    }
    build_guest(&[])?;
    let same = selected(&SAME, &OTHER) + &but_by_root(&AGENTS_ALONE);
    let own = "test(/^gvisor::/) & !test(/^gvisor::by_docker::/)";
    let selection = format!("({same}) | ({own})");
    let ids = shared.join("ids");
    write_ids(&ids)?;
    let mut command = with_ids(&ids, "");
    command
        .arg("cargo")
        .args(["nextest", "run", "--package", "palisade", "--locked"])
        .args(["--no-fail-fast", "--filterset", &selection])
        .env("PALISADE_TEST_BOUNDARY", "gvisor")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let done = shell::run(&mut command);
    done.and(by_docker(shared, variables))
}

/// The same with docker, which starts it for an ordinary user too.
fn by_docker(shared: &Path, variables: &[(&str, PathBuf)]) -> Done {
    if shell::program("dockerd").is_none() {
        eprintln!(
            "the tests in gVisor by docker are left out: dockerd is not installed (package docker.io)"
        );
        return Ok(());
    }
    let folder = shared.join("docker-gvisor");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut dockerd = Command::new("dockerd");
    for (name, options) in RUNTIMES {
        let program = folder.join(format!("{name}.sh"));
        let text = format!("#!/bin/sh\nexec runsc {options} \"$@\"\n");
        std::fs::write(&program, text).map_err(|error| error.to_string())?;
        let mode = Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).map_err(|error| error.to_string())?;
        let runtime = format!("--add-runtime={name}={}", program.display());
        dockerd.arg(runtime);
    }
    let daemon = Daemon::start(&folder, &mut dockerd)?;
    let seen = AGENTS_ALONE.map(|name| (name, "palisade's own sandboxes show it"));
    let other = OTHER.iter().chain(&OTHER_BY_DOCKER).chain(&seen);
    let other: Vec<(&str, &str)> = other.copied().collect();
    let same = selected(&SAME, &other);
    let selection = format!("({same} & test(::as_user)) | test(gvisor::by_docker::)");
    let mut command = shell::cargo();
    command
        .args(["nextest", "run", "--package", "palisade", "--locked"])
        .args(["--no-fail-fast", "--filterset", &selection])
        .env("DOCKER_HOST", daemon.address())
        .env("PALISADE_TEST_BOUNDARY", "gvisor")
        .env("PALISADE_TEST_ENGINE", "docker")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}

/// Runtimes of that daemon: as docs/gvisor.md has it, and without one of the options each.
const RUNTIMES: [(&str, &str); 3] = [
    ("runsc", "--network=none --net-raw --host-uds=open"),
    ("runsc-without-uds", "--network=none --net-raw"),
    ("runsc-without-raw", "--network=none --host-uds=open"),
];

/// What docker's sandboxes do another way, and why it is left out there.
const OTHER_BY_DOCKER: [(&str, &str); 9] = [
    (
        "an_agent_cannot_write_its_next_policy_or_its_log",
        "that docker starts the sandboxes is said in the very policy file it looks for",
    ),
    ("what_the_host_runs_is_kept_from_a_writable", NO_LATE_MASKS),
    (
        "what_appears_or_is_replaced_while_the_agent_runs",
        NO_LATE_MASKS,
    ),
    ("what_came_since_the_last_session_is_masked", NO_SCRATCH),
    ("secrets_are_hidden_in_every_access", NO_SCRATCH),
    ("a_governing_file_is_read_only_in_each_access", NO_SCRATCH),
    ("a_workspace_of_another_group_is_said", NO_SCRATCH),
    ("scratch_is_bounded", NO_SCRATCH),
    ("the_name_of_a_workspace_means_nothing", NO_SCRATCH),
];
const NO_LATE_MASKS: &str = "nothing is masked in a sandbox of docker's that runs, and it says so";
const NO_SCRATCH: &str = "docker's sandboxes have no access scratch, and it says so";
