//! What runs in namespaces of its own: with an overlay, and with a right to every file of its user.

use std::ffi::{CString, OsString};
use std::path::Path;

use rustix::mount::MountFlags;

use crate::operation::{self, Operation};
use crate::tree;

/// Runs the operations of a file on a plain folder and on an overlay. Arguments: the folder of the case.
pub(crate) fn operate(arguments: &[OsString]) {
    let case = Path::new(&arguments[0]);
    let operations = operation::load(&case.join("operations"));
    run(&operations, &case.join("direct"));
    overlay(case, |merged| run(&operations, merged));
}

/// Mounts the overlay of a case and works on it.
pub(crate) fn overlay(case: &Path, work: impl FnOnce(&Path)) {
    let merged = case.join("merged");
    std::fs::create_dir_all(&merged).unwrap();
    let options = format!(
        "userxattr,index=off,lowerdir={0}/workspace,upperdir={0}/changes/upper,workdir={0}/changes/work",
        case.display()
    );
    let options = CString::new(options).unwrap();
    rustix::mount::mount(
        "overlay",
        &merged,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .unwrap_or_else(|error| panic!("mount an overlay: {error}"));
    work(&merged);
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).unwrap();
}

/// Compares what both came to. Arguments: the folder of the case, and how often only some of the changes were applied.
pub(crate) fn compare(arguments: &[OsString]) {
    let case = Path::new(&arguments[0]);
    let [direct, applied, start] =
        ["direct", "workspace", "start"].map(|name| tree::read(&case.join(name)));
    let mut found = tree::differences(&direct, &applied, &start);
    if arguments[1] != "0" {
        // A folder that landed with a part of what is in it got its time then.
        found.retain(|line| !line.contains(": time "));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn run(operations: &[Operation], root: &Path) {
    for operation in operations {
        operation.run(root);
    }
}

/// Removes a case, which its user may not be able to. Arguments: the folder of the case.
pub(crate) fn clean(arguments: &[OsString]) {
    for entry in std::fs::read_dir(&arguments[0]).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
}
