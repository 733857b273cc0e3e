//! Many changes, and names and paths of any kind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use palisade_test_support::{Identity, Outcome, conclude, each_identity};
use palisade_workspace::apply::{Allow, Selection};
use palisade_workspace::changes::{ChangeKind, Pending};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, mount};

use crate::again::{self, Place, inside, shown};
use crate::property::begin;

/// As many as the largest trees of dependencies have.
const MANY: usize = 200_000;

/// By one identity alone: it takes most of a minute without optimization.
#[test]
fn two_hundred_thousand_files_land() {
    let test = || -> Outcome {
        again::needs()?;
        Place::new(Identity::User, None).run("large", &["many".into()]);
        Ok(())
    };
    conclude("two_hundred_thousand_files_land", test());
}

each_identity! {
    fn names_of_all_bytes_and_paths_of_four_thousand_land_and_are_discarded(who) {
        again::needs()?;
        Place::new(who, None).run("large", &["names".into()]);
    }
}

/// Starts itself where it may mount. Arguments: which one.
pub(crate) fn run(arguments: &[OsString]) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let case = folder.path().canonicalize().unwrap();
    let part = arguments[0].to_str().unwrap();
    let output = inside(part, &[case.into()]);
    assert!(output.status.success(), "{}", shown(&output));
}

/// Arguments: the folder of the case.
pub(crate) fn many(arguments: &[OsString]) {
    let case = Path::new(&arguments[0]).join("many");
    fs::create_dir_all(&case).unwrap();
    // In memory: what is measured is not the disk of the machine.
    mount("many", &case, "tmpfs", MountFlags::empty(), None).unwrap();
    fs::create_dir(case.join("workspace")).unwrap();
    for n in 0..MANY / 4 {
        let path = case.join(format!("workspace/old/{}/{n}", n % 100));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "old").unwrap();
    }
    begin(&case);
    for n in 0..MANY * 3 / 4 {
        let path = case.join(format!("changes/upper/new/{}/{n}", n % 100));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "new").unwrap();
    }
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, case.join("changes/upper/old"), kind, 0.into(), 0).unwrap();
    let pending = Pending::open(&case.join("workspace"), &case.join("changes"), None).unwrap();
    let set = pending.read().unwrap();
    assert_eq!(set.changes().len(), MANY + 2 * 101);
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    assert_eq!(applied.done.len(), set.changes().len());
    assert!(applied.left.is_empty());
    assert!(!case.join("workspace/old").exists());
    assert_eq!(fs::read(case.join("workspace/new/7/7")).unwrap(), b"new");
    assert!(pending.read().unwrap().is_empty());
}

/// Arguments: the folder of the case.
pub(crate) fn names(arguments: &[OsString]) {
    let case = Path::new(&arguments[0]);
    fs::create_dir_all(case.join("workspace")).unwrap();
    begin(case);
    let odd: [&[u8]; 5] = [b"new\nline", b"\xff\xfe", b" ", b"\x1b[2J", b"-rf"];
    let mut wanted: Vec<PathBuf> = odd
        .iter()
        .map(|name| OsStr::from_bytes(name).into())
        .collect();
    wanted.push("n".repeat(255).into());
    // With the folder of the case this is longer than any one path may be.
    let deep: PathBuf = std::iter::repeat_n("d".repeat(249), 16).collect();
    wanted.push(deep.join("f"));
    assert_eq!(wanted.last().unwrap().as_os_str().len(), 4001);
    let upper = case.join("changes/upper");
    for path in &wanted {
        create(&upper, path);
    }
    let pending = Pending::open(&case.join("workspace"), &case.join("changes"), None).unwrap();
    let set = pending.read().unwrap();
    for path in &wanted {
        let change = set.get(path).unwrap();
        assert_eq!(change.kind, ChangeKind::Added);
        assert!(pending.open_after(change).is_ok());
    }
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    assert!(applied.left.is_empty(), "{:?}", applied.left);
    for path in &wanted {
        let folder = walk(&case.join("workspace"), path.parent().unwrap());
        let name = path.file_name().unwrap();
        let stat = rustix::fs::statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        assert_eq!(stat.unwrap().st_size, 3, "{path:?}");
    }
    assert!(pending.read().unwrap().is_empty());
    // Deeper than any path: refused, and thrown away all the same.
    let deeper: PathBuf = std::iter::repeat_n("e".repeat(200), 60).collect();
    create(&upper, &deeper.join("f"));
    create(&upper, &deep.join("g"));
    let set = pending.read().unwrap();
    assert_eq!(set.refused().len(), 1);
    let discarded = pending
        .discard(&set, &Selection::paths(["d".repeat(249)]))
        .unwrap();
    assert!(discarded.left.is_empty(), "{:?}", discarded.left);
    let set = pending.read().unwrap();
    assert!(set.get(&deep.join("g")).is_none() && !set.is_empty());
    pending.discard(&set, &Selection::all()).unwrap();
    assert!(pending.read().unwrap().is_empty());
    assert_eq!(fs::read_dir(upper).unwrap().count(), 0);
}

/// The folder at a path below another, one name after the other; made where it is missing.
fn walk(root: &Path, path: &Path) -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for name in path {
        let _ = rustix::fs::mkdirat(&folder, name, Mode::from(0o755));
        folder = rustix::fs::openat(&folder, name, flags, Mode::empty()).unwrap();
    }
    folder
}

fn create(root: &Path, path: &Path) {
    let folder = walk(root, path.parent().unwrap());
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let name = path.file_name().unwrap();
    let file = rustix::fs::openat(folder.as_fd(), name, flags, Mode::from(0o644)).unwrap();
    rustix::io::write(file, b"new").unwrap();
}
