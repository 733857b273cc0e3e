//! Connections that come framed over one socket, as from a boundary that cannot hand sockets out.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_audit::Entry;
use palisade_protocol::{RELAY_HEAD_LEN, RelayFrame, RelayOpening};

use crate::harness::{Server, Setup, TestGate, question, request, rule};

/// What the inside does for one of its connections.
struct Guest(UnixStream);

impl Guest {
    fn open(socket: &Path, opening: RelayOpening) -> Self {
        let mut guest = Self::connect(socket);
        guest.0.write_all(&opening.encode()).unwrap();
        guest
    }

    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(stream)
    }

    fn data(&mut self, bytes: &[u8]) {
        self.0
            .write_all(&RelayFrame::Data(bytes.len()).head())
            .unwrap();
        self.0.write_all(bytes).unwrap();
    }

    fn end(&mut self) {
        self.0.write_all(&RelayFrame::End.head()).unwrap();
    }

    /// The next frame's bytes; none at an end.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; RELAY_HEAD_LEN];
        self.0.read_exact(&mut head).unwrap();
        match RelayFrame::of_head(head).unwrap() {
            RelayFrame::End => None,
            RelayFrame::Data(length) => {
                let mut bytes = vec![0; length];
                self.0.read_exact(&mut bytes).unwrap();
                Some(bytes)
            }
        }
    }

    /// All until the end.
    fn rest(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.frame()).flatten().collect()
    }

    /// Whether the gate closed the carrier without a word.
    fn is_closed(&mut self) -> bool {
        // What it has not read makes a reset of it.
        match self.0.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

struct Relay {
    gate: TestGate,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

fn start(setup: Setup) -> Relay {
    let folder = tempfile::tempdir().unwrap();
    let (gate, socket) = setup.start_relay(folder.path());
    Relay {
        gate,
        socket,
        _folder: folder,
    }
}

fn to(address: &str) -> RelayOpening {
    RelayOpening::Transparent(address.parse::<SocketAddr>().unwrap())
}

fn http(host: &str) -> String {
    request(
        crate::harness::Way::Transparent,
        host,
        "GET /",
        "connection: close\r\n",
        "",
    )
}

#[test]
fn a_caught_connection_is_decided_by_where_it_was_going() {
    let server = Server::http("hello");
    let relay = start(Setup::default().allow("192.0.2.7", 80, &server));
    let mut guest = Guest::open(&relay.socket, to("192.0.2.7:80"));
    guest.data(http("192.0.2.7").as_bytes());
    let answer = String::from_utf8(guest.rest()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    // The control: another destination by the same socket is refused, and says why.
    let mut guest = Guest::open(&relay.socket, to("192.0.2.8:80"));
    guest.data(http("192.0.2.8").as_bytes());
    let answer = String::from_utf8(guest.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let records = relay.gate.sink.wait(2);
    assert!(
        records
            .iter()
            .all(|record| record.entry == Entry::Transparent)
    );
    assert_eq!(records[1].host, "192.0.2.8");
}

#[test]
fn names_that_dns_gave_out_are_known_again() {
    let server = Server::http("hello");
    let relay = start(Setup::default().allow("a.example", 80, &server));
    let mut dns = Guest::open(&relay.socket, RelayOpening::Dns);
    let mut address = None;
    for _ in 0..3 {
        dns.data(&question("a.example", 1));
        let reply = dns.frame().expect("an answer");
        let last: [u8; 4] = reply[reply.len() - 4..].try_into().unwrap();
        assert_eq!(
            *address.get_or_insert(last),
            last,
            "the same name, the same address"
        );
    }
    let address = SocketAddr::from((address.unwrap(), 80));
    let mut guest = Guest::open(&relay.socket, RelayOpening::Transparent(address));
    guest.data(http("a.example").as_bytes());
    let answer = String::from_utf8(guest.rest()).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(
        relay.gate.resolver.asked().is_empty(),
        "nothing is looked up for a name with a fixed address"
    );
}

#[test]
fn a_client_that_knows_the_proxy_is_served() {
    let server = Server::echo();
    let relay = start(Setup::default().allow_tcp("a.example", 7, &server));
    let mut guest = Guest::open(&relay.socket, RelayOpening::Proxy);
    guest.data(b"CONNECT a.example:7 HTTP/1.1\r\nhost: a.example:7\r\n\r\n");
    let head = guest.frame().expect("an answer");
    assert!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    guest.data(b"over and out");
    assert_eq!(guest.frame().as_deref(), Some(&b"over and out"[..]));
    // The end of one direction reaches the other side, whose own end comes back.
    guest.end();
    assert_eq!(guest.frame(), None);
}

#[test]
fn large_bodies_pass_whole_to_a_slow_reader() {
    const SIZE: usize = 8 << 20;
    let server = Server::new(|mut session| {
        session.request();
        session.send(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"
        ));
        session.send_bytes(&vec![7; SIZE]);
    });
    let relay = start(Setup::default().allow("192.0.2.7", 80, &server));
    let mut guest = Guest::open(&relay.socket, to("192.0.2.7:80"));
    guest.data(http("192.0.2.7").as_bytes());
    std::thread::sleep(Duration::from_millis(200));
    let all = guest.rest();
    let body = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(all.len() - body == SIZE && all[body..].iter().all(|byte| *byte == 7));
}

#[test]
fn whoever_speaks_no_relay_is_hung_up_on() {
    let server = Server::http("hello");
    let limits =
        |limits: &mut palisade_gate::GateLimits| limits.hello_time = Duration::from_millis(200);
    let relay = start(
        Setup::default()
            .allow("192.0.2.7", 80, &server)
            .limits(limits),
    );
    for wrong in [
        &[0; 24][..],
        &[0xff; 24],
        b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n",
    ] {
        let mut guest = Guest::connect(&relay.socket);
        guest.0.write_all(wrong).unwrap();
        assert!(guest.is_closed(), "{wrong:?}");
    }
    let mut silent = Guest::connect(&relay.socket);
    assert!(silent.is_closed(), "an opening has its time");
    let mut cut = Guest::open(&relay.socket, to("192.0.2.7:80"));
    cut.0.write_all(&[1, 0, 0, 0]).unwrap();
    assert!(cut.is_closed(), "a frame of nothing");
    let mut long = Guest::open(&relay.socket, RelayOpening::Dns);
    long.data(&[0; 4000]);
    assert!(long.is_closed(), "no query is so long");
    assert!(server.is_untouched());
    // The gate goes on.
    let mut guest = Guest::open(&relay.socket, to("192.0.2.7:80"));
    guest.data(http("192.0.2.7").as_bytes());
    assert!(guest.rest().ends_with(b"hello"));
}

#[test]
fn a_stream_that_is_cut_reaches_nobody_as_an_end() {
    let server = Server::echo();
    let relay = start(
        Setup::default()
            .allow_tcp("192.0.2.7", 7, &server)
            .rule(rule("b.example")),
    );
    let mut guest = Guest::open(&relay.socket, to("192.0.2.7:7"));
    guest.data(b"whole");
    assert_eq!(guest.frame().as_deref(), Some(&b"whole"[..]));
    guest.0.write_all(&RelayFrame::Data(100).head()).unwrap();
    guest.0.write_all(b"half").unwrap();
    drop(guest);
    let record = relay.gate.sink.wait(1).remove(0);
    assert!(record.error.is_some(), "{record:?}");
}
