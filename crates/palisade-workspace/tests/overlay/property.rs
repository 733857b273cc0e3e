//! Any work on files gives the same tree, whether it is done on the workspace itself or in a session and then applied.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use palisade_test_support::each_identity;
use palisade_workspace::apply::{Allow, Applied, LeavingLinks, Left, LeftReason, Selection};
use palisade_workspace::changes::Pending;
use proptest::prelude::prop;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::again::{self, Place, inside, shown};
use crate::operation::{self, Operation};

/// Cases a run; each starts two processes. They are the same in each run, so that it says something of what was changed.
const CASES: &str = "150";
/// So many others by chance, where this says so.
const MORE: &str = "PALISADE_TEST_RANDOM_CASES";

each_identity! {
    fn work_in_a_session_applied_is_work_on_the_workspace(who) {
        again::needs()?;
        let place = Place::new(who, None);
        place.run("property", &[CASES.into(), "same".into()]);
        if let Some(cases) = std::env::var_os(MORE) {
            place.run("property", &[cases, "random".into()]);
        }
    }
}

/// Arguments: how many cases, and which.
pub(crate) fn run(arguments: &[OsString]) {
    let wanted = arguments[0].to_str().unwrap().parse().unwrap();
    let config = Config {
        cases: wanted,
        failure_persistence: None,
        max_shrink_iters: 300,
        rng_seed: match arguments[1].to_str() {
            Some("same") => RngSeed::Fixed(0),
            _ => RngSeed::Random,
        },
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let first = prop::collection::vec(operation::path(), 0..3);
    let strategy = (operation::workspace(), operation::operations(), first);
    // A new name of a file of which only the time was set: rare enough that chance does not try it in each run.
    let [folder, file, name] = ["f", "f/a", "d"].map(PathBuf::from);
    let workspace = [Operation::Mkdir(folder), Operation::Write(file.clone(), 0)];
    let named = [
        Operation::Link(file, name.clone()),
        Operation::Times(name, 0),
    ];
    one(&workspace, &named, &[]).unwrap();
    let result = runner.run(&strategy, |(workspace, operations, first)| {
        one(&workspace, &operations, &first).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// What is at and below the paths of `first` is applied before the rest.
fn one(workspace: &[Operation], operations: &[Operation], first: &[PathBuf]) -> Result<(), String> {
    let folder = tempfile::tempdir_in(".").unwrap();
    let case = folder.path().canonicalize().unwrap();
    let done = checked(&case, workspace, operations, first);
    // What an ordinary user cannot remove any more.
    inside("clean", &[case.clone().into()]);
    done
}

fn checked(
    case: &Path,
    workspace: &[Operation],
    operations: &[Operation],
    first: &[PathBuf],
) -> Result<(), String> {
    prepare(case, workspace);
    operation::save(&case.join("operations"), operations);
    let output = inside("operate", &[case.into()]);
    if !output.status.success() {
        return Err(shown(&output));
    }
    let pending = Pending::open(&case.join("workspace"), &case.join("changes"), None).unwrap();
    let allow = Allow {
        leaving_links: LeavingLinks::All,
        ..Allow::default()
    };
    let apply = |selection: &Selection<'_>| -> Result<Applied, String> {
        let set = pending.read().map_err(|error| error.to_string())?;
        if !set.refused().is_empty() {
            return Err(format!("{:?}", set.refused()));
        }
        if let Some(change) = set.changes().iter().find(|one| one.conflict.is_some()) {
            return Err(format!("conflict: {change:?}"));
        }
        let applied = pending.apply(&set, selection, &allow);
        applied.map_err(|error| error.to_string())
    };
    if !first.is_empty() {
        // Some folders have to wait for what is in them; nothing else is left.
        let applied = apply(&Selection::paths(first))?;
        let waits = |left: &Left| matches!(left.reason, LeftReason::NotEmpty);
        if !applied.left.iter().all(waits) || applied.stopped.is_some() {
            return Err(format!("{applied:?}"));
        }
    }
    let applied = apply(&Selection::all())?;
    if !applied.left.is_empty() || applied.stopped.is_some() {
        return Err(format!("{applied:?}"));
    }
    let output = inside("compare", &[case.into(), first.len().to_string().into()]);
    if !output.status.success() {
        return Err(shown(&output));
    }
    let left = fs::read_dir(case.join("changes/upper")).unwrap().count();
    let again = pending.read().map_err(|error| error.to_string())?;
    if left > 0 || !again.is_empty() {
        return Err(format!("{left} left in the upper, {again:?}"));
    }
    Ok(())
}

/// Makes three equal trees, and the folders of an overlay.
pub(crate) fn prepare(case: &Path, workspace: &[Operation]) {
    for name in ["workspace", "direct", "start"] {
        let root = case.join(name);
        fs::create_dir_all(&root).unwrap();
        workspace.iter().for_each(|operation| operation.run(&root));
    }
    begin(case);
}

/// The folders of an overlay, made now.
pub(crate) fn begin(case: &Path) {
    for name in ["changes/upper", "changes/work"] {
        fs::create_dir_all(case.join(name)).unwrap();
    }
    // The kernel's clock for files goes by ticks of up to 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(12));
    fs::write(case.join("changes/began"), "").unwrap();
}
