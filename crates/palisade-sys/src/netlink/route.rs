//! The loopback interface of a new network namespace, and the routes that make every address local to it.

use std::io;

use super::{Batch, Refusal};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x400 | 0x200;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
/// The first interface of every network namespace is its loopback (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
const IPV6_ROUTE: u32 = 3;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback {
    /// Whether IPv6 is there. It is not where the kernel was built or started without it.
    pub ipv6: bool,
}

/// The messages; see [`Setup::apply`].
#[derive(Clone, Debug)]
pub struct Setup(Batch);

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Allocates, so it is made before `clone`.
    pub fn new() -> Self {
        let mut batch = Batch::default();
        let up = (libc::IFF_UP as u32).to_ne_bytes();
        let header = [&[0; 4][..], &LOOPBACK.to_ne_bytes(), &up, &up].concat();
        batch.message(RTM_NEWLINK, 0, &header, |_| {});
        batch.message(RTM_NEWROUTE, NEW, &every_address(libc::AF_INET), |m| {
            m.attribute(RTA_OIF, &LOOPBACK.to_ne_bytes());
            // Without it the kernel takes the destination for the source of a connection: harmless, but a client that
            // looks at its own address would see a foreign one.
            m.attribute(RTA_PREFSRC, &[127, 0, 0, 1]);
        });
        batch.message(RTM_NEWROUTE, NEW, &every_address(libc::AF_INET6), |m| {
            m.attribute(RTA_OIF, &LOOPBACK.to_ne_bytes());
        });
        Self(batch)
    }

    /// Brings loopback up and makes every IPv4 and IPv6 address local (`ip route add local default dev lo`).
    /// For use after `clone`.
    ///
    /// # Errors
    /// `EPERM` where a security module has taken the namespace's capabilities away.
    pub fn apply(&self) -> io::Result<Loopback> {
        let mut ipv6 = true;
        let mut failed = None;
        self.0.exchange(None, |Refusal { message, errno }| {
            if message == IPV6_ROUTE {
                ipv6 = false;
            } else {
                failed = failed.or(Some(errno));
            }
        })?;
        match failed {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(Loopback { ipv6 }),
        }
    }
}

/// `struct rtmsg` of a route of type local to the whole address space, in the table for local addresses.
fn every_address(family: i32) -> [u8; 12] {
    let family = u8::try_from(family).unwrap_or(0);
    let (prefix_length, source_length, service) = (0, 0, 0);
    let header = [
        family,
        prefix_length,
        source_length,
        service,
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ];
    let mut message = [0; 12];
    message[..8].copy_from_slice(&header);
    message
}
