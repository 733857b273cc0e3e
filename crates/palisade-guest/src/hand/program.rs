//! The hand as the first process of a container of its own, for a supervisor that has rights in the boundary's namespaces only
//! through an engine. The namespaces come through the connection, so it can enter no others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use palisade_sys::process::close_all_from;
use palisade_sys::signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{Empties, May, serve};
use crate::handover::receive;

/// What is left once it has entered: mounting, and looking at names in folders that are the agent's alone.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::DAC_READ_SEARCH);

/// What an overlay's changes are made with, whoever makes them.
const OVERLAYS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER);

/// Where the empty file and folder lie in a container of the session's.
pub const EMPTY_FILE: &std::ffi::CStr = c"/run/palisade/file";
/// See [`EMPTY_FILE`].
pub const EMPTY_DIRECTORY: &std::ffi::CStr = c"/run/palisade/folder";

/// Its whole life. Yields its exit status.
pub(crate) fn run(control: &OwnedFd, may: May) -> u8 {
    serve(control, enter(control, may), may)
}

fn enter(control: &OwnedFd, may: May) -> rustix::io::Result<Empties> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    signal::block_all().map_err(errno)?;
    close_all_from(3, &[control.as_raw_fd()]).map_err(errno)?;
    poll(&mut [PollFd::new(control, PollFlags::IN)], None)?;
    let message = receive(control.as_fd()).map_err(errno)?;
    let namespaces = message.and_then(|m| m.namespaces).ok_or(Errno::PROTO)?;
    let own = namespaces.is_own_user().map_err(errno)?;
    namespaces.enter(own)?;
    drop(namespaces);
    let kept = match may {
        May::Mask => KEPT,
        May::Apart | May::Attach => KEPT.union(OVERLAYS),
    };
    let kept = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, kept)?;
    Empties::open(EMPTY_FILE, EMPTY_DIRECTORY)
}
