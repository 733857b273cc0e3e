//! The sockets that the relay listens at, in a network that has loopback alone.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use palisade_protocol::{EgressWanted, SetupStep};
use palisade_sys::netlink::address;
use palisade_sys::redirect::{self, Family, Rule};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::network::{CAPTURE_PORT, DNS_PORT, listen_at, make};
use crate::{At, Fault};

/// A listening socket.
#[derive(Debug)]
pub struct Way {
    pub(super) socket: OwnedFd,
    /// For clients that know the proxy.
    pub(super) proxy: bool,
    /// Connections were on their way elsewhere, and the kernel tells where.
    pub(super) redirected: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Ways {
    pub(super) listeners: Vec<Way>,
    /// For queries, non-blocking.
    pub(super) queries: Vec<OwnedFd>,
}

/// Makes every address local to loopback, leads every TCP port to one listener, and opens the sockets. Needs `CAP_NET_ADMIN` and
/// `CAP_NET_RAW`. Where gVisor has no packet filter, the ports wanted are listened at, one by one.
///
/// # Errors
/// What could not be made.
pub fn open(wanted: &EgressWanted) -> Result<Ways, Fault> {
    address::widen_loopback().at(SetupStep::Network, 1)?;
    let mut ways = Ways::default();
    let proxy = |ip: IpAddr| SocketAddr::from((ip, wanted.proxy_port));
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    ways.listen(proxy(v4), true, false)?;
    // A kernel without IPv6 has nobody who could want it.
    let ipv6 = ways.listen(proxy(v6), true, false).is_ok();
    // Queries over IPv4 come to whoever listens at every address. Over IPv6 they are led to loopback, as connections are.
    let rules = [Rule::Tcp(CAPTURE_PORT), Rule::Udp(DNS_PORT)];
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    match redirect::replace(Family::V4, &rules[..1]) {
        Ok(()) => ways.listen((any, CAPTURE_PORT).into(), false, true)?,
        // A packet filter that is withheld is no lack of one.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Errno::PERM).at(SetupStep::Capture, 0);
        }
        Err(_) => {
            for port in &wanted.fallback_ports {
                if *port != wanted.proxy_port {
                    ways.listen((any, *port).into(), false, false)?;
                }
            }
        }
    }
    if ipv6 && redirect::replace(Family::V6, &rules).is_ok() {
        ways.listen((v6, CAPTURE_PORT).into(), false, true)?;
        ways.query((v6, DNS_PORT).into())?;
    }
    ways.query((any, DNS_PORT).into())?;
    Ok(ways)
}

impl Ways {
    fn listen(&mut self, address: SocketAddr, proxy: bool, redirected: bool) -> Result<(), Fault> {
        let socket = listen_at(address).at(SetupStep::Listen, address.port().into())?;
        self.listeners.push(Way {
            socket,
            proxy,
            redirected,
        });
        Ok(())
    }

    fn query(&mut self, address: SocketAddr) -> Result<(), Fault> {
        let socket = make(address, SocketType::DGRAM)
            .and_then(|socket| rustix::net::bind(&socket, &address).map(|()| socket))
            .at(SetupStep::Listen, address.port().into())?;
        self.queries.push(socket);
        Ok(())
    }
}
