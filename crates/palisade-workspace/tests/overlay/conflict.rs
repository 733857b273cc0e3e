//! What the host changed while a session ran, as an overlay of the kernel shows it.

use std::ffi::OsString;
use std::fs;

use palisade_test_support::each_identity;
use palisade_workspace::changes::{Conflict, Pending};

use crate::again::{self, Place, inside, shown};
use crate::operation::{self, Operation};
use crate::property::prepare;

each_identity! {
    fn what_the_session_edited_and_the_host_removed_is_in_conflict(who) {
        again::needs()?;
        Place::new(who, None).run("conflict", &[]);
    }
}

/// Two files that the session edits in place, a third that it makes; the host then loses one of the two.
pub(crate) fn run(_arguments: &[OsString]) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let case = folder.path().canonicalize().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(std::path::PathBuf::from);
    prepare(
        &case,
        &[
            Operation::Write(a.clone(), 1),
            Operation::Write(b.clone(), 1),
        ],
    );
    let session = [
        Operation::Append(a, 2),
        Operation::Append(b, 2),
        Operation::Write(c, 1),
    ];
    operation::save(&case.join("operations"), &session);
    let output = inside("operate", &[case.clone().into()]);
    assert!(output.status.success(), "{}", shown(&output));
    let conflicts = || {
        let pending = Pending::open(&case.join("workspace"), &case.join("changes"), None);
        let set = pending.unwrap().read().unwrap();
        set.changes()
            .iter()
            .map(|change| change.conflict)
            .collect::<Vec<_>>()
    };
    assert_eq!(conflicts(), [None, None, None]);
    fs::remove_file(case.join("workspace/a")).unwrap();
    assert_eq!(conflicts(), [Some(Conflict::Removed), None, None]);
    inside("clean", &[case.into()]);
}
