//! Interactive use: keys that send signals, stopping and going on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{Killed, Who, as_everybody, eventually};

/// A session with a terminal of its own.
struct Terminal {
    supervisor: Killed,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn open(who: Who, script: &str) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("pseudo terminal");
        grantpt(&ours)
            .and_then(|()| unlockpt(&ours))
            .expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("name");
        let path = PathBuf::from(name.to_str().expect("utf-8"));
        who.give(&path);
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&path, flags, Mode::empty()).expect("opened");
        let enter = who.enter(&["system", "foreground"], &["/bin/bash", "-c", script]);
        // Makes the terminal its session's; without a fork, since it leads no process group yet.
        let mut command = who.command("setsid");
        command
            .arg("--ctty")
            .arg(enter.get_program())
            .args(enter.get_args());
        let stream = || Stdio::from(theirs.try_clone().expect("descriptor"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let supervisor = Killed(command.spawn().expect("setsid runs"));
        let screen = watch(ours.try_clone().expect("descriptor"));
        let keyboard = File::from(ours);
        Self {
            supervisor,
            keyboard,
            screen,
            seen: String::new(),
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    #[track_caller]
    fn expect(&mut self, text: &str) {
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(Duration::from_secs(20)) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} did not appear: {:?}", self.seen),
            }
        }
    }

    #[track_caller]
    fn code(mut self) -> i32 {
        let child = &mut self.supervisor.0;
        let ended = eventually("the session ends", || child.try_wait().expect("waits"));
        ended.code().expect("code")
    }
}

/// What appears on the terminal, until it is gone.
fn watch(ours: OwnedFd) -> Receiver<Vec<u8>> {
    let (send, screen) = channel();
    std::thread::spawn(move || {
        let (mut ours, mut bytes) = (File::from(ours), [0; 1024]);
        while let Ok(length @ 1..) = ours.read(&mut bytes) {
            let _ = send.send(bytes[..length].to_vec());
        }
    });
    screen
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn the_agent_has_the_terminal() {
    as_everybody(|who| {
        let mut terminal = Terminal::open(
            who,
            "echo ready; read line < /dev/tty; echo got $line; exit 3",
        );
        terminal.expect("ready");
        terminal.type_keys("hello\n");
        terminal.expect("got hello");
        assert_eq!(terminal.code(), 3);
    });
}

#[test]
fn ctrl_c_reaches_the_agent_and_not_init() {
    as_everybody(|who| {
        let mut terminal = Terminal::open(
            who,
            "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done",
        );
        terminal.expect("ready");
        terminal.type_keys("\x03");
        terminal.expect("caught");
        assert_eq!(terminal.code(), 4);
    });
}

#[test]
fn ctrl_c_ends_an_agent_that_does_not_catch_it() {
    as_everybody(|who| {
        let mut terminal = Terminal::open(who, "echo ready; exec sleep 1000");
        terminal.expect("ready");
        terminal.type_keys("\x03");
        assert_eq!(terminal.code(), 130);
    });
}

#[test]
fn ctrl_z_stops_the_session_and_it_goes_on() {
    as_everybody(|who| {
        let mut terminal = Terminal::open(who, "echo ready; read line; echo got $line");
        terminal.expect("ready");
        terminal.type_keys("\x1a");
        let supervisor = terminal.supervisor.0.id();
        let stopped = || (state(supervisor) == Some('T')).then_some(());
        eventually("the supervisor stopped", stopped);
        let pid = Pid::from_raw(supervisor.cast_signed()).expect("pid");
        kill_process(pid, Signal::CONT).expect("continued");
        terminal.type_keys("again\n");
        terminal.expect("got again");
        assert_eq!(terminal.code(), 0);
    });
}

#[test]
fn the_terminal_can_be_opened_again_as_a_stream() {
    as_everybody(|who| {
        // A terminal of root's cannot be opened by root's agent, who is another user; /dev/tty can.
        let place = if who == Who::Root {
            "/dev/tty"
        } else {
            "/dev/stderr"
        };
        let script = format!("echo told > {place} && stty -F {place} size");
        let mut terminal = Terminal::open(who, &script);
        terminal.expect("told");
        assert_eq!(terminal.code(), 0);
    });
}

#[test]
fn resizing_is_seen() {
    as_everybody(|who| {
        let script = "trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.05; done";
        let mut terminal = Terminal::open(who, script);
        terminal.expect("ready");
        let size = Winsize {
            ws_row: 45,
            ws_col: 123,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal.keyboard, size).expect("resized");
        terminal.expect("45 123");
        assert_eq!(terminal.code(), 5);
    });
}
