//! Accepting, with a bound on how much is open at a time.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::Entry;
use palisade_policy::DenialReason;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::conn::Conn;
use crate::detect::serve_proxy;
use crate::record::note;
use crate::relay;
use crate::shared::Shared;
use crate::transparent::serve_transparent;

/// Pause after a failed accept. The usual cause is that descriptors ran out, which ends when a connection does.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two records of connections over the limit, which an agent could otherwise fill the log with.
const LIMIT_RECORD: Duration = Duration::from_secs(1);

/// What a TCP listener carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Proxy,
    Transparent,
}

/// Where connections come from.
pub(crate) enum Listening {
    /// Sockets that live inside.
    Tcp(TcpListener, Carries),
    /// A socket outside, to which each connection of the inside is relayed.
    Relay(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, Carries),
    Relay(UnixStream),
}

impl Listening {
    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener, carries) => Accepted::Tcp(listener.accept().await?.0, *carries),
            Self::Relay(listener) => Accepted::Relay(listener.accept().await?.0),
        })
    }
}

/// Accepts and serves until `stop` changes; then ends what is open, each with its record.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    listening: Listening,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut lost = shared.audit_lost();
    let mut limit_recorded: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.changed() => break,
            Ok(()) = lost.changed() => {
                connections.shutdown().await;
                continue;
            }
            accepted = listening.accept() => accepted,
            // A connection that panicked ends here, and it alone; its ticket was written while it unwound.
            Some(_) = connections.join_next() => continue,
        };
        let Ok(accepted) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            if limit_recorded.is_none_or(|at| at.elapsed() >= LIMIT_RECORD) {
                limit_recorded = Some(Instant::now());
                over_limit(&shared, accepted.entry());
            }
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            serve(shared, accepted).await;
            drop(slot);
        });
    }
    connections.shutdown().await;
}

async fn serve(shared: Arc<Shared>, accepted: Accepted) {
    let (stream, carries) = match accepted {
        Accepted::Tcp(stream, carries) => (stream, carries),
        Accepted::Relay(stream) => return relay::serve(shared, stream).await,
    };
    // It cannot fail on a connected socket in a way that matters; without it small messages wait for an answer.
    let _ = stream.set_nodelay(true);
    match carries {
        Carries::Proxy => serve_proxy(shared, Conn::new(stream)).await,
        Carries::Transparent => match shared.original.of(&stream) {
            Ok(original) => serve_transparent(shared, Conn::new(stream), original).await,
            Err(error) => unknown_destination(&shared, &error),
        },
    }
}

impl Accepted {
    /// What it would be recorded as; what a relayed one is, it has not said yet.
    fn entry(&self) -> Entry {
        match self {
            Self::Tcp(_, Carries::Proxy) => Entry::Forward,
            Self::Tcp(_, Carries::Transparent) | Self::Relay(_) => Entry::Transparent,
        }
    }
}

fn over_limit(shared: &Shared, entry: Entry) {
    shared.summary.deny("", DenialReason::Limit);
    let error = "too many connections at a time; some were closed unread";
    note(shared, entry, "", Some(DenialReason::Limit), Some(error));
}

fn unknown_destination(shared: &Shared, error: &io::Error) {
    shared.summary.deny("", DenialReason::BadHost);
    let error = format!("read the original destination: {error}");
    note(
        shared,
        Entry::Transparent,
        "",
        Some(DenialReason::BadHost),
        Some(&error),
    );
}
