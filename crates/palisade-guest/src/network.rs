//! The network inside: loopback, every address local to it, and the gate's sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use palisade_protocol::{EgressWanted, ListenerKind, SetupStep};
use palisade_sys::netlink::{nftables, route};
use palisade_sys::socket;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

use crate::handover::{MOST_SOCKETS, Outbox};
use crate::{At, Fault};

/// Where caught connections arrive. The agent can never take it: it is below 1024. The number itself never shows.
pub const CAPTURE_PORT: u16 = 1;
/// DNS (RFC 1035).
pub(crate) const DNS_PORT: u16 = 53;
/// Connections that wait to be accepted; the kernel lowers it to its own bound (`net.core.somaxconn`, 4096 by default).
const BACKLOG: i32 = 4096;

/// The network inside.
#[derive(Debug)]
pub struct NetworkPlan {
    loopback: route::Setup,
    capture: nftables::Capture,
    proxy_port: u16,
    fallback_ports: Vec<u16>,
    /// Where the sockets are gathered until they are handed out.
    pub outbox: Outbox,
}

impl NetworkPlan {
    /// Most ports that can be caught one by one: two proxy and two DNS sockets come on top.
    pub const MOST_PORTS: usize = MOST_SOCKETS - 4;

    /// Allocates, so it is made before `clone`. `fallback_ports` are at most [`Self::MOST_PORTS`].
    pub fn new(wanted: EgressWanted) -> Self {
        Self {
            loopback: route::Setup::new(),
            capture: nftables::Capture::new(CAPTURE_PORT),
            proxy_port: wanted.proxy_port,
            fallback_ports: wanted.fallback_ports,
            outbox: Outbox::new(),
        }
    }
}

/// Sets everything up in a network namespace that is new; the sockets are left in the outbox.
///
/// # Errors
/// What could not be made.
pub fn set_up(plan: &mut NetworkPlan) -> Result<(), Fault> {
    let ipv6 = plan.loopback.apply().at(SetupStep::Network, 1)?.ipv6;
    let ipv6 = proxy(plan, ipv6).at(SetupStep::Listen, plan.proxy_port.into())?;
    // Which error it is makes no difference: without it the chosen ports are caught, all others lead nowhere.
    if plan.capture.apply(ipv6).is_ok() {
        catch(plan, CAPTURE_PORT, ipv6, true)?;
    } else {
        for index in 0..plan.fallback_ports.len() {
            let port = plan
                .fallback_ports
                .get(index)
                .copied()
                .unwrap_or(CAPTURE_PORT);
            if port != plan.proxy_port {
                catch(plan, port, ipv6, false)?;
            }
        }
    }
    dns(plan, ipv6).at(SetupStep::Listen, DNS_PORT.into())
}

fn catch(plan: &mut NetworkPlan, port: u16, ipv6: bool, transparent: bool) -> Result<(), Fault> {
    everywhere(port, ipv6, transparent)
        .and_then(|listener| plan.outbox.push(ListenerKind::Transparent, listener))
        .at(SetupStep::Listen, port.into())
}

/// Yields whether there is IPv6: a kernel may have its routes and refuse its sockets.
fn proxy(plan: &mut NetworkPlan, ipv6: bool) -> rustix::io::Result<bool> {
    let at = |address: IpAddr| SocketAddr::from((address, plan.proxy_port));
    let v4 = listen_at(at(Ipv4Addr::LOCALHOST.into()))?;
    let v6 = at(Ipv6Addr::LOCALHOST.into());
    plan.outbox.push(ListenerKind::Proxy, v4)?;
    if !ipv6 {
        return Ok(false);
    }
    match listen_at(v6) {
        Err(Errno::AFNOSUPPORT) => Ok(false),
        listener => plan
            .outbox
            .push(ListenerKind::Proxy, listener?)
            .map(|()| true),
    }
}

pub(crate) fn listen_at(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = make(address, SocketType::STREAM)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// One listener for both families, or for IPv4 where there is no other.
fn everywhere(port: u16, ipv6: bool, transparent: bool) -> rustix::io::Result<OwnedFd> {
    let address = if ipv6 {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
    };
    let listener = make(address, SocketType::STREAM)?;
    if ipv6 {
        sockopt::set_ipv6_v6only(&listener, false)?;
    }
    if transparent {
        let set = if ipv6 {
            socket::set_transparent_v6
        } else {
            socket::set_transparent_v4
        };
        set(listener.as_fd()).map_err(errno)?;
    }
    bind(&listener, &address)?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Queries to any resolver: each tells where it was sent, and the reply can leave from there. IPv4 may send from any
/// local address, which is every address here; IPv6 wants to be told so.
fn dns(plan: &mut NetworkPlan, ipv6: bool) -> rustix::io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DNS_PORT));
    let v4 = make(address, SocketType::DGRAM)?;
    socket::report_destination_v4(v4.as_fd()).map_err(errno)?;
    bind(&v4, &address)?;
    plan.outbox.push(ListenerKind::DnsV4, v4)?;
    if ipv6 {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, DNS_PORT));
        let v6 = make(address, SocketType::DGRAM)?;
        sockopt::set_ipv6_v6only(&v6, true)?;
        socket::report_destination_v6(v6.as_fd()).map_err(errno)?;
        socket::send_from_any_v6(v6.as_fd()).map_err(errno)?;
        bind(&v6, &address)?;
        plan.outbox.push(ListenerKind::DnsV6, v6)?;
    }
    Ok(())
}

pub(crate) fn make(address: SocketAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let protocol = if kind == SocketType::STREAM {
        ipproto::TCP
    } else {
        ipproto::UDP
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, kind, flags, Some(protocol))
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
