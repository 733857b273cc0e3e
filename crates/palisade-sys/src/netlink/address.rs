//! Addresses of loopback so wide that every other address is local to it, for a kernel that has no routes of that kind.
//!
//! gVisor takes every IPv4 address of a subnet of its loopback interface for its own. For IPv6 the same addresses give a
//! route alone, which is enough where the destination is changed on the way ([`crate::redirect`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Batch;

const RTM_NEWADDR: u16 = 20;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x400 | 0x200;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const LOOPBACK: u32 = 1;
/// All of an address space, in two halves: there is no prefix of length 0.
const HALF: u8 = 1;

/// One address in each half of both spaces: of those kept for dummies (RFC 7600, RFC 6666), where there are any.
const HALVES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)),
    IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
];

/// Gives loopback these addresses.
///
/// # Errors
/// `EPERM` without the capability, or what else the kernel says to those of IPv4. Without IPv6 there is nothing to catch.
pub fn widen_loopback() -> io::Result<()> {
    for half in HALVES {
        let mut batch = Batch::default();
        let (family, bytes) = match half {
            IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
            IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
        };
        let family = u8::try_from(family).unwrap_or(0);
        let header = [&[family, HALF, 0, 0][..], &LOOPBACK.to_ne_bytes()].concat();
        batch.message(RTM_NEWADDR, NEW, &header, |m| {
            m.attribute(IFA_LOCAL, &bytes);
            m.attribute(IFA_ADDRESS, &bytes);
        });
        let mut failed = None;
        batch.exchange(None, |refusal| failed = Some(refusal.errno))?;
        match failed {
            Some(errno) if half.is_ipv4() => return Err(io::Error::from_raw_os_error(errno)),
            _ => {}
        }
    }
    Ok(())
}
