//! All requests of one connection, one after the other. Each is judged afresh (D26).

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::Entry;
use palisade_policy::{Authority, DenialReason};

use crate::conn::{Conn, Stream};
use crate::http::forward::{Connecting, Next};
use crate::http::head::{HeadError, Scan};
use crate::http::request::{self, RequestHead};
use crate::http::response::ResponseHead;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::watch::Watch;

/// How long a connection that we end may take to notice. Closed with bytes unread it would be reset, and the reason
/// that was just sent would be lost with it.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read and dropped meanwhile.
const LINGER_BYTES: u64 = 4 * 1024 * 1024;

/// How requests name their destination.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Each request names it in its target.
    Forward,
    /// The connection goes to this place, and requests may name no other.
    Fixed {
        authority: Authority,
        entry: Entry,
        /// Within TLS that ends here.
        secure: bool,
    },
}

/// The requests of one connection.
pub(crate) struct Requests<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) conn: Conn<S>,
    pub(crate) way: Way,
    pub(crate) watch: Watch,
    pub(crate) head: RequestHead,
    pub(crate) response: ResponseHead,
}

/// How a connection's requests ended.
pub(crate) enum End<S> {
    /// There is nothing more to do.
    Closed,
    /// The last request is CONNECT, permitted as to its form; its ticket is open.
    Connect(Conn<S>, Box<Connecting>),
}

/// What came of waiting for a head.
enum Arrival {
    /// A head; the moment its first byte came.
    Head(Instant),
    /// The agent ended the connection between requests.
    Closed,
    /// Nothing came for as long as a connection is kept.
    Idle,
    /// Bytes that are no head.
    Bad(Instant, HeadError),
    /// Not all of it came in time.
    Slow(Instant),
    /// The agent went away in the middle.
    Broken(Instant),
}

impl<S: Stream> Requests<S> {
    pub(crate) fn new(shared: &Arc<Shared>, conn: Conn<S>, way: Way) -> Self {
        Self {
            shared: Arc::clone(shared),
            conn,
            way,
            watch: Watch::default(),
            head: RequestHead::default(),
            response: ResponseHead::default(),
        }
    }

    /// Serves until the connection ends or becomes a tunnel.
    pub(crate) async fn serve(mut self) -> End<S> {
        loop {
            match self.arrival().await {
                Arrival::Head(started) => match self.forward(started).await {
                    Next::Again => {}
                    Next::Close => break,
                    Next::Tunnel(connecting) => return End::Connect(self.conn, connecting),
                },
                Arrival::Closed => {
                    if self.is_secure() {
                        self.close().await;
                    }
                    return End::Closed;
                }
                Arrival::Idle => break,
                Arrival::Bad(started, error) => {
                    self.refuse_bytes(
                        started,
                        self.bad_reason(error),
                        error.to_string(),
                        bad_status(error),
                    )
                    .await;
                    break;
                }
                Arrival::Slow(started) => {
                    let detail = "the head did not come in time".to_owned();
                    self.refuse_bytes(started, DenialReason::Limit, detail, 408)
                        .await;
                    break;
                }
                Arrival::Broken(started) => {
                    let detail = "the connection ended within a head".to_owned();
                    self.refuse_bytes(started, DenialReason::BadRequest, detail, 400)
                        .await;
                    break;
                }
            }
        }
        linger(&mut self.conn, &mut self.watch).await;
        End::Closed
    }

