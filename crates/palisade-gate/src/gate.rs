//! The gate itself: adopts the listeners, serves them, and ends what is open when told to.

use std::future::Future;
use std::io;
use std::net::{TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use palisade_protocol::{EgressEndpoint, Listener, ListenerKind};
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::GateConfig;
use crate::dns;
use crate::listen::{Carries, Listening, listen};
use crate::shared::Shared;
use crate::summary::{Summary, SummaryHandle};

/// How long recorded events may wait in the sink while the log is busy.
const FLUSH_AFTER: Duration = Duration::from_millis(10);

/// A gate, not yet serving.
pub struct Gate {
    shared: Arc<Shared>,
}

/// The gate cannot begin to serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A socket of the endpoint is not usable.
    #[error("adopt the {0:?} listener: {1}")]
    Adopt(ListenerKind, #[source] io::Error),
    /// The socket that connections are relayed to.
    #[error("adopt the relay's socket: {0}")]
    AdoptRelay(#[source] io::Error),
    /// An endpoint of a kind this gate does not know.
    #[error("serve an egress endpoint of an unknown kind")]
    Endpoint,
}

impl Gate {
    /// A gate for one session.
    pub fn new(config: GateConfig) -> Self {
        let summary = SummaryHandle::new(config.limits.summary_hosts);
        Self {
            shared: Arc::new(Shared::new(config, summary)),
        }
    }

    /// The live counts.
    pub fn summary(&self) -> SummaryHandle {
        self.shared.summary.clone()
    }

    /// Serves until `shutdown` completes; then ends what is open, records it and flushes the audit log.
    ///
    /// Runs in a tokio runtime with I/O and time enabled; one of a single thread suits it best.
    ///
    /// # Errors
    /// A socket of the endpoint cannot be used. Nothing is served then.
    pub async fn serve(
        self,
        endpoint: EgressEndpoint,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Summary, ServeError> {
        let adopted = match endpoint {
            EgressEndpoint::Sockets(listeners) => listeners
                .into_iter()
                .map(adopt)
                .collect::<Result<Vec<_>, _>>()?,
            EgressEndpoint::Relay(socket) => {
                let listening = unix(socket).map_err(ServeError::AdoptRelay)?;
                vec![Adopted::Listening(Listening::Relay(listening))]
            }
            _ => return Err(ServeError::Endpoint),
        };
        let slots = Arc::new(Semaphore::new(self.shared.limits.connections));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for listener in adopted {
            let shared = Arc::clone(&self.shared);
            let stopped = stopped.clone();
            match listener {
                Adopted::Listening(listening) => {
                    tasks.spawn(listen(shared, listening, Arc::clone(&slots), stopped));
                }
                Adopted::Dns(socket) => {
                    tasks.spawn(dns::udp::serve(shared, socket, stopped));
                }
            }
        }
        let mut housekeeping = JoinSet::new();
        housekeeping.spawn(flush_when_dirty(Arc::clone(&self.shared)));
        let shared = Arc::clone(&self.shared);
        housekeeping.spawn(async move { shared.pool.sweep().await });
        shutdown.await;
        // The receivers may be gone already, if every listener has ended.
        let _ = stop.send(true);
        while tasks.join_next().await.is_some() {}
        self.shared.http2.shutdown().await;
        housekeeping.shutdown().await;
        self.shared.flush();
        Ok(self.shared.summary.get())
    }
}

enum Adopted {
    Listening(Listening),
    Dns(UdpSocket),
}

fn adopt(listener: Listener) -> Result<Adopted, ServeError> {
    let kind = listener.kind;
    let adopted = match kind {
        ListenerKind::Proxy => tcp(listener.socket, Carries::Proxy),
        ListenerKind::Transparent => tcp(listener.socket, Carries::Transparent),
        ListenerKind::DnsV4 => udp(listener.socket, dns::udp::Family::V4),
        ListenerKind::DnsV6 => udp(listener.socket, dns::udp::Family::V6),
    };
    adopted.map_err(|error| ServeError::Adopt(kind, error))
}

fn tcp(socket: OwnedFd, carries: Carries) -> io::Result<Adopted> {
    let listener = StdTcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let listening = Listening::Tcp(TcpListener::from_std(listener)?, carries);
    Ok(Adopted::Listening(listening))
}

fn unix(socket: OwnedFd) -> io::Result<UnixListener> {
    let listener = StdUnixListener::from(socket);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn udp(socket: OwnedFd, family: dns::udp::Family) -> io::Result<Adopted> {
    let socket = StdUdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    dns::udp::ask_for_destination(&socket, family)?;
    Ok(Adopted::Dns(UdpSocket::from_std(socket)?))
}

/// Hands recorded events to the operating system soon after, without a wake-up while nothing happens.
async fn flush_when_dirty(shared: Arc<Shared>) {
    loop {
        shared.recorded.notified().await;
        tokio::time::sleep(FLUSH_AFTER).await;
        shared.flush();
    }
}
