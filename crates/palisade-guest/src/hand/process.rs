//! The hand as a process of the supervisor's own, for whoever has rights in the boundary's namespaces.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use palisade_sys::clone::{Child, spawn};
use palisade_sys::process::close_all_from;
use palisade_sys::signal;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};

use super::{Empties, Hand, May, Namespaces, serve};

/// A process that serves, ended and waited for when this is dropped, and by the kernel where the supervisor is killed.
#[derive(Debug)]
pub struct HandProcess {
    hand: Option<Hand>,
    child: Child,
}

impl HandProcess {
    /// Starts it, with what masks are copies of at these paths inside.
    ///
    /// # Errors
    /// The process cannot be made, may not enter, or finds nothing there.
    pub fn start(
        inside: &Namespaces,
        (file, directory): (&CStr, &CStr),
        may: May,
    ) -> io::Result<Self> {
        let kind = SocketType::SEQPACKET;
        let (control, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let own = inside.is_own_user()?;
        let kept = [&theirs, &inside.user, &inside.mount];
        let kept = kept.into_iter().chain(&inside.root);
        let mut kept: Vec<_> = kept.map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        let child = spawn(0, || {
            let entered = enter(inside, own, &kept).and_then(|()| Empties::open(file, directory));
            serve(&theirs, entered, may)
        })?;
        drop(theirs);
        let hand = Some(Hand(control));
        let process = Self { hand, child };
        process.hand()?.answer()?;
        Ok(process)
    }

    /// The supervisor's end.
    ///
    /// # Errors
    /// None while it lives.
    pub fn hand(&self) -> io::Result<&Hand> {
        self.hand.as_ref().ok_or_else(|| Errno::BADF.into())
    }
}

impl Drop for HandProcess {
    fn drop(&mut self) {
        self.hand = None;
        while let Err(Errno::INTR) = waitid(
            WaitId::PidFd(self.child.pidfd.as_fd()),
            WaitIdOptions::EXITED,
        ) {}
    }
}

fn enter(inside: &Namespaces, own: bool, kept: &[i32]) -> rustix::io::Result<()> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    set_parent_process_death_signal(Some(Signal::KILL))?;
    signal::block_all().map_err(errno)?;
    close_all_from(3, kept).map_err(errno)?;
    // Only a name in process listings.
    let _ = rustix::thread::set_name(c"palisade-masker");
    inside.enter(own)?;
    // The kernel forgets it at each change of rights (prctl(2), PR_SET_PDEATHSIG).
    set_parent_process_death_signal(Some(Signal::KILL))
}
