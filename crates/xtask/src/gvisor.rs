//! The tests of the binary once more, with each session in a sandbox of gVisor's.

use std::path::{Path, PathBuf};

use crate::containers::podman::{with_ids, write_ids};
use crate::containers::{SAME, build_guest, selected};
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

/// Runs them, where there is gVisor.
/// An ordinary user's have subordinate ids for this run.
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
    let same = selected(&SAME, &OTHER);
    let selection = format!("({same}) | test(/^gvisor::/)");
    let ids = shared.join("ids");
    write_ids(&ids)?;
    let mut command = with_ids(&ids, "");
    command
        .arg("cargo")
        .args(["nextest", "run", "--package", "palisade", "--locked"])
        .args(["--no-fail-fast", "--filterset", &selection])
        .env("PALISADE_TEST_BOUNDARY", "gvisor")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}
