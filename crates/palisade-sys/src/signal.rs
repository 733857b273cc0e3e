//! Signals of the calling process: mask and dispositions. For use after `clone`; see [`crate::signalfd`] to receive them.

use std::io;
use std::mem::MaybeUninit;

/// Highest signal number of Linux on our architectures (`_NSIG`).
const LAST: i32 = 64;

/// Blocks every signal that can be blocked.
///
/// # Errors
/// None that the kernel documents for this use.
pub fn block_all() -> io::Result<()> {
    set_mask(libc::sigfillset)
}

/// Blocks none.
///
/// # Errors
/// None that the kernel documents for this use.
pub fn unblock_all() -> io::Result<()> {
    set_mask(libc::sigemptyset)
}

fn set_mask(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> i32) -> io::Result<()> {
    let set = signal_set(fill);
    // SAFETY: needed because no wrapper sets the mask. Sound because the set is initialised and only read.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) })
}

/// Gives every signal its default disposition, but leaves a hang-up ignored where it is: that is how `nohup` asks.
pub fn reset_dispositions() {
    for signal in (1..=LAST).filter(|s| *s != libc::SIGHUP) {
        reset(signal);
    }
}

/// The same for what Rust's runtime alone ignores, which is enough in the first process of a system.
pub fn reset_own_dispositions() {
    reset(libc::SIGPIPE);
}

fn reset(signal: i32) {
    // SAFETY: needed because only handlers are reset by execve, ignored signals are not. Sound because the default
    // action refers to no code of ours. The few signals that cannot be set answer with an error that means nothing.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

fn signal_set(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> i32) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: needed because only these functions know the set's layout. Sound because they write the whole of it.
    unsafe { fill(set.as_mut_ptr()) };
    // SAFETY: needed to take it out. Sound because it was just written; the functions cannot fail on a valid pointer.
    unsafe { set.assume_init() }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
