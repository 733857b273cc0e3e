//! A client for each way in.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use palisade_audit::Entry;
use socket2::{Domain, Socket, Type};

use super::TestGate;

/// No test waits longer for one read.
const PATIENCE: Duration = Duration::from_secs(15);

/// A way into the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Connect,
    Socks4a,
    Socks5,
    Transparent,
}

/// Ways that lead to a stream to the destination.
pub(crate) const TUNNELS: [Way; 4] = [Way::Connect, Way::Socks4a, Way::Socks5, Way::Transparent];
/// Ways that plain HTTP can take.
pub(crate) const PLAIN_WAYS: [Way; 5] = [
    Way::Forward,
    Way::Connect,
    Way::Socks4a,
    Way::Socks5,
    Way::Transparent,
];

impl Way {
    pub(crate) fn entry(self) -> Entry {
        match self {
            Self::Forward => Entry::Forward,
            Self::Connect => Entry::Connect,
            Self::Socks4a => Entry::Socks4,
            Self::Socks5 => Entry::Socks5,
            Self::Transparent => Entry::Transparent,
        }
    }
}

impl TestGate {
    /// A bare connection to the proxy listener.
    pub(crate) fn proxy(&self) -> Client {
        Client::new(TcpStream::connect(self.addresses.proxy).unwrap())
    }

    /// A connection caught on its way to this address.
    pub(crate) fn caught(&self, destination: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        self.destinations.set(own, destination);
        socket.connect(&self.addresses.transparent.into()).unwrap();
        Client::new(socket.into())
    }

    /// The address the gate's DNS gives for a name.
    pub(crate) fn synthetic(&self, name: &str) -> IpAddr {
        let reply = self.ask_dns(&question(name, 1)).expect("an answer");
        let ip: [u8; 4] = reply[reply.len() - 4..].try_into().unwrap();
        ip.into()
    }

    /// Sends a datagram to the gate's DNS; the answer, if one comes.
    pub(crate) fn ask_dns(&self, query: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        socket.send_to(query, self.dns()).unwrap();
        let mut reply = vec![0; 4096];
        let count = socket.recv(&mut reply).ok()?;
        reply.truncate(count);
        Some(reply)
    }

    /// A stream to `host:port`, or what the gate said instead. Forward has no streams: it yields the proxy connection.
    pub(crate) fn open(&self, way: Way, host: &str, port: u16) -> Result<Client, Vec<u8>> {
        match way {
            Way::Forward => Ok(self.proxy()),
            Way::Connect => {
                let mut client = self.proxy();
                client.send(format!(
                    "CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n"
                ));
                let head = client.head();
                if head.starts_with("HTTP/1.1 200 ") {
                    return Ok(client);
                }
                let mut all = head.into_bytes();
                all.extend(client.rest());
                Err(all)
            }
            Way::Socks5 => {
                let mut client = self.proxy();
                client.send([5, 1, 0]);
                assert_eq!(client.exactly(2), [5, 0]);
                client.send(socks5(host.as_bytes(), port));
                match client.exactly(10) {
                    reply if reply.get(1) == Some(&0) => Ok(client),
                    reply => Err(reply),
                }
            }
            Way::Socks4a => {
                let mut client = self.proxy();
                client.send(socks4a(host.as_bytes(), port));
                match client.exactly(8) {
                    reply if reply.get(1) == Some(&0x5a) => Ok(client),
                    reply => Err(reply),
                }
            }
            Way::Transparent => {
                let plain = host.trim_start_matches('[').trim_end_matches(']');
                let ip = plain.parse().unwrap_or_else(|_| self.synthetic(host));
                Ok(self.caught(SocketAddr::new(ip, port)))
            }
        }
    }

    /// A stream that has to be granted.
    pub(crate) fn tunnel(&self, way: Way, host: &str, port: u16) -> Client {
        match self.open(way, host, port) {
            Ok(client) => client,
            Err(said) => panic!(
                "{way:?} to {host}:{port}: {}",
                String::from_utf8_lossy(&said)
            ),
        }
    }

    /// One plain request with these header lines (each with its CRLF) and this body; `Host` comes first by itself.
    pub(crate) fn ask(
        &self,
        way: Way,
        host: &str,
        start: &str,
        lines: &str,
        body: &str,
    ) -> Response {
        let mut client = self.tunnel(way, host, 80);
        client.send(request(way, host, start, lines, body));
        client.response()
    }

    /// GET / of `host` on port 80.
    pub(crate) fn get(&self, way: Way, host: &str) -> Response {
        self.ask(way, host, "GET /", "", "")
    }
}

/// A request as this way wants it. `start` is method and path.
pub(crate) fn request(way: Way, host: &str, start: &str, lines: &str, body: &str) -> String {
    let (method, path) = start.split_once(' ').unwrap();
    let target = match way {
        Way::Forward => format!("http://{host}{path}"),
        _ => path.to_owned(),
    };
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n{body}")
}

pub(crate) fn socks5(host: &[u8], port: u16) -> Vec<u8> {
    let length = [u8::try_from(host.len()).unwrap()];
    [&[5, 1, 0, 3][..], &length, host, &port.to_be_bytes()].concat()
}

pub(crate) fn socks4a(host: &[u8], port: u16) -> Vec<u8> {
    [
        &[4, 1][..],
        &port.to_be_bytes(),
        &[0, 0, 0, 1, b'u', 0],
        host,
        &[0],
    ]
    .concat()
}

/// A DNS query for one name.
pub(crate) fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The stable code of a refusal.
    pub(crate) fn denied(&self) -> Option<&str> {
        self.field("palisade-denied")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn assert_denied(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.denied()),
            (status, Some(code)),
            "{self:?}"
        );
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self, body: &str) {
        assert_eq!((self.status, self.text().as_str()), (200, body), "{self:?}");
    }
}

/// A connection as the agent sees it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// Sends; the gate may have closed already, which the next read shows.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub(crate) fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16384];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.rest.extend(&bytes[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!(
                "read from the gate: {error}; so far {:?}",
                String::from_utf8_lossy(&self.rest)
            ),
        }
    }

    /// This many bytes, or fewer at the end.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count && self.fill() {}
        let count = count.min(self.rest.len());
        self.rest.drain(..count).collect()
    }

    /// Everything to the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.rest)
    }

    /// A message head, or all there is.
    pub(crate) fn head(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.rest);
            if let Some(end) = text.find("\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            if !self.fill() {
                return String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
            }
        }
    }

    /// A response to anything but HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let head = self.head();
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let Some(status) = status else {
            panic!("no response: {head:?}");
        };
        let mut response = Response {
            status,
            head,
            body: Vec::new(),
        };
        response.body = if let Some(length) = response.field("content-length") {
            let length = length.parse().unwrap();
            self.exactly(length)
        } else if response.field("transfer-encoding").is_some() {
            self.chunks()
        } else if matches!(status, 100..200 | 204 | 304) {
            Vec::new()
        } else {
            self.rest()
        };
        response
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                let byte = self.exactly(1);
                if byte.is_empty() {
                    return body;
                }
                line.push(char::from(byte[0]));
            }
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n", "the end of a chunk");
            if size == 0 {
                return body;
            }
        }
    }
}
