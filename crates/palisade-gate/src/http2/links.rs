//! Connections to servers. One carries many requests, of all connections of the agent's that may go there.
//!
//! Like the pool of HTTP/1.1 they belong to one gate, so to one session and one policy; a permit is asked about the
//! address of each before it is used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use palisade_policy::{Authority, Permit};
use palisade_tls::{Alpn, Offer};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::dial::{DialError, Upstream, dial, secure};
use crate::limits::GateLimits;
use crate::shared::Shared;
use crate::stream::UpstreamStream;

/// Bytes a server may send of one response before any are taken: 20 MB/s at a round trip of 50 ms.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same of all responses of one connection, so that a few that nobody reads do not stop the others.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes of one frame: two TLS records. Few servers send more than the default of 16 KiB.
const FRAME: u32 = 32 * 1024;
/// Bytes of one request that are made and not yet sent.
const SEND_BUFFER: usize = 128 * 1024;
/// Connections to one server. Servers take about 100 requests at a time on each.
const PER_HOST: usize = 8;
/// Requests sent on a connection before the server has said how many it takes at a time. More would be refused by one
/// that takes few; they wait for its word, which comes within a round trip.
const BEFORE_SETTINGS: usize = 1;
/// How many a server is taken to allow until then. RFC 9113 recommends no fewer.
const ASSUMED: usize = 100;
/// Servers whose entry is kept without a connection, before a look at which of them are needed.
const EMPTY_HOSTS: usize = 1024;
/// How long a connection that is no longer needed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// All connections of a gate.
pub(super) struct Links {
    hosts: Mutex<HashMap<Authority, Host>>,
    most: usize,
    keep: Duration,
    next: AtomicUsize,
}

#[derive(Default)]
struct Host {
    links: Vec<Link>,
    /// Held by who dials: a burst of requests makes one connection, not one each.
    dialling: Arc<AsyncMutex<()>>,
}

struct Link {
    id: usize,
    send: SendRequest<Bytes>,
    address: Option<IpAddr>,
    uses: Arc<Uses>,
}

struct Uses {
    active: AtomicUsize,
    last: Mutex<Instant>,
}

/// A connection that one request may use.
pub(super) struct Taken {
    pub(super) send: SendRequest<Bytes>,
    pub(super) address: Option<IpAddr>,
    /// It has carried requests before.
    pub(super) reused: bool,
    uses: Arc<Uses>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.uses.last() = Instant::now();
        self.uses.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Uses {
    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }
}

/// Keeps a connection for requests to come.
pub(crate) fn keep(shared: &Arc<Shared>, authority: &Authority, upstream: Upstream) {
    if shared.http2.links.is_full(authority) {
        return;
    }
    // Whoever comes before it is ready waits for it instead of dialling.
    let dialling = shared.http2.links.dialling(authority).try_lock_owned().ok();
    let (held, authority) = (Arc::clone(shared), authority.clone());
    shared.http2.spawn(async move {
        let opened = open(&held, &authority, upstream).await;
        drop(dialling);
        if let Ok(opened) = opened {
            drive(held, authority, opened).await;
        }
    });
}

/// Whether a connection is kept.
pub(crate) fn has(shared: &Shared, authority: &Authority) -> bool {
    let hosts = shared.http2.links.lock();
    hosts
        .get(authority)
        .is_some_and(|host| !host.links.is_empty())
}

/// A connection to what the permit is for, made now if there is none that can take a request.
pub(super) async fn link(shared: &Arc<Shared>, permit: Permit) -> Result<Taken, DialError> {
    let links = &shared.http2.links;
    if let Some(taken) = links.take(&permit) {
        return Ok(taken);
    }
    let authority = permit.authority().clone();
    let dialling = links.dialling(&authority).lock_owned().await;
    match links.take(&permit) {
        Some(taken) => Ok(taken),
        None => fresh(shared, permit, &authority, dialling).await,
    }
}

async fn fresh(
    shared: &Arc<Shared>,
    permit: Permit,
    authority: &Authority,
    dialling: OwnedMutexGuard<()>,
) -> Result<Taken, DialError> {
    let upstream = dial(shared, permit).await?;
    let offer = Offer {
        http1: false,
        http2: true,
    };
    let secured = secure(shared, upstream, authority, offer).await;
    let upstream = match secured {
        Ok((upstream, Alpn::Http2)) => upstream,
        other => {
            // Whether it is down or has changed its mind: the next connection of the agent's asks it again.
            shared.protocols.forget(authority);
            other?;
            let text = format!("{authority}: it no longer speaks HTTP/2");
            return Err(DialError::failed(text));
        }
    };
    let opened = open(shared, authority, upstream).await?;
    let taken = opened.taken();
    drop(dialling);
    let (held, authority) = (Arc::clone(shared), authority.clone());
    shared.http2.spawn(drive(held, authority, opened));
    Ok(taken)
}

/// A connection that was just made, and has to be driven.
struct Opened {
    id: usize,
    send: SendRequest<Bytes>,
    address: Option<IpAddr>,
    uses: Arc<Uses>,
    connection: Connection<UpstreamStream, Bytes>,
}

impl Opened {
    fn taken(&self) -> Taken {
        self.uses.active.fetch_add(1, Ordering::AcqRel);
        Taken {
            send: self.send.clone(),
            address: self.address,
            reused: false,
            uses: Arc::clone(&self.uses),
        }
    }
}

