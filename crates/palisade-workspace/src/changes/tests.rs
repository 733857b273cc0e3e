//! Reading uppers made by hand. Those that the kernel made are in `tests/overlay`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, XattrFlags};

use super::beneath::Beneath;
use super::*;

/// A workspace and a folder of changes.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// `host` are files below the workspace, made before the session began.
    pub(crate) fn new(host: &[&str]) -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["workspace", "changes/upper", "changes/work"] {
            fs::create_dir_all(fixture.folder.path().join(folder)).unwrap();
        }
        for path in host {
            write(&fixture.host(path), path);
        }
        // The kernel's clock for files goes by ticks.
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&fixture.changes().join("began"), "");
        fixture
    }

    pub(crate) fn host(&self, path: &str) -> PathBuf {
        self.folder.path().join("workspace").join(path)
    }

    pub(crate) fn upper(&self, path: &str) -> PathBuf {
        self.changes().join("upper").join(path)
    }

    pub(crate) fn changes(&self) -> PathBuf {
        self.folder.path().join("changes")
    }

    pub(crate) fn pending(&self) -> Pending {
        Pending::open(&self.host(""), &self.changes(), None).unwrap()
    }

    fn read(&self) -> ChangeSet {
        self.pending().read().unwrap()
    }

    /// Each change as a line: kind, path, and `!` for a conflict.
    pub(crate) fn shown(&self) -> Vec<String> {
        let set = self.read();
        let line = |change: &Change| {
            let mark = if change.conflict.is_some() { "!" } else { "" };
            format!("{:?} {}{mark}", change.kind, change.path.display())
        };
        set.changes().iter().map(line).collect()
    }
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn whiteout(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, 0.into(), 0).unwrap();
}

