//! The network inside: loopback, every address local to it, and the gate's sockets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use palisade_protocol::{ListenerKind, SetupStep};
use palisade_sys::socket;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

use super::{At, Fault};
use crate::child::NetworkPlan;

/// Where caught connections arrive. The agent can never take it: it is below 1024. The number itself never shows.
pub(crate) const CAPTURE_PORT: u16 = 1;
/// DNS (RFC 1035).
const DNS_PORT: u16 = 53;
/// Connections that wait to be accepted; the kernel lowers it to its own bound (`net.core.somaxconn`, 4096 by default).
const BACKLOG: i32 = 4096;

/// Sets everything up; the sockets are left in the outbox.
pub(super) fn set_up(plan: &mut NetworkPlan) -> Result<(), Fault> {
    let ipv6 = plan.loopback.apply().at(SetupStep::Network, 0)?.ipv6;
    // Which error it is makes no difference: without it the chosen ports are caught, all others lead nowhere.
    let every_port = plan.capture.apply(ipv6).is_ok();
    proxy(plan, ipv6).at(SetupStep::Listen, plan.proxy_port.into())?;
    if every_port {
        let listener = everywhere(CAPTURE_PORT, ipv6, true).at(SetupStep::Listen, CAPTURE_PORT.into())?;
        plan.outbox.push(ListenerKind::Transparent, listener).at(SetupStep::Listen, 0)?;
    } else {
        for port in plan.fallback_ports.iter().copied().filter(|p| *p != plan.proxy_port) {
            let listener = everywhere(port, ipv6, false).at(SetupStep::Listen, port.into())?;
            plan.outbox.push(ListenerKind::Transparent, listener).at(SetupStep::Listen, port.into())?;
        }
    }
    dns(plan, ipv6).at(SetupStep::Listen, DNS_PORT.into())
}

fn proxy(plan: &mut NetworkPlan, ipv6: bool) -> rustix::io::Result<()> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, plan.proxy_port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, plan.proxy_port));
    for address in [v4].into_iter().chain(ipv6.then_some(v6)) {
        let socket = make(address, SocketType::STREAM)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        plan.outbox.push(ListenerKind::Proxy, socket)?;
    }
    Ok(())
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
        let set = if ipv6 { socket::set_transparent_v6 } else { socket::set_transparent_v4 };
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

fn make(address: SocketAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, kind, flags, Some(protocol))
}

fn errno(error: std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}
