//! DNS over UDP, on a socket that receives what was meant for any resolver.
//!
//! The answer has to come from the address that was asked, or the client will not take it. So the kernel is asked for
//! each query's destination and told to use it as the answer's source (ip(7), ipv6(7): `IP_PKTINFO`, `IPV6_PKTINFO`).
//! For IPv6 the socket must also carry `IPV6_FREEBIND`, which whoever makes it sets.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket as StdUdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::dns::answer::answer;
use crate::shared::Shared;

/// Bytes of a datagram that are read. Queries are far shorter; a longer one is cut, and then malformed.
const QUERY_MAX: usize = 1500;
/// Datagrams handled before other tasks get their turn.
const BURST: usize = 64;

/// The family of a DNS socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Asks the kernel to tell each datagram's destination.
pub(crate) fn ask_for_destination(socket: &StdUdpSocket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        Family::V6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Answers queries until `stop` changes.
pub(crate) async fn serve(shared: Arc<Shared>, socket: UdpSocket, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            ready = socket.readable() => if ready.is_err() { return },
        }
        for _ in 0..BURST {
            match socket.try_io(Interest::READABLE, || receive(&socket)) {
                Ok(Some((query, from, to))) => {
                    if let Some(reply) = answer(&shared, &query) {
                        // A full socket drops the answer, as a network would; the client asks again.
                        let _ =
                            socket.try_io(Interest::WRITABLE, || send(&socket, &reply, &from, to));
                    }
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error of an earlier answer, such as an unreachable port. It is read once and then gone.
                Err(_) => break,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// A datagram's destination, as the kernel tells it.
#[derive(Clone, Copy)]
enum Destination {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

type Received = (Vec<u8>, SockaddrStorage, Destination);

fn receive(socket: &UdpSocket) -> io::Result<Option<Received>> {
    let mut bytes = [0; QUERY_MAX];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let destination = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Destination::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Destination::V6(info)),
        _ => None,
    });
    let (Some(from), Some(destination)) = (message.address, destination) else {
        return Ok(None);
    };
    let length = message.bytes;
    Ok(Some((bytes[..length].to_vec(), from, destination)))
}

fn send(
    socket: &UdpSocket,
    reply: &[u8],
    to: &SockaddrStorage,
    asked: Destination,
) -> io::Result<usize> {
    let slices = [IoSlice::new(reply)];
    // Interface 0: the route decides, as for any answer.
    let v4;
    let v6;
    let control = match asked {
        Destination::V4(info) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: info.ipi_addr,
                ..info
            };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        Destination::V6(info) => {
            v6 = libc::in6_pktinfo {
                ipi6_ifindex: 0,
                ..info
            };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let sent = sendmsg(
        socket.as_raw_fd(),
        &slices,
        &[control],
        MsgFlags::empty(),
        Some(to),
    )?;
    Ok(sent)
}
