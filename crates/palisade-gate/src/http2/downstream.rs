//! One connection of the agent's, whose TLS ended here with HTTP/2 agreed upon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use palisade_audit::{Entry, Spoken};
use palisade_policy::{Authority, DenialReason};
use palisade_tls::ServerStream;
use tokio::time::{sleep_until, timeout};

use crate::conn::Stream;
use crate::http2::call::Call;
use crate::http2::exchange::described;
use crate::limits::GateLimits;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;

/// Requests of one connection at a time. RFC 9113 recommends no fewer than 100, and common servers allow 100 to 250.
const STREAMS: u32 = 128;
/// Bytes the agent may send of one request before any are passed on. It is on this machine, so little is on the way.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all requests of one connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one frame: two TLS records.
const FRAME: u32 = 32 * 1024;
/// Bytes of one response that are made and not yet sent.
const SEND_BUFFER: usize = 128 * 1024;
/// Requests that the agent may cancel before it has to have let as many come to their end. Real clients cancel some, and
/// one that cancels for its own sake makes work without end (CVE-2023-44487).
const CANCELLED: u64 = 256;
/// How long the agent may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves the requests of one connection.
pub(crate) async fn serve<S: Stream>(
    shared: &Arc<Shared>,
    stream: ServerStream<S>,
    authority: Authority,
    entry: Entry,
) {
    let limits = &shared.limits;
    let handshake = builder(limits).handshake::<_, Bytes>(stream);
    let connection = match timeout(limits.head_time, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if !error.is_io() {
                refuse(
                    shared,
                    (&authority, entry),
                    DenialReason::BadRequest,
                    &error,
                );
            }
            return;
        }
        // It is closed as any connection on which nothing comes.
        Err(_) => return,
    };
    let served = Served {
        connection,
        at: (&authority, entry),
        ended: Arc::default(),
        begun: 0,
    };
    if let Err((reason, error)) = served.run(shared).await {
        refuse(shared, (&authority, entry), reason, &error);
    }
}

fn builder(limits: &GateLimits) -> Builder {
    // More than is taken, so that most of what is too long is refused with its record and not by the library.
    let head = u32::try_from(limits.head_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(head)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Records what ended a connection and was no request.
fn refuse(
    shared: &Arc<Shared>,
    (authority, entry): (&Authority, Entry),
    reason: DenialReason,
    error: &h2::Error,
) {
    let mut ticket = Ticket::new(shared, entry, Instant::now());
    ticket.destination(authority);
    ticket.intercepted = true;
    ticket.spoken = Some(Spoken::H2);
    let detail = format!("HTTP/2: {}", described(error));
    ticket.refused(&Refusal::of(authority, reason).with_detail(detail));
    ticket.end();
}

/// A connection and the requests on it.
struct Served<'a, S: Stream> {
    connection: Connection<ServerStream<S>, Bytes>,
    at: (&'a Authority, Entry),
    ended: Arc<Ended>,
    /// Requests that have begun.
    begun: u64,
}

/// What came of a connection's requests.
#[derive(Default)]
struct Ended {
    whole: AtomicU64,
    cancelled: AtomicU64,
}

impl<S: Stream> Served<'_, S> {
    async fn run(mut self, shared: &Arc<Shared>) -> Result<(), (DenialReason, h2::Error)> {
        let keep_alive = shared.limits.keep_alive;
        let mut deadline = tokio::time::Instant::now() + keep_alive;
        let mut leaving = false;
        loop {
            let accepted = tokio::select! {
                accepted = self.connection.accept() => accepted,
                () = sleep_until(deadline) => {
                    if leaving && !self.connection.has_streams() {
                        return Ok(());
                    }
                    if !self.connection.has_streams() {
                        self.connection.graceful_shutdown();
                        leaving = true;
                        deadline = tokio::time::Instant::now() + GOODBYE;
                    } else {
                        deadline = tokio::time::Instant::now() + keep_alive;
                    }
                    continue;
                }
            };
            match accepted {
                Some(Ok((request, respond))) => {
                    deadline = tokio::time::Instant::now() + keep_alive;
                    self.begin(shared, request, respond);
                }
                Some(Err(error)) if error.is_library() => {
                    let reason = match error.reason() {
                        Some(Reason::ENHANCE_YOUR_CALM) => DenialReason::Limit,
                        _ => DenialReason::BadRequest,
                    };
                    return Err((reason, error));
                }
                Some(Err(_)) | None => return Ok(()),
            }
            if self.is_flooded() {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let flushed = std::future::poll_fn(|cx| self.connection.poll_closed(cx));
                let _ = timeout(GOODBYE, flushed).await;
                return Err((DenialReason::Limit, Reason::ENHANCE_YOUR_CALM.into()));
            }
        }
    }

    fn begin(
        &mut self,
        shared: &Arc<Shared>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) {
        self.begun += 1;
        let call = Call::new(shared, self.at, respond);
        let Ok(slot) = Arc::clone(&shared.http2.streams).try_acquire_owned() else {
            return call.turn_away();
        };
        let ended = Arc::clone(&self.ended);
        shared.http2.spawn(async move {
            let count = match call.run(request).await {
                true => &ended.whole,
                false => &ended.cancelled,
            };
            count.fetch_add(1, Ordering::Relaxed);
            drop(slot);
        });
    }

    /// The agent begins requests in order to cancel them.
    fn is_flooded(&self) -> bool {
        let cancelled = self.ended.cancelled.load(Ordering::Relaxed);
        cancelled > CANCELLED + self.ended.whole.load(Ordering::Relaxed)
    }
}