pub(crate) fn mark(path: &Path, name: &str, value: &str) {
    fs::create_dir_all(path).unwrap();
    rustix::fs::setxattr(path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
}

#[test]
fn each_kind_of_change_is_told() {
    let f = Fixture::new(&[
        "same", "touched", "edited", "gone", "mode", "tree/a", "tree/b/c", "kind", "link",
        "folder/x",
    ]);
    write(&f.upper("touched"), "touched");
    write(&f.upper("edited"), "editeD");
    write(&f.upper("new/file"), "n");
    whiteout(&f.upper("gone"));
    whiteout(&f.upper("never"));
    whiteout(&f.upper("tree"));
    write(&f.upper("mode"), "mode");
    fs::set_permissions(f.upper("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    write(&f.upper("kind/now-a-folder"), "");
    symlink("same", f.upper("link")).unwrap();
    write(&f.upper("folder"), "now a file");
    assert_eq!(
        f.shown(),
        [
            "Changed edited",
            "Type folder",
            "Removed folder/x",
            "Removed gone",
            "Type kind",
            "Added kind/now-a-folder",
            "Type link",
            "Mode mode",
            "Added new",
            "Added new/file",
            "Removed tree",
            "Removed tree/a",
            "Removed tree/b",
            "Removed tree/b/c",
        ]
    );
}

#[test]
fn an_opaque_folder_hides_what_is_below_at_any_depth() {
    let f = Fixture::new(&["d/same", "d/gone", "d/sub/same", "d/sub/gone", "e/kept"]);
    write(&f.upper("d/same"), "d/same");
    write(&f.upper("d/sub/same"), "d/sub/same");
    write(&f.upper("e/new"), "");
    mark(&f.upper("d"), "user.overlay.opaque", "y");
    assert_eq!(
        f.shown(),
        ["Removed d/gone", "Removed d/sub/gone", "Added e/new"]
    );
}

#[test]
fn whiteouts_by_attribute_count_only_in_folders_marked_for_them() {
    let f = Fixture::new(&["d/gone", "e/emptied"]);
    for path in ["d/gone", "e/emptied"] {
        write(&f.upper(path), "");
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(f.upper(path), "user.overlay.whiteout", b"y", flags).unwrap();
    }
    mark(&f.upper("d"), "user.overlay.opaque", "x");
    assert_eq!(f.shown(), ["Removed d/gone", "Changed e/emptied"]);
}

#[test]
fn what_the_host_changed_since_is_in_conflict_unless_both_say_the_same() {
    let f = Fixture::new(&["both", "agreed", "dropped", "tree/old"]);
    write(&f.upper("both"), "agent");
    write(&f.host("both"), "person");
    write(&f.upper("agreed"), "agreed on");
    write(&f.host("agreed"), "agreed on");
    whiteout(&f.upper("dropped"));
    write(&f.host("dropped"), "still of use");
    write(&f.upper("appeared"), "agent");
    write(&f.host("appeared"), "person");
    whiteout(&f.upper("tree"));
    fs::create_dir(f.host("moved")).unwrap();
    assert_eq!(
        f.shown(),
        [
            "Changed appeared!",
            "Changed both!",
            "Removed dropped!",
            "Removed tree",
            "Removed tree/old",
        ]
    );
}

#[test]
fn what_was_moved_into_a_removed_folder_is_in_conflict() {
    let f = Fixture::new(&["build/out", "elsewhere/work"]);
    whiteout(&f.upper("build"));
    fs::rename(f.host("elsewhere"), f.host("build/elsewhere")).unwrap();
    assert_eq!(
        f.shown(),
        [
            "Removed build!",
            "Removed build/elsewhere!",
            "Removed build/elsewhere/work!",
            "Removed build/out!",
        ]
    );
}

#[test]
fn pipes_and_sockets_are_refused_and_named() {
    let f = Fixture::new(&[]);
    rustix::fs::mknodat(CWD, f.upper("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(f.upper("socket")).unwrap();
    let set = f.read();
    assert!(set.changes().is_empty());
    let refused: Vec<String> = set
        .refused()
        .iter()
        .map(|one| format!("{} {}", one.path.display(), one.reason))
        .collect();
    assert_eq!(refused, ["pipe is a pipe", "socket is a socket"]);
}

#[test]
fn a_link_is_data_on_either_side() {
    let f = Fixture::new(&["outside/secret"]);
    // A folder of the host that became a link out, and a link of the session where the host has a folder.
    symlink("/etc", f.host("etc")).unwrap();
    write(&f.upper("etc/passwd"), "agent");
    symlink("/etc/passwd", f.upper("outside")).unwrap();
    assert_eq!(
        f.shown(),
        [
            "Type etc!",
            "Added etc/passwd",
            "Type outside",
            "Removed outside/secret"
        ]
    );
    let set = f.read();
    let pending = f.pending();
    let link = set.get(Path::new("outside")).unwrap();
    assert!(pending.open_after(link).is_err());
    assert!(link.leaves_tree(&f.host("")));
    let below = set.get(Path::new("etc/passwd")).unwrap();
    assert!(pending.open_before(below).is_err());
    assert!(pending.open_after(below).is_ok());
}

#[test]
fn special_bits_are_named_and_the_overlays_own_attributes_are_not_compared() {
    let f = Fixture::new(&["run", "same"]);
    write(&f.upper("run"), "run");
    fs::set_permissions(f.upper("run"), fs::Permissions::from_mode(0o4755)).unwrap();
    write(&f.upper("same"), "same");
    let flags = XattrFlags::empty();
    let set = |name: &str| rustix::fs::setxattr(f.upper("same"), name, b"y", flags).unwrap();
    set("user.overlay.overlay.opaque");
    assert_eq!(f.shown(), ["Mode run"]);
    assert!(f.read().changes()[0].dropped.set_user_id);
    set("user.mine");
    assert_eq!(f.shown(), ["Mode run", "Attributes same"]);
}

#[test]
fn names_are_bytes_and_paths_longer_than_a_call_takes_are_refused() {
    let f = Fixture::new(&[]);
    let odd = std::ffi::OsStr::from_bytes(b"a\n\xff\x1b[31m");
    fs::write(f.upper("").join(odd), "").unwrap();
    let deep = "d/".repeat(30);
    fs::create_dir_all(f.upper(&deep)).unwrap();
    let mut folder = Beneath::open(&f.upper(""))
        .unwrap()
        .directory(Path::new(""))
        .unwrap();
    let name = "n".repeat(255);
    for _ in 0..17 {
        rustix::fs::mkdirat(&folder, &name, 0o700.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        folder = rustix::fs::openat(&folder, &name, flags, 0.into()).unwrap();
    }
    let set = f.read();
    assert!(set.get(Path::new(odd)).is_some());
    // 15 names of 255 bytes and their slashes are 3,839 bytes, 16 are 4,095.
    let long = set.at_or_below(Path::new(&name));
    assert_eq!(long.len(), 16);
    assert_eq!(set.refused().len(), 1);
    assert_eq!(set.refused()[0].reason, Refusal::TooLong);
}

fn change(path: &str) -> Change {
    Change {
        path: path.into(),
        kind: ChangeKind::Removed,
        before: None,
        after: None,
        conflict: None,
        dropped: Dropped::default(),
    }
}

#[test]
fn a_folder_is_followed_by_what_is_in_it() {
    let paths = ["a-b", "a/b", "a", "a/b/c", "b", "a.b"];
    let set = ChangeSet::new(paths.map(change).to_vec(), Vec::new());
    let shown = |changes: &[Change]| -> Vec<String> {
        let path = |c: &Change| c.path.display().to_string();
        changes.iter().map(path).collect()
    };
    assert_eq!(
        shown(set.changes()),
        ["a", "a/b", "a/b/c", "a-b", "a.b", "b"]
    );
    assert_eq!(
        shown(set.at_or_below(Path::new("a"))),
        ["a", "a/b", "a/b/c"]
    );
    assert_eq!(shown(set.at_or_below(Path::new("a/b"))), ["a/b", "a/b/c"]);
    assert_eq!(set.at_or_below(Path::new("")).len(), 6);
    assert!(set.at_or_below(Path::new("aa")).is_empty());
    assert!(set.get(Path::new("a/b/c")).is_some());
    assert!(set.get(Path::new("a/c")).is_none());
}

#[test]
fn links_that_lead_out_are_told_from_those_that_do_not() {
    let workspace = Path::new("/home/me/work");
    let inside = [
        ("a", "b"),
        ("d/a", "../b"),
        ("d/e/a", "../../b/c"),
        ("d/a", "./../b"),
        ("a", "/home/me/work"),
        ("d/a", "/home/me/work/x"),
    ];
    let outside = [
        ("a", ".."),
        ("a", "../b"),
        ("d/a", "../../b"),
        ("a", "/etc/passwd"),
        ("a", "/home/me/work2"),
        ("a", "/home/me/work/../x"),
        ("a", "b/.."),
        ("d/a", "b/../../c"),
    ];
    for (link, target) in inside {
        let leads_out = leaves(Path::new(link), Path::new(target), workspace);
        assert!(!leads_out, "{link} -> {target}");
    }
    for (link, target) in outside {
        let leads_out = leaves(Path::new(link), Path::new(target), workspace);
        assert!(leads_out, "{link} -> {target}");
    }
}

#[test]
fn bits_that_were_widened_to_read_are_still_the_agents() {
    let f = Fixture::new(&["folder/x"]);
    write(&f.upper("folder/x"), "new");
    write(&f.upper("hidden/y"), "new");
    let bits = [("folder", 0o300), ("hidden/y", 0o000), ("hidden", 0o000)];
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, mode) in bits {
        chmod(&f.upper(path), mode);
    }
    // Twice: the second time they are widened, where that was needed.
    for _ in 0..2 {
        let set = f.read();
        for (path, mode) in bits {
            let after = set.get(Path::new(path)).unwrap().after.as_ref().unwrap();
            assert_eq!(after.mode, mode, "{path}");
        }
        let pending = f.pending();
        let hidden = set.get(Path::new("hidden/y")).unwrap();
        assert!(pending.open_after(hidden).is_ok());
    }
    // What the next session sets counts again.
    chmod(&f.upper("hidden"), 0o750);
    let set = f.read();
    let after = set.get(Path::new("hidden")).unwrap().after.as_ref();
    assert_eq!(after.unwrap().mode, 0o750);
}
