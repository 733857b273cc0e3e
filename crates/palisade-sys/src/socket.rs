//! Socket options that the gate's sockets need. For use after `clone`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets an IPv4 socket take connections to addresses that are not its own. Needs `CAP_NET_ADMIN` over its network.
///
/// # Errors
/// `EPERM` without the capability.
pub fn set_transparent_v4(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_IP, libc::IP_TRANSPARENT)
}

/// The same for an IPv6 socket, and for IPv4 through it.
///
/// # Errors
/// `EPERM` without the capability.
pub fn set_transparent_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT)
}

/// Tells with each received IPv4 datagram which address it was sent to.
///
/// # Errors
/// `ENOPROTOOPT` on a socket of another kind.
pub fn report_destination_v4(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_IP, libc::IP_PKTINFO)
}

/// The same for IPv6.
///
/// # Errors
/// `ENOPROTOOPT` on a socket of another kind.
pub fn report_destination_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_IPV6, libc::IPV6_RECVPKTINFO)
}

/// Lets a socket send from an address the host does not have.
///
/// # Errors
/// `ENOPROTOOPT` on a socket of another kind.
pub fn send_from_any_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    enable(socket, libc::SOL_IPV6, libc::IPV6_FREEBIND)
}

fn enable(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: needed because no wrapper has these options. Sound because the value lives through the call, is as long as
    // stated and is only read.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
