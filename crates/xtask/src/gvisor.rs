//! The tests of the binary once more, with each session in a sandbox of gVisor's.

use std::path::PathBuf;

use crate::containers::{SAME, build_guest, selected};
use crate::shell::{self, Done};

/// Those that are not about what every boundary does, and why.
const OTHER: [(&str, &str); 29] = [
    (
        "::as_user",
        "an ordinary user cannot run it, and is told so",
    ),
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
        "what_appears_or_is_replaced_while_the_agent_runs",
        NO_LATE_MASKS,
    ),
    ("what_the_host_runs_is_kept_from_a_writable", NO_LATE_MASKS),
    ("processes_are_limited", NO_COUNT),
    ("a_fork_bomb_ends_and_the_host_goes_on", NO_COUNT),
    ("review_keeps_changes_apart_and_says_so", SAYS_SO),
    ("scratch_changes_vanish", SAYS_SO),
    (
        "a_session_that_changes_nothing_leaves_nothing_and_says_nothing",
        SAYS_SO,
    ),
    ("a_tracked_secret_is_warned_of", SAME_IDS),
    ("a_folder_shown_for_writing_keeps_its_owner", SAME_IDS),
    ("a_path_shown_for_reading_cannot_be_changed", SAME_IDS),
    ("an_agent_cannot_write_its_next_policy_or_its_log", SAME_IDS),
    ("what_the_workspace_gets_belongs_to_its_owner", SAME_IDS),
    ("what_an_agent_did_is_reviewed_picked_and_applied", SAME_IDS),
    (
        "a_session_goes_on_with_the_changes_of_an_earlier_one",
        SAME_IDS,
    ),
    ("the_name_of_a_workspace_means_nothing", SAME_IDS),
];
const NATIVE_PROCESSES: &str =
    "looks at the processes of the native boundary; gvisor:: has the same for a sandbox";
const LISTS: &str = "the gVisor of Debian 12 refuses a flag that `ls` of coreutils 9 uses";
const NO_LATE_MASKS: &str = "nothing is masked in a sandbox that runs, and it says so";
const NO_COUNT: &str = "gVisor counts no processes, and it says so";
const SAYS_SO: &str = "a session in gVisor says which weakness was accepted";
const SAME_IDS: &str = "root's files are nobody's in a sandbox";

/// Runs them, where there is gVisor.
pub(crate) fn run(has_nextest: bool, variables: &[(&str, PathBuf)]) -> Done {
    let missing = if !shell::is_root() {
        Some("only root runs it")
    } else if shell::program("runsc").is_none() {
        Some("runsc is not installed (package runsc)")
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
    let own = "test(/^gvisor::.*::as_root$/) | test(only_root_runs_it)";
    let selection = format!("({same}) | {own}");
    let mut command = shell::cargo();
    command
        .args(["nextest", "run", "--package", "palisade", "--locked"])
        .args(["--no-fail-fast", "--filterset", &selection])
        .env("PALISADE_TEST_BOUNDARY", "gvisor")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command)
}
