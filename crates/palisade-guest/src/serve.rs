//! Init's life after the boundary stands: start the agent, reap, pass on requests, report.

use std::os::fd::{AsFd, OwnedFd};

use palisade_protocol::{InitEvent, InitRequest, SetupStep};
use palisade_sys::process::{close_all_from, kill_everything_else};
use palisade_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, chdir, kill_process, kill_process_group, wait,
};
use rustix::termios::{tcgetpgrp, tcgetwinsize, tcsetpgrp, tcsetwinsize};

use crate::agent::NotStarted;
use crate::relay::Relay;
use crate::{At, Connection, Fault, Post};

/// `SIGCHLD`, as the number that the descriptor wants.
const CHILD_CHANGED: i32 = Signal::CHILD.as_raw();

/// Starts the agent, and the relay beside init where there is one, and returns when the session is over, with the agent's end where it has ended.
///
/// # Errors
/// A step of the start, or of the waiting, failed.
pub fn serve(
    post: &Post,
    relay: Option<Relay>,
    start: impl FnOnce() -> Result<Pid, NotStarted>,
) -> Result<Option<InitEvent>, Fault> {
    let children = SignalFd::block(&[CHILD_CHANGED]).at(SetupStep::Spawn, 5)?;
    let agent = match start() {
        Ok(agent) => agent,
        Err(NotStarted::Fault(fault)) => return Err(fault),
        Err(NotStarted::Exec(errno)) => {
            let errno = errno.raw_os_error();
            let end = InitEvent::ExecFailed { errno };
            post.control.tell(end);
            return Ok(Some(end));
        }
    };
    post.control.tell(InitEvent::Started);
    let_go(post, &children, relay.as_ref())?;
    // Where the sandbox has the caller's own terminal, that one tells palisade what the keys mean, and knows no group of the inside.
    let typed_for = post.terminal.as_ref().filter(|_| relay.is_some());
    if let Some(relay) = relay {
        // It ends with the process, and where it ends before that there is no way out any more.
        let thread = std::thread::Builder::new().spawn(|| relay.serve());
        thread.at(SetupStep::Spawn, 11)?;
    }
    loop {
        let mut sources = [
            PollFd::new(&children, PollFlags::IN),
            PollFd::new(&post.control.0, PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(SetupStep::Sync, 1),
        }
        let [children_changed, requested] = sources.map(|s| !s.revents().is_empty());
        if children_changed {
            let _ = children.next();
            if let Some(end) = reap(&post.control, agent) {
                finish();
                post.control.tell(end);
                return Ok(Some(end));
            }
        }
        if requested && !answer(post, agent, typed_for) {
            return Ok(None);
        }
    }
}

/// What only the agent needs: the standard streams, whose other ends wait for the last holder to close them, and the
/// working directory, which init's presence would keep busy.
fn let_go(post: &Post, children: &SignalFd, relay: Option<&Relay>) -> Result<(), Fault> {
    use std::os::fd::AsRawFd;
    chdir(c"/").at(SetupStep::Directory, 1)?;
    let control = post.control.0.as_raw_fd();
    let terminal = post.terminal.as_ref().map_or(control, AsRawFd::as_raw_fd);
    let mut kept = [control, terminal, children.as_fd().as_raw_fd()];
    let Some(relay) = relay else {
        kept.sort_unstable();
        return close_all_from(0, &kept).at(SetupStep::Spawn, 6);
    };
    let mut kept = [&kept[..], &relay.descriptors()].concat();
    kept.sort_unstable();
    close_all_from(0, &kept).at(SetupStep::Spawn, 6)
}

/// Takes note of every child that changed; the agent's end ends the session.
fn reap(control: &Connection, agent: Pid) -> Option<InitEvent> {
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) if pid == agent => match event(status) {
                Some(stopped @ InitEvent::Stopped { .. }) => control.tell(stopped),
                Some(end) => return Some(end),
                None => {}
            },
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn event(status: WaitStatus) -> Option<InitEvent> {
    let stopped = status
        .stopping_signal()
        .map(|signal| InitEvent::Stopped { signal });
    let exited = status.exit_status().map(|code| InitEvent::Exited { code });
    let killed = status
        .terminating_signal()
        .map(|signal| InitEvent::Killed { signal });
    stopped.or(exited).or(killed)
}

/// Ends whatever the agent left running, so that nothing is left when its end is told.
fn finish() {
    loop {
        match kill_everything_else().and_then(|()| Ok(wait(WaitOptions::empty())?)) {
            Ok(_) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Does what the supervisor asks; `false` when it is gone or no longer makes sense.
fn answer(post: &Post, agent: Pid, typed_for: Option<&OwnedFd>) -> bool {
    match post.control.hear(RecvFlags::DONTWAIT) {
        Ok(Some(InitRequest::Signal { signal })) => pass_on(agent, signal, typed_for),
        Ok(Some(InitRequest::Resume { foreground })) => {
            if let Some(terminal) = post.terminal.as_ref().filter(|_| foreground) {
                let _ = tcsetpgrp(terminal, agent);
            }
            let _ = kill_process_group(agent, Signal::CONT);
        }
        Ok(Some(InitRequest::Window { rows, columns })) => {
            if let Some(terminal) = &post.terminal {
                set_window(terminal, rows, columns);
            }
        }
        Err(Errno::AGAIN) => {}
        Ok(None | Some(InitRequest::Proceed | InitRequest::Begin)) | Err(_) => return false,
    }
    true
}

/// The kernel tells those in the foreground where the size is another one. One of another size is still a terminal.
pub(crate) fn set_window(terminal: impl AsFd, rows: u16, columns: u16) {
    if let Ok(mut size) = tcgetwinsize(&terminal) {
        (size.ws_row, size.ws_col) = (rows, columns);
        let _ = tcsetwinsize(&terminal, size);
    }
}

/// What a terminal sends, it sends to the whole foreground group; everything else is meant for one process.
fn pass_on(agent: Pid, signal: i32, typed_for: Option<&OwnedFd>) {
    let Some(signal) = Signal::from_named_raw(signal) else {
        return;
    };
    let from_a_terminal = [
        Signal::INT,
        Signal::QUIT,
        Signal::TSTP,
        Signal::WINCH,
        Signal::HUP,
    ];
    let _ = if from_a_terminal.contains(&signal) {
        let group = typed_for.and_then(|terminal| tcgetpgrp(terminal).ok());
        kill_process_group(group.unwrap_or(agent), signal)
    } else {
        kill_process(agent, signal)
    };
}
