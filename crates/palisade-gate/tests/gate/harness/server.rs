//! Upstreams that do as they are told and remember what they saw.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_test_support::authority::Authority;

use super::tls;

/// Bytes that each accepted connection received.
pub(crate) type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server on loopback. Its threads end with the test process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Seen,
}

impl Server {
    /// The same server behind TLS for these names, speaking these protocols.
    pub(crate) fn within_tls(
        self,
        authority: &Authority,
        names: &[&str],
        protocols: &[&str],
    ) -> Self {
        let config = authority.server_config_for(names, protocols);
        Self {
            address: tls::front(config, self.address),
            seen: self.seen,
        }
    }

    /// Handles each connection with `script`, in a thread of its own.
    pub(crate) fn new(script: impl Fn(Session) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let index = {
                    let mut log = log.lock().unwrap();
                    log.push(Vec::new());
                    log.len() - 1
                };
                let session = Session {
                    stream,
                    index,
                    log: Arc::clone(&log),
                    rest: Vec::new(),
                };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(session));
            }
        });
        Self { address, seen }
    }

    /// Answers every request with 200 and this body, on kept connections.
    pub(crate) fn http(body: &'static str) -> Self {
        Self::new(move |mut session| {
            while session.request().is_some() {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-own: 1\r\n\r\n",
                    body.len()
                );
                session.send(&head);
                session.send(body);
            }
        })
    }

    /// Answers every request with these bytes, whatever they are, and closes.
    pub(crate) fn answers(bytes: &'static [u8]) -> Self {
        Self::new(move |mut session| {
            if session.request().is_some() {
                session.send_bytes(bytes);
            }
        })
    }

    /// Sends back what it gets.
    pub(crate) fn echo() -> Self {
        Self::new(|mut session| {
            while let Some(bytes) = session.receive() {
                session.send_bytes(&bytes);
            }
        })
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// All bytes so far, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().concat()
    }

    /// The same as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Nothing at all reached it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.bytes().is_empty()
    }
}

/// One accepted connection.
pub(crate) struct Session {
    stream: TcpStream,
    index: usize,
    log: Seen,
    rest: Vec<u8>,
}

impl Session {
    /// Whatever comes next; none at the end.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                bytes.truncate(count);
                self.log.lock().unwrap()[self.index].extend(&bytes);
                Some(bytes)
            }
        }
    }

    /// The next request's head and its body of stated length; chunked bodies are left alone.
    pub(crate) fn request(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.rest).into_owned();
            if let Some(end) = text.find("\r\n\r\n") {
                let length = text[..end]
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |value| value.parse().unwrap());
                if self.rest.len() >= end + 4 + length {
                    self.rest.drain(..end + 4 + length);
                    return Some(text[..end + 4].to_owned());
                }
            }
            let more = self.receive()?;
            self.rest.extend(more);
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// The gate may have closed meanwhile; that is for the test to see.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
