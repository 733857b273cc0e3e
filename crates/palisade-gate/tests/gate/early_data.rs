//! TLS 1.3 early data can be replayed by whoever saw it (RFC 8446 section 8): through the gate there is none, whatever an
//! agent and a server would do between themselves.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use palisade_policy::Rule;
use palisade_test_support::authority::Authority;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection, Stream,
};

use crate::harness::{Server, Setup, Way, rule, trusting};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

/// One connection: how it began, and what came early on it.
type Begun = (HandshakeKind, Vec<u8>);

/// A server of one request a connection that takes early data.
struct Willing {
    server: Server,
    begun: Arc<Mutex<Vec<Begun>>>,
}

impl Willing {
    fn new(authority: &Authority) -> Self {
        let config = authority.server_config_for(&["a.example"], &["http/1.1"]);
        let mut config = ServerConfig::clone(&config);
        config.max_early_data_size = 4096;
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut server = Server::http("unused");
        server.address = listener.local_addr().unwrap();
        let begun = Arc::<Mutex<Vec<Begun>>>::default();
        let log = Arc::clone(&begun);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(&config, stream, &log);
            }
        });
        Self { server, begun }
    }

    fn begun(&self) -> Vec<Begun> {
        std::mem::take(&mut *self.begun.lock().unwrap())
    }
}

fn answer(config: &Arc<ServerConfig>, mut stream: TcpStream, log: &Mutex<Vec<Begun>>) {
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    let (mut early, mut asked) = (Vec::new(), Vec::new());
    while !asked.ends_with(b"\r\n\r\n") {
        if tls.complete_io(&mut stream).is_err() {
            return;
        }
        if let Some(mut data) = tls.early_data() {
            data.read_to_end(&mut early).unwrap();
        }
        let mut plain = [0; 4096];
        let count = tls.reader().read(&mut plain).unwrap_or(0);
        asked.extend(&plain[..count]);
        if asked.is_empty() {
            asked.clone_from(&early);
        }
    }
    let kind = tls.handshake_kind().unwrap();
    log.lock().unwrap().push((kind, early));
    tls.writer().write_all(ANSWER).unwrap();
    tls.send_close_notify();
    while tls.wants_write() && tls.complete_io(&mut stream).is_ok() {}
}

/// An agent that sends early data wherever it may.
fn agent(trust: &str) -> Arc<ClientConfig> {
    let mut config = trusting(trust);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_early_data = true;
    Arc::new(config)
}

/// Asks, early if it may, and says how the connection began and whether early data was taken.
fn ask(config: &Arc<ClientConfig>, mut stream: TcpStream) -> (HandshakeKind, bool) {
    let name = ServerName::try_from("a.example").unwrap();
    let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    let early = match tls.early_data() {
        Some(mut data) => data.write(ASK).unwrap() == ASK.len(),
        None => false,
    };
    if early {
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).unwrap();
        }
    }
    let taken = tls.is_early_data_accepted();
    let mut both = Stream::new(&mut tls, &mut stream);
    if !taken {
        both.write_all(ASK).unwrap();
    }
    let mut got = Vec::new();
    both.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(b"hello"), "{}", String::from_utf8_lossy(&got));
    (tls.handshake_kind().unwrap(), taken)
}

#[test]
fn f28_there_is_no_early_data_on_either_side() {
    use HandshakeKind::{Full, Resumed};
    let authority = Authority::new();
    let upstream = Willing::new(&authority);
    // The control: without a gate they use it.
    let config = agent(authority.pem());
    let direct = || TcpStream::connect(upstream.server.address).unwrap();
    assert_eq!(ask(&config, direct()), (Full, false));
    assert_eq!(ask(&config, direct()), (Resumed, true));
    let expected = [(Full, Vec::new()), (Resumed, ASK.to_vec())];
    assert_eq!(upstream.begun(), expected);

    let looked_into = Rule {
        intercept: Some(true),
        ..rule("a.example")
    };
    let gate = Setup::default()
        .rule(looked_into)
        .map("a.example", 443, &upstream.server)
        .intercept(&authority)
        .start();
    let config = agent(&gate.trust);
    let through = || gate.tunnel(Way::Connect, "a.example", 443).stream;
    // Its ticket is good, and says that there is to be no early data.
    assert_eq!(ask(&config, through()), (Full, false));
    assert_eq!(ask(&config, through()), (Resumed, false));
    let begun = upstream.begun();
    assert!(begun.iter().all(|(_, early)| early.is_empty()), "{begun:?}");
    assert!(begun.iter().any(|(kind, _)| *kind == Resumed), "{begun:?}");
}
