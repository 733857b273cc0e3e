//! Getting out, by every kind of socket.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use palisade_sys::rare;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketType, socket};

use super::{Failed, Got, any, blocked};
use crate::stage::Stage;

/// No attempt takes longer for one thing it tries.
const PATIENCE: Duration = Duration::from_secs(1);
const NO_ADDRESS: &str = "this machine has no address of that kind but loopback";
/// A name for which every resolver of the world has an address.
const ASKED: [&str; 2] = ["example", "com"];

pub(crate) fn loopback_v4(stage: &Stage) -> Got {
    http(stage.loopback_v4)
}

pub(crate) fn loopback_v6(stage: &Stage) -> Got {
    any(stage.loopback_v6, "this machine has no ::1", http)
}

pub(crate) fn loopback_udp(stage: &Stage) -> Got {
    datagram(stage.loopback_udp, stage)
}

pub(crate) fn direct(stage: &Stage) -> Got {
    any(stage.direct, NO_ADDRESS, http)
}

pub(crate) fn udp(stage: &Stage) -> Got {
    any(stage.direct_udp, NO_ADDRESS, |to| datagram(to, stage))
}

pub(crate) fn metadata(stage: &Stage) -> Got {
    http(stage.metadata)
}

/// By asking the gate itself: a proxy can be talked into what its client cannot do.
pub(crate) fn proxy(stage: &Stage) -> Got {
    let proxy = match stage.proxy {
        Some(proxy) => proxy,
        None => gate()?,
    };
    any([stage.loopback_v4, stage.metadata], "", |to| {
        ask(proxy, &format!("http://{to}/"), to)
    })
}

pub(crate) fn dns_udp(stage: &Stage) -> Got {
    any(stage.resolvers.iter().copied(), "", ask_by_udp)
}

pub(crate) fn dns_tcp(stage: &Stage) -> Got {
    any(stage.resolvers.iter().copied(), "", ask_by_tcp)
}

pub(crate) fn ipv6(stage: &Stage) -> Got {
    let all = stage.resolvers_v6.iter().copied();
    let asked = any(all, "this machine has no IPv6", |to| {
        ask_by_udp(to).or_else(|_| ask_by_tcp(to))
    });
    match (asked, stage.web_v6) {
        (Err(_), Some(web)) => http(web),
        (asked, _) => asked,
    }
}

pub(crate) fn abstract_socket(stage: &Stage) -> Got {
    let address = UnixAddr::from_abstract_name(&stage.abstract_socket)?;
    hear(UnixStream::connect_addr(&address)?, stage)
}

pub(crate) fn path_socket(stage: &Stage) -> Got {
    hear(UnixStream::connect(&stage.path_socket)?, stage)
}

pub(crate) fn engines(stage: &Stage) -> Got {
    any(
        &stage.engines,
        "no container engine runs here",
        |path: &std::path::PathBuf| {
            UnixStream::connect(path)?;
            Ok(format!("{} can be connected to", path.display()))
        },
    )
}

/// As one is, and as the owner of a network of one's own: a raw socket is kernel code that an agent has no use for.
pub(crate) fn raw_sockets(_: &Stage) -> Got {
    let v6 = RawProtocol::new(58).map(Protocol::from_raw);
    with_rights(|| {
        socket(
            AddressFamily::INET,
            SocketType::RAW,
            Some(rustix::net::ipproto::ICMP),
        )
        .or_else(|_| socket(AddressFamily::INET6, SocketType::RAW, v6))
        .map(|_| "a raw socket was opened".to_owned())
    })
}

pub(crate) fn packet_sockets(_: &Stage) -> Got {
    with_rights(|| {
        socket(AddressFamily::PACKET, SocketType::RAW, None)
            .or_else(|_| socket(AddressFamily::PACKET, SocketType::DGRAM, None))
            .map(|_| "a packet socket was opened".to_owned())
    })
}

pub(crate) fn vsock(_: &Stage) -> Got {
    socket(
        AddressFamily::from_raw(rare::AF_VSOCK),
        SocketType::STREAM,
        None,
    )?;
    Ok("a socket to the hypervisor was opened".to_owned())
}

pub(crate) fn kernel_sockets(_: &Stage) -> Got {
    let ciphers = || {
        socket(
            AddressFamily::from_raw(rare::AF_ALG),
            SocketType::SEQPACKET,
            None,
        )
    };
    let filter = rustix::net::netlink::NETFILTER;
    socket(AddressFamily::NETLINK, SocketType::RAW, Some(filter)).or_else(|_| ciphers())?;
    Ok("a socket to the kernel's packet filter or ciphers was opened".to_owned())
}

