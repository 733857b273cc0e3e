//! Telling an ordinary user's sandbox something: `runsc` has to be root of the sandbox's user namespace for that.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use palisade_guest::hand::Namespaces;
use palisade_guest::program::program;
use palisade_sys::clone::spawn;
use palisade_sys::process::close_all_from;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::inside::become_root;
use crate::engine::PATIENCE;
use crate::running::wait;

/// Runs these words in the namespaces of this process, and waits until that ends well.
pub(crate) fn tell(process: u32, words: &[OsString]) -> io::Result<()> {
    let inside = Namespaces::of(&process.to_string())?;
    let mut program = program(words, &[]).map_err(io::Error::other)?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    let mut kept = [&inside.user, &inside.mount].map(AsRawFd::as_raw_fd);
    kept.sort_unstable();
    let child = spawn(0, || {
        let silent = dup2_stdin(&nothing)
            .and_then(|()| dup2_stdout(&nothing))
            .and_then(|()| dup2_stderr(&nothing));
        let entered = silent
            .and_then(|()| inside.enter(false))
            .and_then(|()| become_root());
        if entered.is_ok() && close_all_from(3, &kept).is_ok() {
            program.exec();
        }
        1
    })?;
    if wait(&[&child.pidfd], PATIENCE)?.is_none() {
        pidfd_send_signal(&child.pidfd, Signal::KILL)?;
    }
    let pidfd = child.pidfd.as_fd();
    let status = loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    match status.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        Some(status) => Err(io::Error::other(format!("runsc: exit status {status}"))),
        None => Err(io::Error::other("runsc: ended by a signal")),
    }
}
