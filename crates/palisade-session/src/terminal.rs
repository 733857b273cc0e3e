//! The terminal: who owns it while the agent runs, stops and resumes.
//!
//! The agent has a process group of its own, so that it cannot signal palisade or its neighbours in a pipeline
//! through a group it would share with them. That makes palisade a small job-control shell: it lends the terminal to
//! the agent's group, takes it back when the agent stops, and lends it again on resume.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use palisade_sys::signalfd::let_through;
use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// palisade's side of the terminal, if it has one.
pub(crate) struct Terminal {
    tty: Option<File>,
    own_group: Pid,
    original: Option<Termios>,
    agent_modes: Option<Termios>,
    lent: bool,
}

impl Terminal {
    /// Looks at the controlling terminal. A session without one (CI, a service) gets a value that does nothing.
    pub(crate) fn open() -> Self {
        const O_CLOEXEC_NOCTTY: i32 =
            (rustix::fs::OFlags::CLOEXEC.bits() | rustix::fs::OFlags::NOCTTY.bits()) as i32;
        let tty = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_CLOEXEC_NOCTTY)
            .open("/dev/tty")
            .ok();
        Self::of(tty)
    }

    /// One that does nothing, where the agent has another.
    pub(crate) fn none() -> Self {
        Self::of(None)
    }

    fn of(tty: Option<File>) -> Self {
        let original = tty.as_ref().and_then(|tty| tcgetattr(tty).ok());
        Self {
            tty,
            own_group: getpgrp(),
            original,
            agent_modes: None,
            lent: false,
        }
    }

    /// Whether palisade's own group has the terminal now.
    pub(crate) fn is_ours(&self) -> bool {
        self.tty
            .as_ref()
            .is_some_and(|tty| tcgetpgrp(tty).is_ok_and(|group| group == self.own_group))
    }

    /// Whether the agent should have the terminal from the start: palisade owns it, and both standard input and
    /// output are a terminal. In a pipeline it is lent when the agent first asks, because a neighbour such as a
    /// pager may need it more.
    pub(crate) fn lend_at_once(&mut self) -> bool {
        self.lent =
            self.is_ours() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        self.lent
    }

    /// Whether the agent's group has been given the terminal.
    pub(crate) fn lent(&self) -> bool {
        self.lent
    }

    /// Notes that the agent's group gets the terminal, and gives it back its modes after a stop.
    pub(crate) fn lend(&mut self) {
        if let (Some(tty), Some(modes)) = (&self.tty, self.agent_modes.take()) {
            // A failure leaves the modes of the shell, which a full-screen program sets again when it resumes.
            let _ = tcsetattr(tty, OptionalActions::Drain, &modes);
        }
        self.lent = true;
    }

    /// Takes the terminal back from a stopped agent, remembering its modes.
    pub(crate) fn take_back(&mut self) {
        let Some(tty) = &self.tty else { return };
        if self.lent {
            self.agent_modes = tcgetattr(tty).ok();
            restore(tty, self.own_group, self.original.as_ref());
        }
        self.lent = false;
    }

    /// Stops palisade's whole group, as Ctrl-Z would have done to the group of a plain command, and returns once it
    /// is continued.
    pub(crate) fn stop_with_agent(&self) {
        // The whole group, neighbours in a pipeline as well. palisade has the signal blocked and takes it here. In an
        // orphaned group, where nobody could continue it, the kernel lets it pass, as it would for a plain command.
        let _ = kill_process_group(self.own_group, Signal::TSTP);
        let _ = let_through(Signal::TSTP.as_raw());
    }
}

impl Drop for Terminal {
    /// A full-screen program that was killed leaves the terminal raw and owned by a group that is gone.
    fn drop(&mut self) {
        if let (Some(tty), true) = (&self.tty, self.lent) {
            restore(tty, self.own_group, self.original.as_ref());
        }
    }
}

fn restore(tty: &impl AsFd, group: Pid, modes: Option<&Termios>) {
    // Both fail only when the terminal itself is gone.
    let _ = tcsetpgrp(tty, group);
    if let Some(modes) = modes {
        let _ = tcsetattr(tty, OptionalActions::Drain, modes);
    }
}
