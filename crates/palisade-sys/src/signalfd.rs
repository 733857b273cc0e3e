//! Signals as a descriptor to poll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of signals that is read instead of handled.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks these signals in the calling thread and makes them readable. Threads started later inherit the block;
    /// call it before any other thread exists, or another thread may still take a signal the default way.
    ///
    /// # Errors
    /// What `sigprocmask(2)` and `signalfd(2)` report.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals);
        change_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: needed to read signals as data; the set is initialised and the call keeps no pointer to it.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: needed to own the descriptor; the kernel just gave it to this call alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next pending signal's number, without waiting.
    ///
    /// # Errors
    /// What `read(2)` reports.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: needed to read the kernel's record; the buffer has exactly the size that is passed.
        let read = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        }
        // SAFETY: needed to look at the record; the kernel writes whole records only, and the read did not fail.
        let info = unsafe { info.assume_init() };
        Ok(Some(info.ssi_signo.cast_signed()))
    }
}

/// Lets a pending, blocked signal do what it does by default, then blocks it again. For a stop signal that means: the
/// process stops here, by that signal, and goes on here when it is continued.
///
/// # Errors
/// What `sigprocmask(2)` reports.
pub fn let_through(signal: i32) -> io::Result<()> {
    let set = set_of(&[signal]);
    change_mask(libc::SIG_UNBLOCK, &set)?;
    change_mask(libc::SIG_BLOCK, &set)
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: needed to start an empty set; the pointer is to memory of the right type, which the call fills.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: needed to fill the set; it was initialised above, and a bad number is only an error return.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: needed to hand the set on; `sigemptyset` initialised all of it and cannot fail for a valid pointer.
    unsafe { set.assume_init() }
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: needed to change which signals stay pending; the set is valid for the call, the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read() {
        let signals = SignalFd::block(&[libc::SIGUSR2]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // SAFETY: needed to raise a signal; it is blocked in this thread, so nothing is interrupted.
        unsafe { libc::raise(libc::SIGUSR2) };
        assert_eq!(signals.next().unwrap(), Some(libc::SIGUSR2));
        assert_eq!(signals.next().unwrap(), None);
    }
}