fn with_rights(open: impl Fn() -> rustix::io::Result<String>) -> Got {
    if let Ok(got) = open() {
        return Ok(got);
    }
    // Where this is refused, what follows is refused for want of rights.
    let refused = rare::unshare(rare::NEW_USER | rare::NEW_NETWORK);
    Ok(open().map_err(|error| refused.err().unwrap_or_else(|| error.into()))?)
}

/// Where the environment says that the gate's proxy is.
fn gate() -> Result<SocketAddr, Failed> {
    let environment = std::fs::read("/proc/self/environ")?;
    let mut variables = environment.split(|byte| *byte == 0);
    let address = variables.find_map(|variable| variable.strip_prefix(b"http_proxy=http://"));
    let address = address.map(String::from_utf8_lossy).unwrap_or_default();
    let address = address.trim_end_matches('/').parse();
    address.map_err(|_| blocked("the environment names no proxy"))
}

/// Anything that answers, and is not the gate that refuses or could not get there, is somebody out there.
fn http(to: SocketAddr) -> Got {
    ask(to, "/", to)
}

fn ask(server: SocketAddr, target: &str, to: SocketAddr) -> Got {
    let mut stream = connect(server)?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // A connection that is cut may leave a reset behind its answer.
    let _ = stream.take(64 << 10).read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).to_lowercase();
    let status = text.split(' ').nth(1).unwrap_or_default();
    match status.as_bytes().first() {
        _ if text.contains("palisade-denied") => {
            Err(blocked(format!("the gate answered {status}")))
        }
        Some(b'2'..=b'4') => Ok(format!("{to} answered {status}")),
        Some(_) => Err(blocked(format!("answered {status}"))),
        None => Err(blocked("closed without an answer")),
    }
}

fn datagram(to: SocketAddr, stage: &Stage) -> Got {
    let socket = bound(to)?;
    socket.send_to(b"ping", to)?;
    let mut answer = [0; 256];
    let length = socket.recv(&mut answer)?;
    if answer[..length] == *stage.token.as_bytes() {
        return Ok(format!("{to} answered"));
    }
    Err(blocked("somebody else answered"))
}

fn hear(stream: UnixStream, stage: &Stage) -> Got {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut said = String::new();
    stream.take(256).read_to_string(&mut said)?;
    if said == stage.token {
        return Ok("the listener answered".to_owned());
    }
    Err(blocked("somebody else answered"))
}

fn ask_by_udp(resolver: SocketAddr) -> Got {
    let socket = bound(resolver)?;
    socket.send_to(&query(), resolver)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    judge_answer(resolver, &answer[..length])
}

fn ask_by_tcp(resolver: SocketAddr) -> Got {
    let mut stream = connect(resolver)?;
    let query = query();
    let length = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[length.as_slice(), &query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    judge_answer(resolver, &answer)
}

/// A question for an address (RFC 1035, section 4.1).
fn query() -> Vec<u8> {
    let mut query = vec![0x13, 0x37, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ASKED {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

/// The gate answers every name from 198.18.0.0/15 (RFC 2544), where no server of the world is. An answer with any other
/// address came from outside.
fn judge_answer(resolver: SocketAddr, answer: &[u8]) -> Got {
    let refused = answer.get(3).is_none_or(|flags| flags & 0xf != 0);
    match answer {
        _ if refused => Err(blocked("the query was refused")),
        [.., 198, 18 | 19, _, _] => Err(blocked("answered by the gate, nothing left")),
        [.., _, _, _, _] => Ok(format!("{resolver} answered")),
        _ => Err(blocked("no answer")),
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn bound(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = match to.ip() {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Whether a socket of this path takes connections.
pub(crate) fn takes_connections(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_with_an_address_of_the_world_got_out() {
        let to = "192.0.2.53:53".parse().unwrap();
        let answer = |code: u8, address: [u8; 4]| {
            let mut answer = query();
            answer[3] = code;
            answer.extend_from_slice(&address);
            judge_answer(to, &answer).is_ok()
        };
        assert!(answer(0x80, [93, 184, 215, 14]));
        assert!(!answer(0x80, [198, 18, 0, 7]));
        assert!(!answer(0x80, [198, 19, 255, 7]));
        assert!(!answer(0x85, [93, 184, 215, 14]), "refused");
        assert!(judge_answer(to, &[]).is_err());
    }
}
