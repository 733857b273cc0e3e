//! The standard streams: the only descriptors of the caller's that the agent gets.

use std::os::fd::BorrowedFd;

use palisade_sys::landlock::rights;
use rustix::fs::{FileType, OFlags, fcntl_getfl};

/// Landlock rights that each stream's file gets, so that `/dev/stdout` and its like open what is open already: reading
/// what may be read through the stream, writing what may be written.
pub type StreamRights = [u64; 3];

/// The streams, by number.
pub fn all() -> [BorrowedFd<'static>; 3] {
    [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]
}

/// What an open stream of this kind gets.
pub fn rights_of(stream: BorrowedFd<'_>, kind: FileType) -> u64 {
    let write = rights::WRITE_FILE | rights::TRUNCATE;
    let by_mode = match fcntl_getfl(stream).map(|flags| flags & OFlags::RWMODE) {
        Ok(OFlags::RDONLY) => rights::READ_FILE,
        Ok(OFlags::WRONLY) => write,
        Ok(OFlags::RDWR) => rights::READ_FILE | write,
        _ => 0,
    };
    match kind {
        FileType::CharacterDevice => by_mode | rights::IOCTL_DEV,
        _ => by_mode,
    }
}
