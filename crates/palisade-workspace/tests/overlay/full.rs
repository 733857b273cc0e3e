//! A disk that is full, of the workspace or of our own state; and the two on different file systems.

use std::ffi::{CString, OsString};
use std::fs;
use std::path::Path;

use palisade_test_support::each_identity;
use palisade_workspace::apply::{Allow, Selection};
use palisade_workspace::changes::Pending;
use rustix::mount::{MountFlags, mount, mount_remount};

use crate::again::{self, Place, inside, shown};
use crate::property::begin;
use crate::tree;

each_identity! {
    fn a_full_disk_stops_between_two_files_and_resuming_goes_on(who) {
        again::needs()?;
        Place::new(who, None).run("full", &[]);
    }
}

/// Starts itself where it may mount.
pub(crate) fn run(_arguments: &[OsString]) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let case = folder.path().canonicalize().unwrap();
    let output = inside("fill", &[case.into()]);
    assert!(output.status.success(), "{}", shown(&output));
}

/// Arguments: the folder of the case.
pub(crate) fn fill(arguments: &[OsString]) {
    workspace_is_full(&Path::new(&arguments[0]).join("workspace-full"));
    state_is_full(&Path::new(&arguments[0]).join("state-full"));
}

fn size(kib: u32) -> CString {
    CString::new(format!("size={kib}k")).unwrap()
}

fn workspace_is_full(case: &Path) {
    let workspace = case.join("workspace");
    fs::create_dir_all(&workspace).unwrap();
    mount(
        "full",
        &workspace,
        "tmpfs",
        MountFlags::empty(),
        Some(size(1024).as_c_str()),
    )
    .unwrap();
    for n in 0..40 {
        fs::write(workspace.join(format!("f{n:02}")), "old").unwrap();
    }
    begin(case);
    for n in 0..40 {
        let bytes = vec![b'n'; 40 << 10];
        fs::write(case.join(format!("changes/upper/f{n:02}")), bytes).unwrap();
    }
    let old = tree::read(&workspace);
    let new = tree::read(&case.join("changes/upper"));
    let pending = Pending::open(&workspace, &case.join("changes"), None).unwrap();
    let set = pending.read().unwrap();
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    let stopped = applied.stopped.expect("the disk is full");
    assert_eq!(stopped.kind(), std::io::ErrorKind::StorageFull);
    assert!(pending.interrupted());
    assert_eq!(applied.done.len() + applied.left.len(), 40);
    assert!(
        applied.done.len() > 10 && applied.left.len() > 10,
        "{:?}",
        applied.done
    );
    for (path, entry) in tree::read(&workspace) {
        let whole = [&old, &new].map(|tree| tree.get(&path).map(|entry| &entry.contents));
        assert!(whole.contains(&Some(&entry.contents)), "{path:?}");
    }
    // As full as before: nothing is lost, and nothing gets worse.
    let again = pending.resume().unwrap();
    assert!(again.stopped.is_some() && pending.interrupted());
    mount_remount(&workspace, MountFlags::empty(), size(8192).as_c_str()).unwrap();
    let resumed = pending.resume().unwrap();
    assert!(
        resumed.stopped.is_none() && resumed.left.is_empty(),
        "{resumed:?}"
    );
    assert_eq!(resumed.done.len(), 40);
    let now = tree::read(&workspace);
    assert_eq!(tree::differences(&new, &now, &old), [""; 0]);
    assert!(!pending.interrupted() && pending.read().unwrap().is_empty());
}

fn state_is_full(case: &Path) {
    let changes = case.join("changes");
    fs::create_dir_all(case.join("workspace")).unwrap();
    fs::create_dir_all(&changes).unwrap();
    mount(
        "full",
        &changes,
        "tmpfs",
        MountFlags::empty(),
        Some(size(512).as_c_str()),
    )
    .unwrap();
    fs::write(case.join("workspace/f"), "old").unwrap();
    begin(case);
    for n in 0..20 {
        fs::write(case.join(format!("changes/upper/{n}")), "new").unwrap();
    }
    let mut filler = fs::File::create(changes.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    let pending = Pending::open(&case.join("workspace"), &changes, None).unwrap();
    let set = pending.read().unwrap();
    let error = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(!pending.interrupted());
    assert_eq!(
        tree::read(&case.join("workspace")).len(),
        1,
        "nothing was done"
    );
    drop(filler);
    fs::remove_file(changes.join("filler")).unwrap();
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    assert_eq!(applied.done.len(), 20);
}
