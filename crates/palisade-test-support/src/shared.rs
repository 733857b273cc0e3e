//! Programs that every test of a run shares, copied to where an ordinary user can run them: the build folder and the
//! checkout may be closed to others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Names the folder that holds the copies. A runner that sets it removes it; without it they stay in the system's
/// temporary folder, one for each build.
const FOLDER: &str = "PALISADE_TEST_SHARED";

/// The copy of a program, made by whichever test is first.
///
/// # Panics
/// If it cannot be made.
pub(crate) fn copy(program: &Path) -> PathBuf {
    let found = fs::metadata(program)
        .unwrap_or_else(|error| panic!("look at {}: {error}", program.display()));
    let name = program.file_name().expect("a program has a name");
    let parent = std::env::var_os(FOLDER).map_or_else(std::env::temp_dir, PathBuf::from);
    let uid = rustix::process::geteuid().as_raw();
    let (time, nanoseconds) = (found.mtime(), found.mtime_nsec());
    let folder = parent.join(format!(
        "palisade-test-copy-{uid}-{}-{time}-{nanoseconds}",
        found.len()
    ));
    let copy = folder.join(name);
    if copy.exists() {
        return copy;
    }
    fs::create_dir_all(&folder).expect("make a folder for the copy");
    set_mode(&folder);
    let fresh = tempfile::NamedTempFile::new_in(&folder).expect("make a file for the copy");
    fs::copy(program, fresh.path()).expect("copy the program");
    set_mode(fresh.path());
    // Several test processes may do this at once: the first has put it there, and a program that runs already is not
    // replaced, since it would not find itself any more.
    let put = fresh.into_temp_path().persist_noclobber(&copy);
    assert!(
        put.is_ok() || copy.exists(),
        "put the copy in its place: {put:?}"
    );
    copy
}

/// Puts a copy of a program beside another copy, unless it is there already and not older.
///
/// # Panics
/// If it cannot be made.
pub(crate) fn put_beside(copy: &Path, program: &Path) {
    let name = program.file_name().expect("a program has a name");
    let place = copy.with_file_name(name);
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    if changed(&place).is_some_and(|there| Some(there) >= changed(program)) {
        return;
    }
    let folder = copy.parent().expect("a copy lies in a folder");
    let fresh = tempfile::NamedTempFile::new_in(folder).expect("make a file for the copy");
    fs::copy(program, fresh.path()).expect("copy the program");
    set_mode(fresh.path());
    let fresh = fresh.into_temp_path();
    fresh.persist(&place).expect("put the copy in its place");
}

fn set_mode(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set permissions");
}