async fn open(
    shared: &Shared,
    authority: &Authority,
    upstream: Upstream,
) -> Result<Opened, DialError> {
    let failed = |text: &str| DialError::failed(format!("{authority}: {text}"));
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .initial_max_send_streams(BEFORE_SETTINGS)
        .max_header_list_size(u32::try_from(shared.limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER);
    let handshake = builder.handshake::<_, Bytes>(upstream.conn.io);
    let (send, connection) = match timeout(shared.limits.tls_time, handshake).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return Err(failed(&error.to_string())),
        Err(_) => return Err(failed("it did not take the beginning of HTTP/2 in time")),
    };
    let links = &shared.http2.links;
    let opened = Opened {
        id: links.next.fetch_add(1, Ordering::Relaxed),
        send,
        address: upstream.address,
        uses: Arc::new(Uses {
            active: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
        }),
        connection,
    };
    links.put(authority, &opened);
    Ok(opened)
}

/// Drives a connection to its end, which comes when it is no longer used.
async fn drive(shared: Arc<Shared>, authority: Authority, opened: Opened) {
    let Opened {
        id,
        send,
        uses,
        connection,
        ..
    } = opened;
    drop(send);
    let links = &shared.http2.links;
    let mut connection = std::pin::pin!(connection);
    let mut wait = links.keep;
    let mut ended = false;
    while !ended {
        ended = timeout(wait, &mut connection).await.is_ok();
        let rested = uses.last().elapsed();
        if !ended && rested >= links.keep && links.remove_unused(&authority, id) {
            break;
        }
        wait = match links.keep.saturating_sub(rested) {
            Duration::ZERO => links.keep,
            rest => rest,
        };
    }
    if ended {
        links.remove(&authority, id);
    } else {
        // Its last handle is gone, so it says goodbye and ends.
        let _ = timeout(GOODBYE, connection).await;
    }
}

impl Links {
    pub(super) fn new(limits: &GateLimits) -> Self {
        Self {
            hosts: Mutex::default(),
            most: limits.pool_total,
            keep: limits.pool_idle,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// A connection that takes one more request, or, if there are as many as may be, the one with the fewest.
    fn take(&self, permit: &Permit) -> Option<Taken> {
        let mut hosts = self.lock();
        let host = hosts.get_mut(permit.authority())?;
        host.links.retain_mut(|link| is_usable(&mut link.send));
        let admitted = |link: &&Link| link.address.is_none_or(|ip| permit.admit(ip).is_ok());
        let active = |link: &Link| link.uses.active.load(Ordering::Acquire);
        let mut free = host
            .links
            .iter()
            .filter(admitted)
            .filter(|link| active(link) < room(&link.send));
        let link = match free.next() {
            Some(link) => link,
            None if host.links.len() < PER_HOST => return None,
            None => host
                .links
                .iter()
                .filter(admitted)
                .min_by_key(|link| active(link))?,
        };
        link.uses.active.fetch_add(1, Ordering::AcqRel);
        Some(Taken {
            send: link.send.clone(),
            address: link.address,
            reused: true,
            uses: Arc::clone(&link.uses),
        })
    }

    fn is_full(&self, authority: &Authority) -> bool {
        let hosts = self.lock();
        hosts
            .get(authority)
            .is_some_and(|host| host.links.len() >= PER_HOST)
    }

    fn put(&self, authority: &Authority, opened: &Opened) {
        let mut hosts = self.lock();
        let count: usize = hosts.values().map(|host| host.links.len()).sum();
        if count >= self.most {
            drop_unused(&mut hosts);
        }
        let host = hosts.entry(authority.clone()).or_default();
        host.links.push(Link {
            id: opened.id,
            send: opened.send.clone(),
            address: opened.address,
            uses: Arc::clone(&opened.uses),
        });
    }

    fn remove(&self, authority: &Authority, id: usize) {
        if let Some(host) = self.lock().get_mut(authority) {
            host.links.retain(|link| link.id != id);
        }
    }

    /// Whether it is removed; one that a request has just taken is not.
    fn remove_unused(&self, authority: &Authority, id: usize) -> bool {
        let mut hosts = self.lock();
        let Some(host) = hosts.get_mut(authority) else {
            return true;
        };
        let at = host.links.iter().position(|link| link.id == id);
        match at {
            Some(at) if host.links[at].uses.is_active() => false,
            Some(at) => {
                host.links.swap_remove(at);
                true
            }
            // It was found to be of no more use, and may be carrying its last requests.
            None => false,
        }
    }

    fn dialling(&self, authority: &Authority) -> Arc<AsyncMutex<()>> {
        let mut hosts = self.lock();
        if hosts.len() >= EMPTY_HOSTS && !hosts.contains_key(authority) {
            hosts.retain(|_, host| !host.links.is_empty() || Arc::strong_count(&host.dialling) > 1);
        }
        let host = hosts.entry(authority.clone()).or_default();
        Arc::clone(&host.dialling)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Authority, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a new request can be sent: it has neither ended nor been told to end (GOAWAY).
fn is_usable(send: &mut SendRequest<Bytes>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    !matches!(send.poll_ready(&mut cx), Poll::Ready(Err(_)))
}

/// Requests that it takes at a time.
fn room(send: &SendRequest<Bytes>) -> usize {
    match send.current_max_send_streams() {
        BEFORE_SETTINGS => ASSUMED,
        said => said,
    }
}

/// Lets one connection go that no request uses; its driver sees that its handles are gone.
fn drop_unused(hosts: &mut HashMap<Authority, Host>) {
    for host in hosts.values_mut() {
        let unused = host.links.iter().position(|link| !link.uses.is_active());
        if let Some(at) = unused {
            host.links.swap_remove(at);
            return;
        }
    }
}
