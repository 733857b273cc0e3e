//! A small HTTPS server on loopback, for a session that is run only to see who inside trusts the gate.
//!
//! It gives every request the same answer and remembers which paths were asked for: a client that got that far has
//! trusted the certificate it was shown.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_gate::{ConstrainedName, Interceptor, Offer, SessionAuthority};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What every request gets.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\
connection: close\r\n\r\n{\"palisade\":\"here\"}";
/// A longer head is none of a client that is to be tried.
const LONGEST_HEAD: usize = 16 << 10;
/// No exchange takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Paths remembered. There are some thirty clients.
const MOST_PATHS: usize = 1000;

/// The server. It runs for as long as the process does.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    authority_pem: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Starts it for this host name, with an authority of its own.
    ///
    /// # Errors
    /// No port, no thread or no certificate can be had.
    pub fn start(host: &str) -> io::Result<Self> {
        let names = [ConstrainedName::Name(host.to_owned())];
        let authority = SessionAuthority::new("origin", &names).map_err(io::Error::other)?;
        let authority_pem = authority.certificate_pem().to_owned();
        let interceptor = Interceptor::new(authority, 1).map_err(io::Error::other)?;
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let paths = Arc::<Mutex<Vec<String>>>::default();
        let server = Server {
            host: host.to_owned(),
            interceptor,
            paths: Arc::clone(&paths),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("origin".into())
            .spawn(move || runtime.block_on(serve(listener, Arc::new(server))))?;
        Ok(Self {
            address,
            authority_pem,
            paths,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its authority, PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The paths that were asked for so far.
    pub fn paths(&self) -> Vec<String> {
        self.paths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Server {
    host: String,
    interceptor: Interceptor,
    paths: Arc<Mutex<Vec<String>>>,
}

async fn serve(listener: StdListener, server: Arc<Server>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await?;
                let server = Arc::clone(&server);
                // What a client does wrong is seen by its path being missing.
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(PATIENCE, server.answer(stream)).await;
                });
            }
        })
        .await
}

impl Server {
    async fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let offer = Offer {
            http1: true,
            http2: false,
        };
        let accepted = self.interceptor.accept(stream, &self.host, offer).await;
        let (mut stream, _) = accepted.map_err(io::Error::other)?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < LONGEST_HEAD {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        self.remember(&head);
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    }

    fn remember(&self, head: &[u8]) {
        let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = line.split(' ').nth(1)
            && paths.len() < MOST_PATHS
        {
            paths.push(path.to_owned());
        }
    }
}
