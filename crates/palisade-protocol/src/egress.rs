//! Where the inside's traffic meets the gate.

use std::os::fd::OwnedFd;

/// What a listening socket made inside the boundary carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// TCP: clients that know the proxy (HTTP forward, CONNECT, SOCKS on one port).
    Proxy,
    /// TCP: connections caught on their way elsewhere. The accepted socket's local address is the original destination.
    Transparent,
    /// UDP: DNS queries to any resolver over IPv4. Replies must leave with the query's destination as their source.
    DnsV4,
    /// UDP: the same over IPv6.
    DnsV6,
}

/// A socket made inside the boundary and handed out.
#[derive(Debug)]
pub struct Listener {
    /// What it carries.
    pub kind: ListenerKind,
    /// The socket, non-blocking; a TCP one is listening.
    pub socket: OwnedFd,
}

/// The one thing gate and boundary share. `session` takes it from the backend and gives it to the gate.
#[derive(Debug)]
#[non_exhaustive]
pub enum EgressEndpoint {
    /// Descriptor hand-over: sockets that live in the inside's network namespace.
    Sockets(Vec<Listener>),
    /// Framed relay: a listening Unix stream socket, non-blocking, that the inside can reach. Each connection to it is one of the
    /// inside's and says itself what it is ([`RelayOpening`](crate::RelayOpening)).
    Relay(OwnedFd),
}

/// What a session wants a backend to provide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressWanted {
    /// Loopback port inside for clients that know the proxy.
    pub proxy_port: u16,
    /// Ports to catch where the kernel cannot catch every port (no nftables TPROXY).
    pub fallback_ports: Vec<u16>,
}