    /// Waits for a head and parses it into `head`.
    async fn arrival(&mut self) -> Arrival {
        let limits = &self.shared.limits;
        if self.conn.input.is_empty() {
            self.conn.input.settle();
            match self.watch.within(limits.keep_alive, self.conn.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Arrival::Closed,
                Err(_) => return Arrival::Idle,
            }
        }
        let started = Instant::now();
        let conn = &mut self.conn;
        let head = &mut self.head;
        let read = async {
            let mut scan = Scan::default();
            let mut start_line_seen = false;
            loop {
                let bytes = conn.input.bytes();
                let found = match scan.scan(bytes, limits.head_bytes) {
                    Ok(found) => found,
                    Err(error) => {
                        return Arrival::Bad(started, first_line_error(bytes).unwrap_or(error));
                    }
                };
                if let Some(end) = found {
                    let parsed = head.parse(&bytes[..end], limits.head_fields);
                    conn.consume(end);
                    return match parsed {
                        Ok(()) => Arrival::Head(started),
                        Err(error) => Arrival::Bad(started, error),
                    };
                }
                if scan.has_start_line() && !start_line_seen {
                    start_line_seen = true;
                    if let Some(error) = first_line_error(bytes) {
                        return Arrival::Bad(started, error);
                    }
                }
                match conn.fill().await {
                    Ok(1..) => {}
                    _ => return Arrival::Broken(started),
                }
            }
        };
        match self.watch.within(limits.head_time, read).await {
            Ok(arrival) => arrival,
            Err(_) => Arrival::Slow(started),
        }
    }

    /// Records what was no request, and says so where somebody may listen.
    async fn refuse_bytes(
        &mut self,
        started: Instant,
        reason: DenialReason,
        detail: String,
        status: u16,
    ) {
        let mut ticket = Ticket::new(&self.shared, self.entry(), started);
        let refusal = match &self.way {
            Way::Fixed { authority, .. } => {
                ticket.destination(authority);
                Refusal::of(authority, reason).with_detail(detail)
            }
            Way::Forward => Refusal::malformed(b"", reason, detail),
        };
        // A stream that is no HTTP at all is refused for what it is, whatever status its first line deserves.
        let refusal = match reason {
            DenialReason::NotTls => refusal,
            _ => refusal.with_status(status),
        };
        ticket.refused(&refusal);
        ticket.status = Some(refusal.status());
        let _ = self.send(&refusal.http(true, false)).await;
        ticket.tally.down = self.conn.written;
        ticket.end();
    }

    fn bad_reason(&self, error: HeadError) -> DenialReason {
        match (error, &self.way) {
            (HeadError::TooLong | HeadError::TooManyFields, _) => DenialReason::Limit,
            (HeadError::StartLine, Way::Fixed { .. }) => DenialReason::NotTls,
            _ => DenialReason::BadRequest,
        }
    }

    /// Whether the requests come within TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.way, Way::Fixed { secure: true, .. })
    }

    /// Says that nothing more comes. Without it a client cannot tell the end from a connection that was cut (RFC 8446
    /// section 6.1).
    async fn close(&mut self) {
        let conn = &mut self.conn;
        let closing = std::future::poll_fn(|cx| conn.poll_shutdown(cx));
        // The client may be gone already: then there is nobody to tell.
        let _ = self.watch.within(LINGER, closing).await;
    }

    pub(crate) fn entry(&self) -> Entry {
        match self.way {
            Way::Forward => Entry::Forward,
            Way::Fixed { entry, .. } => entry,
        }
    }

    /// Sends bytes of our own.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ()> {
        match self
            .watch
            .within(self.shared.limits.stall, self.conn.send(bytes))
            .await
        {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }
}

/// Ends a connection so that what was sent last is still read.
pub(crate) async fn linger<S: Stream>(conn: &mut Conn<S>, watch: &mut Watch) {
    let start = conn.used;
    let rest = async {
        if std::future::poll_fn(|cx| conn.poll_shutdown(cx))
            .await
            .is_err()
        {
            return;
        }
        loop {
            conn.consume(conn.input.len());
            if conn.used - start > LINGER_BYTES || !matches!(conn.fill().await, Ok(1..)) {
                return;
            }
        }
    };
    let _ = watch.within(LINGER, rest).await;
}

/// What is wrong with the first line, if it is complete and wrong.
fn first_line_error(bytes: &[u8]) -> Option<HeadError> {
    let line = &bytes[..memchr::memchr(b'\n', bytes)?];
    request::start_line(line.strip_suffix(b"\r")?).err()
}

pub(crate) fn bad_status(error: HeadError) -> u16 {
    match error {
        HeadError::TooLong | HeadError::TooManyFields => 431,
        HeadError::Version => 505,
        _ => 400,
    }
}
