//! An apply that is killed at any point leaves each path as it was or as it is to be, and is finished later.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_test_support::each_identity;
use palisade_workspace::apply::{Allow, Applied, Progress, Selection};
use palisade_workspace::changes::Pending;
use rustix::fs::{CWD, FileType};
use rustix::process::{Signal, getpid, kill_process};

use crate::again::{self, Place};
use crate::property::begin;
use crate::tree::{self, Entry, Tree};

/// Files of each kind of change.
const FILES: usize = 4;
/// A folder of the host that its owner may not write to.
const READ_ONLY: &str = "d0";
/// Kills by the clock, beside those at each step that is told of.
const KILLS: u64 = 90;

each_identity! {
    fn killed_at_any_point_and_resumed(who) {
        let place = Place::new(who, None);
        place.run("crash", &[]);
    }
}

/// Kills it at each step that is told of, then at times; the tree of every path is looked at after each.
pub(crate) fn run(_arguments: &[OsString]) {
    let steps = {
        let case = Case::new();
        let mut steps = 0;
        applied(&case.folder, &mut |_| steps += 1);
        case.is_finished();
        steps
    };
    assert!(steps > 8 * FILES, "{steps} steps are told of");
    let mut killed = 0;
    for step in 0..steps {
        let case = Case::new();
        killed += usize::from(case.kill("apply", &Kill::At(step)));
        case.each_path_is_old_or_new();
        case.finish();
    }
    assert_eq!(killed, steps);
    for number in 0..KILLS {
        let case = Case::new();
        case.kill(
            "apply",
            &Kill::After(Duration::from_micros(2000 + number * 300)),
        );
        case.each_path_is_old_or_new();
        // Resuming may be cut short as well.
        case.kill(
            "resume",
            &Kill::After(Duration::from_micros(2000 + number * 100)),
        );
        case.each_path_is_old_or_new();
        if number % 3 == 0 {
            case.give_up();
        }
        case.finish();
    }
}

enum Kill {
    At(usize),
    After(Duration),
}

/// Applies, and kills itself at a step. Arguments: the folder of the case, the step.
pub(crate) fn apply(arguments: &[OsString]) {
    let at: usize = arguments[1].to_str().unwrap().parse().unwrap();
    let mut steps = 0;
    applied(Path::new(&arguments[0]), &mut |_| {
        if steps == at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        steps += 1;
    });
}

/// Resumes. Arguments: the folder of the case.
pub(crate) fn resume(arguments: &[OsString]) {
    pending(Path::new(&arguments[0])).resume().unwrap();
}

fn pending(case: &Path) -> Pending {
    Pending::open(&case.join("workspace"), &case.join("changes"), None).unwrap()
}

fn applied(case: &Path, progress: &mut dyn FnMut(Progress)) -> Applied {
    let pending = pending(case);
    let set = pending.read().unwrap();
    // Text as of a chosen hunk, which the upper does not have.
    let selection = Selection::all().with_contents("part", b"half".to_vec());
    pending
        .apply_with(&set, &selection, &Allow::default(), progress)
        .unwrap()
}

struct Case {
    folder: PathBuf,
    _owner: tempfile::TempDir,
    old: Tree,
    new: Tree,
}

