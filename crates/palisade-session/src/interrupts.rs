//! Ctrl-C while another program has the terminal.

use std::io;

use palisade_sys::signal::unblock_all;
use palisade_sys::signalfd::SignalFd;
use rustix::process::Signal;

/// Interrupts that reach the program on the terminal and not this process, until it is dropped. The program has to be started
/// before: it would inherit that they are held.
#[derive(Debug)]
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Holds them.
    ///
    /// # Errors
    /// What `sigprocmask(2)` and `signalfd(2)` report.
    pub fn hold() -> io::Result<Self> {
        SignalFd::block(&[Signal::INT.as_raw(), Signal::QUIT.as_raw()]).map(Self)
    }

    /// Whether one came since this was asked last.
    ///
    /// # Errors
    /// What `read(2)` of a signalfd reports.
    pub fn came(&self) -> io::Result<bool> {
        self.0.next().map(|signal| signal.is_some())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // Those that came were for the other program.
        while let Ok(Some(_)) = self.0.next() {}
        // Without it they would be lost from now on, and there is nothing else to try.
        let _ = unblock_all();
    }
}
