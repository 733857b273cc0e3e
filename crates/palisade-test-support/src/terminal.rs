//! A program on a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{Invocation, PATIENCE, wait};

/// Between two looks at the screen.
const POLL: Duration = Duration::from_millis(10);

/// A running program and the terminal it believes to be on. The program is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    controller: File,
    output: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Terminal {
    /// Starts the program as the leader of a new session on a new terminal of this size.
    ///
    /// # Panics
    /// If the terminal cannot be had or the program not be started.
    pub fn start(invocation: &Invocation, rows: u16, columns: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("open a terminal");
        grantpt(&controller).expect("grant the terminal");
        unlockpt(&controller).expect("unlock the terminal");
        let name = ptsname(&controller, Vec::new()).expect("name the terminal");
        tcsetwinsize(&controller, size(rows, columns)).expect("set the window size");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let side: OwnedFd = open(&name, flags, Mode::empty()).expect("open the terminal's side");
        // As login does, so that the program may open its terminal by name.
        invocation.who.own(std::path::Path::new(
            name.to_str().expect("a plain device name"),
        ));
        let end = || Stdio::from(side.try_clone().expect("copy a descriptor"));
        let child = on_terminal(invocation)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", invocation.program.display()));
        let controller = File::from(controller);
        let output = Arc::default();
        collect(
            controller.try_clone().expect("copy a descriptor"),
            Arc::clone(&output),
        );
        Self {
            child,
            controller,
            output,
            seen: 0,
        }
    }

    /// Types these bytes.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn type_keys(&mut self, keys: &str) {
        self.controller
            .write_all(keys.as_bytes())
            .expect("type on the terminal");
    }

    /// Changes the window's size; the foreground programs are told.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(self.controller.as_fd(), size(rows, columns)).expect("set the window size");
    }

    /// Waits until a text appears after what the last call found.
    ///
    /// # Panics
    /// If it does not appear within a minute.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        assert!(
            self.shows(text, PATIENCE),
            "{text:?} did not appear\n--- screen\n{}",
            self.screen()
        );
    }

    /// Whether a text appears after what the last call found, in this time.
    pub fn shows(&mut self, text: &str, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let output = self.output();
            if let Some(at) = find(&output[self.seen..], text.as_bytes()) {
                self.seen += at + text.len();
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.output()).into_owned()
    }

    /// Waits for the program's end and yields its exit status, 128 + N for a signal N.
    ///
    /// # Panics
    /// If it still runs after a minute.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let status = wait(&mut self.child, Instant::now() + PATIENCE);
        status.unwrap_or_else(|| panic!("it did not end\n--- screen\n{}", self.screen()))
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn output(&self) -> Vec<u8> {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `setsid --ctty` makes the terminal the program's own, which would need unsafe code here. It does not fork, since a
/// fresh child leads no process group.
fn on_terminal(invocation: &Invocation) -> Command {
    let mut command = Command::new("/usr/bin/setsid");
    command
        .arg("--ctty")
        .arg(&invocation.program)
        .args(&invocation.arguments)
        .env_clear()
        .envs(
            invocation
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .current_dir(&invocation.directory);
    invocation.who.apply(&mut command);
    command
}

fn collect(mut from: File, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Reading fails with EIO when the last program on the terminal has ended.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&buffer[..length]);
        }
    });
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
