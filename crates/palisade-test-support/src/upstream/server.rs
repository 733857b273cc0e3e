//! The accept loop, with or without TLS, and the log of what arrived.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http::{Handler, Request, read_request, write_response};
use crate::authority::Authority;

/// A connection that says nothing for this long is closed, so that no thread waits for ever.
const IDLE: Duration = Duration::from_secs(120);
/// Requests kept in the log. A load test sends more; what is asked of the log is about the first ones.
const LOGGED: usize = 10_000;

type Log = Arc<Mutex<Vec<Arc<Request>>>>;

/// A running stand-in. It stops accepting when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    log: Log,
}

impl Server {
    /// Serves plain HTTP.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn http(handler: impl Handler) -> Self {
        Self::start(Arc::new(handler), None)
    }

    /// Serves HTTPS under these names, certified by this authority.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn https(handler: impl Handler, authority: &Authority, names: &[&str]) -> Self {
        Self::start(Arc::new(handler), Some(authority.server_config(names)))
    }

    /// Serves bare connections.
    ///
    /// # Panics
    /// If no port can be had.
    pub(super) fn bare(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let (listener, server) = Self::bind();
        let stop = Arc::clone(&server.stop);
        let serve = Arc::new(serve);
        thread::spawn(move || accept(&listener, &stop, &move |stream| serve(stream)));
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        lock(&self.log).clone()
    }

    fn start(handler: Arc<dyn Handler>, tls: Option<Arc<ServerConfig>>) -> Self {
        let (listener, server) = Self::bind();
        let (stop, log) = (Arc::clone(&server.stop), Arc::clone(&server.log));
        thread::spawn(move || {
            accept(&listener, &stop, &move |stream| {
                // A client may leave at any point; the test looks at the client and at the log.
                serve(stream, handler.as_ref(), tls.clone(), &log).ok();
            });
        });
        server
    }

    fn bind() -> (TcpListener, Self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let server = Self {
            address,
            stop: Arc::default(),
            log: Arc::default(),
        };
        (listener, server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept loop, which then sees that it has to stop.
        TcpStream::connect(self.address).ok();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

fn accept<S>(listener: &TcpListener, stop: &AtomicBool, serve: &S)
where
    S: Fn(TcpStream) + Clone + Send + 'static,
{
    for stream in listener.incoming() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        stream.set_read_timeout(Some(IDLE)).ok();
        stream.set_nodelay(true).ok();
        let serve = serve.clone();
        thread::spawn(move || serve(stream));
    }
}

fn serve(
    stream: TcpStream,
    handler: &dyn Handler,
    tls: Option<Arc<ServerConfig>>,
    log: &Log,
) -> io::Result<()> {
    match tls {
        None => exchange(&mut BufReader::new(stream), handler, false, log),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let done = exchange(&mut stream, handler, true, log);
            // Without it some clients take the end for a truncation.
            let tls = stream.get_mut();
            tls.conn.send_close_notify();
            tls.flush().ok();
            done
        }
    }
}

fn exchange<S: Read + Write>(
    stream: &mut BufReader<S>,
    handler: &dyn Handler,
    tls: bool,
    log: &Log,
) -> io::Result<()> {
    while let Some(request) = read_request(stream, tls)? {
        let request = Arc::new(request);
        // Before the answer: a test that sees the answer finds the request.
        record(log, &request);
        write_response(stream.get_mut(), &request, &handler.answer(&request))?;
    }
    Ok(())
}

fn record(log: &Log, request: &Arc<Request>) {
    let mut log = lock(log);
    if log.len() < LOGGED {
        log.push(Arc::clone(request));
    }
}

fn lock(log: &Log) -> std::sync::MutexGuard<'_, Vec<Arc<Request>>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
