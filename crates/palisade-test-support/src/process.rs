//! Running a program with a time limit and all its output kept.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::identity::Identity;

/// Long enough for the slowest client on a loaded two-core machine (about ten times what Claude Code needs on an idle
/// one), short enough that a hang shows in a run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a pipe may stay open after the program that got it has ended. Nothing outlives a session.
const HELD_OPEN: Duration = Duration::from_secs(5);
/// Between two looks at a child. Starting a session takes single milliseconds.
const POLL: Duration = Duration::from_millis(5);

/// A program about to be run.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(crate) who: Identity,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: PathBuf,
    stdin: Input,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Input {
    Nothing,
    Closed,
    Bytes(Vec<u8>),
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit status; 128 + N for a signal N.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Invocation {
    pub(crate) fn new(who: Identity, program: &Path, directory: &Path) -> Self {
        Self {
            who,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: directory.into(),
            stdin: Input::Nothing,
            patience: PATIENCE,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs in another directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.into();
        self
    }

    /// Gives these bytes on standard input. Without this it is `/dev/null`.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Starts it without any standard input: descriptor 0 is closed.
    #[must_use]
    pub fn without_stdin(mut self) -> Self {
        self.stdin = Input::Closed;
        self
    }

    /// Allows more, or less, time than a minute.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started or does not end in time.
    pub fn run(self) -> Finished {
        let started = Instant::now();
        let patience = self.patience;
        let shown = format!("{} {:?}", self.program.display(), self.arguments);
        let bytes = match &self.stdin {
            Input::Bytes(bytes) => Some(bytes.clone()),
            Input::Nothing | Input::Closed => None,
        };
        let mut child = self.spawn();
        let writer = bytes.zip(child.stdin.take()).map(|(bytes, mut pipe)| {
            // A program may end without reading what it was given.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = wait(&mut child, started + patience);
        let timed_out = status.is_none();
        if timed_out {
            // The child alone: it is ours, and what it started ends with it or the test fails for that reason.
            child.kill().ok();
            child.wait().ok();
        }
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        drop(writer);
        assert!(
            !timed_out,
            "{shown} did not end within {patience:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        Finished {
            status: status.expect("it ended"),
            stdout,
            stderr,
            elapsed: started.elapsed(),
        }
    }

    /// Starts it and lets it run. Standard output and error are pipes.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(&self) -> Child {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match self.stdin {
            Input::Bytes(_) => Stdio::piped(),
            Input::Nothing | Input::Closed => Stdio::null(),
        });
        start(&mut command)
    }

    /// The command, for tests that wire descriptors themselves.
    pub fn command(&self) -> Command {
        let mut command = if matches!(self.stdin, Input::Closed) {
            // Only a shell can leave a descriptor closed without unsafe code here.
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", "exec \"$0\" \"$@\" <&-"])
                .arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory);
        self.who.apply(&mut command);
        command
    }
}

impl Finished {
    /// Asserts the exit status, showing all output if it is another.
    ///
    /// # Panics
    /// If the status differs.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Asserts that standard error contains a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_error(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not on stderr\n{self}"
        );
        self
    }

    /// Asserts that standard output contains a text.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_output(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "{text:?} is not on stdout\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "status {} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.status, self.elapsed, self.stdout, self.stderr
        )
    }
}

/// Waits for a child until a moment. `None` if it still runs then.
pub(crate) fn wait(child: &mut Child, until: Instant) -> Option<i32> {
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            );
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Starts a program. Another thread of the test process may be writing the same file or forking while it is open for
/// writing, which the kernel answers with ETXTBSY for a moment.
fn start(command: &mut Command) -> Child {
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(POLL);
            }
            other => return other.unwrap_or_else(|error| panic!("start {command:?}: {error}")),
        }
    }
    panic!("start {command:?}: the file stayed busy")
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Receiver<Vec<u8>>> {
    pipe.map(|mut pipe| {
        let (done, result) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).ok();
            done.send(bytes).ok();
        });
        result
    })
}

fn collect(reader: Option<Receiver<Vec<u8>>>) -> String {
    let bytes = reader.map_or_else(Vec::new, |reader| {
        reader
            .recv_timeout(HELD_OPEN)
            .expect("something outlived the program and holds its output open")
    });
    String::from_utf8_lossy(&bytes).into_owned()
}