impl Case {
    fn new() -> Self {
        // In memory where there is such a place: a kill loses nothing that a kernel holds, and hundreds of syncs take minutes.
        let owner = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir_in("."));
        let owner = owner.unwrap();
        let folder = owner.path().canonicalize().unwrap();
        for root in ["workspace", "wanted"] {
            host(&folder.join(root));
        }
        begin(&folder);
        upper(&folder.join("changes/upper"));
        wanted(&folder.join("wanted"));
        Self {
            old: tree::read(&folder.join("workspace")),
            new: tree::read(&folder.join("wanted")),
            folder,
            _owner: owner,
        }
    }

    /// Lets its owner remove it.
    fn open_folders(&self) {
        for root in ["workspace", "wanted", "changes/upper"] {
            open_folders(&self.folder.join(root));
        }
    }

    /// Whether it was killed before it ended.
    fn kill(&self, part: &str, kill: &Kill) -> bool {
        let at = match kill {
            Kill::At(step) => step.to_string(),
            Kill::After(_) => usize::MAX.to_string(),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        again::again(&mut command, part, &[self.folder.clone().into(), at.into()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        if let Kill::After(time) = kill {
            std::thread::sleep(*time);
            child.kill().unwrap();
        }
        child.wait().unwrap().signal() == Some(Signal::KILL.as_raw())
    }

    fn each_path_is_old_or_new(&self) {
        let now = tree::read(&self.folder.join("workspace"));
        let paths: std::collections::BTreeSet<&PathBuf> =
            self.old.keys().chain(self.new.keys()).collect();
        for path in paths {
            let state = now.get(path).map(known);
            let allowed = [self.old.get(path).map(known), self.new.get(path).map(known)];
            assert!(
                allowed.contains(&state),
                "{path:?} is {state:?}, not {allowed:?}"
            );
        }
        let other = now.keys().find(|path| {
            let temporary = path
                .components()
                .any(|part| part.as_os_str().as_bytes().starts_with(b".palisade-"));
            !temporary && !self.old.contains_key(*path) && !self.new.contains_key(*path)
        });
        assert_eq!(other, None);
    }

    /// What landed stays, and nothing temporary.
    fn give_up(&self) {
        let pending = pending(&self.folder);
        pending.give_up().unwrap();
        assert!(!pending.interrupted());
        self.each_path_is_old_or_new();
        self.nothing_temporary();
    }

    /// Resumes if there is something to, and applies what then is pending.
    fn finish(&self) {
        let pending = pending(&self.folder);
        let resumed = pending.resume().unwrap();
        assert!(
            resumed.left.is_empty() && resumed.stopped.is_none(),
            "{resumed:?}"
        );
        assert!(!pending.interrupted());
        self.nothing_temporary();
        // It was killed before the journal was whole, or given up.
        if pending.read().unwrap().changes().len() > 1 {
            let applied = applied(&self.folder, &mut |_| {});
            assert!(applied.left.is_empty(), "{applied:?}");
        }
        self.is_finished();
    }

    fn nothing_temporary(&self) {
        for name in ["journal", "staged", "removed", "shell"] {
            assert!(!self.folder.join("changes").join(name).exists(), "{name}");
        }
        for path in tree::read(&self.folder.join("workspace")).keys() {
            let name = path.file_name().unwrap().as_bytes();
            assert!(!name.starts_with(b".palisade-"), "{path:?}");
        }
    }

    fn is_finished(&self) {
        let now = tree::read(&self.folder.join("workspace"));
        let differences = tree::differences(&self.new, &now, &self.old);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let set = pending(&self.folder).read().unwrap();
        let pending: Vec<_> = set.changes().iter().collect();
        assert_eq!(pending.len(), 1, "all but the other half: {pending:?}");
        assert!(pending[0].path == Path::new("part") && pending[0].conflict.is_none());
        let left: Vec<_> = fs::read_dir(self.folder.join("changes/upper"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1);
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.open_folders();
    }
}

fn open_folders(root: &Path) {
    chmod(root, 0o755);
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            open_folders(&path);
        }
    }
}

/// A folder gets its bits in the end.
fn known(entry: &Entry) -> (String, u32, Vec<u8>) {
    let mode = if entry.kind == "folder" {
        0
    } else {
        entry.mode
    };
    (entry.kind.clone(), mode, entry.contents.clone())
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text.repeat(200)).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn host(root: &Path) {
    write(&root.join("part"), "old");
    for n in 0..FILES {
        for kind in ["edited", "gone", "bits", "tofolder", "tolink"] {
            write(&root.join(format!("d{}/{kind}{n}", n % 3)), "old");
        }
        write(&root.join(format!("tree{n}/x/y")), "old");
        write(&root.join(format!("tofile{n}/x")), "old");
        symlink("old", root.join(format!("link{n}"))).unwrap();
    }
    chmod(&root.join(READ_ONLY), 0o555);
}

fn upper(root: &Path) {
    let whiteout = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, 0.into(), 0).unwrap();
    };
    session(root, &whiteout);
    for n in 0..FILES {
        let bits = root.join(format!("d{}/bits{n}", n % 3));
        write(&bits, "old");
        chmod(&bits, 0o700);
    }
    write(&root.join("part"), "new");
    chmod(&root.join(READ_ONLY), 0o555);
}

fn wanted(root: &Path) {
    chmod(&root.join(READ_ONLY), 0o755);
    let remove = |path: PathBuf| {
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    };
    for n in 0..FILES {
        chmod(&root.join(format!("d{}/bits{n}", n % 3)), 0o700);
        remove(root.join(format!("d{}/tofolder{n}", n % 3)));
        remove(root.join(format!("d{}/tolink{n}", n % 3)));
        remove(root.join(format!("tofile{n}")));
        remove(root.join(format!("link{n}")));
    }
    session(root, &remove);
    fs::write(root.join("part"), "half").unwrap();
    chmod(&root.join(READ_ONLY), 0o555);
}

/// What the session did, `remove` being how it is removed there.
fn session(root: &Path, remove: &dyn Fn(PathBuf)) {
    for n in 0..FILES {
        let folder = format!("d{}", n % 3);
        write(&root.join(format!("{folder}/edited{n}")), "new");
        remove(root.join(format!("{folder}/gone{n}")));
        write(&root.join(format!("{folder}/tofolder{n}/inner")), "new");
        symlink("new", root.join(format!("{folder}/tolink{n}"))).unwrap();
        remove(root.join(format!("tree{n}")));
        write(&root.join(format!("tofile{n}")), "new");
        symlink("new", root.join(format!("link{n}"))).unwrap();
        write(&root.join(format!("new{n}/deep/file")), "new");
        let twin = root.join(format!("new{n}/twin"));
        fs::hard_link(root.join(format!("new{n}/deep/file")), twin).unwrap();
        chmod(&root.join(format!("new{n}/deep")), 0o555);
    }
}
