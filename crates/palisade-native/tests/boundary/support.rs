//! Running commands inside, as one user or another.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// An ordinary user's id. No account is needed for it.
const ORDINARY: u32 = 1000;
/// The id outside that the example gives to an agent run by root.
pub(crate) const AGENT_OF_ROOT: u32 = 64_123;
/// Longest wait for something that takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who runs palisade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// An ordinary user, with this id.
    User(u32),
}

/// Runs a test as everybody it can: as root and as an ordinary user if the tests are run by root.
pub(crate) fn as_everybody(test: impl Fn(Who)) {
    let own = rustix::process::geteuid().as_raw();
    if own == 0 {
        test(Who::Root);
        test(Who::User(ORDINARY));
    } else {
        skipped("the part as root: the tests are not run by root");
        test(Who::User(own));
    }
}

/// Runs a test as root, if the tests are run by root.
pub(crate) fn as_root(test: impl Fn(Who)) {
    if rustix::process::geteuid().is_root() {
        test(Who::Root);
    } else {
        skipped("all of it: the tests are not run by root");
    }
}

#[allow(clippy::print_stderr)]
fn skipped(what: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped in {name}: {what}");
}

impl Who {
    /// Who the agent is outside.
    pub(crate) fn agent_outside(self) -> u32 {
        match self {
            Self::Root => AGENT_OF_ROOT,
            Self::User(id) => id,
        }
    }

    fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::User(id) => id,
        }
    }

    /// A command that this user runs.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if self.id() != rustix::process::geteuid().as_raw() {
            command.uid(self.id()).gid(self.id());
        }
        command.stdin(Stdio::null());
        command
    }

    /// `enter` with these options and this command.
    pub(crate) fn enter(self, options: &[&str], command: &[&str]) -> Command {
        let mut enter = self.command(enter());
        enter.args(options).arg("--").args(command);
        enter
    }

    /// What a shell script says inside.
    pub(crate) fn shell(self, options: &[&str], script: &str) -> Said {
        let options = [&["system"], options].concat();
        let mut command = self.enter(&options, &["/bin/bash", "-c", script]);
        Said::of(&command.output().expect("enter starts"))
    }

    /// A new directory of this user's.
    pub(crate) fn directory(self) -> TempDir {
        let directory = TempDir::new().expect("directory");
        self.give(directory.path());
        directory
    }

    /// A new directory for the changes of an overlay, made for the agent of this user.
    pub(crate) fn changes(self, workspace: &Path) -> TempDir {
        let directory = TempDir::new().expect("directory");
        let mode = fs::metadata(workspace).expect("workspace").permissions();
        for name in ["upper", "work"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).expect("create");
            fs::set_permissions(&path, mode.clone()).expect("mode");
            self.give_agent(&path);
        }
        self.give_agent(directory.path());
        directory
    }

    /// Makes a path the agent's, as it is outside.
    fn give_agent(self, path: &Path) {
        if rustix::process::geteuid().is_root() {
            let agent = self.agent_outside();
            chown(path, Some(agent), Some(agent)).expect("chown");
        }
    }

    /// Makes a path this user's.
    pub(crate) fn give(self, path: &Path) {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(self.id()), Some(self.id())).expect("chown");
        }
    }

    /// A file of this user's.
    pub(crate) fn file(self, path: &Path, content: &str) {
        fs::write(path, content).expect("write");
        self.give(path);
    }
}

/// A new directory of this user's with these directories in it.
pub(crate) fn workspace(who: Who, names: &[&str]) -> TempDir {
    let directory = who.directory();
    for name in names {
        let path = directory.path().join(name);
        fs::create_dir_all(&path).expect("create");
        who.give(&path);
    }
    directory
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output
                .status
                .code()
                .unwrap_or_else(|| 1000 + output.status.signal().unwrap_or(0)),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Its output, of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// The example, where every user can run it. One copy for each build, put there in one step, so that test processes
/// beside each other can share it.
fn enter() -> &'static Path {
    static ENTER: OnceLock<PathBuf> = OnceLock::new();
    ENTER.get_or_init(|| {
        let tests = std::env::current_exe().expect("own path");
        let target = tests.ancestors().nth(2).expect("target directory");
        let built = target.join("examples/enter");
        let metadata = fs::metadata(&built)
            .unwrap_or_else(|e| panic!("{} (cargo build --examples): {e}", built.display()));
        let own = rustix::process::geteuid().as_raw();
        let directory = std::env::temp_dir().join(format!("palisade-tests-{own}"));
        // Somebody else's directory would be somebody else's program.
        if fs::create_dir(&directory).is_err() {
            let owner = fs::symlink_metadata(&directory).expect("directory");
            assert!(
                owner.is_dir() && owner.uid() == own,
                "{} is taken",
                directory.display()
            );
        }
        let age = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        let copy = directory.join(format!("enter-{}-{}-{}", age.0, age.1, age.2));
        if !copy.exists() {
            let new = directory.join(format!("new-{}", std::process::id()));
            fs::copy(&built, &new).expect("copy");
            for path in [&directory, &new] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
            }
            fs::rename(&new, &copy).expect("rename");
        }
        copy
    })
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = is_so() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A number of seconds to sleep that nothing else on the machine sleeps for.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}.{}",
        100_000 + std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A command as a shell takes it.
pub(crate) fn in_words(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let quoted = words.map(|word| word.to_str().expect("utf-8").replace('\'', r"'\''"));
    quoted
        .map(|word| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The processes of the machine whose command line holds a text.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.starts_with("sleep") && line.contains(text)
        })
        .collect()
}

/// A running command, killed at the end of the test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
