//! One JSON object a line, chained.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::chain::Digest;
use crate::event::{Event, EventKind, SCHEMA_VERSION};
use crate::timestamp::rfc3339;
use crate::{Sink, SinkError};

/// Bytes held back before they are written without waiting for [`Sink::flush`].
const BATCH: usize = 64 * 1024;
/// A line is written at once if the last write is this long ago: a quiet log is always up to date, a busy one is batched.
const QUIET: Duration = Duration::from_millis(5);

/// A sink that appends chained lines to a writer.
pub struct LineSink {
    session: Box<str>,
    state: Mutex<State>,
    failed: AtomicBool,
}

struct State {
    writer: Box<dyn Write + Send>,
    pending: Vec<u8>,
    seq: u64,
    prev: Digest,
    written: Option<Instant>,
    error: Option<SinkError>,
}

impl LineSink {
    /// A sink for a new log of this session.
    pub fn new(session: &str, writer: Box<dyn Write + Send>) -> Self {
        let state = State {
            writer,
            pending: Vec::new(),
            seq: 0,
            prev: Digest::genesis(session),
            written: None,
            error: None,
        };
        Self {
            session: session.into(),
            state: Mutex::new(state),
            failed: AtomicBool::new(false),
        }
    }

    /// Lines so far, and the hash of the last one.
    pub fn head(&self) -> (u64, Digest) {
        let state = self.lock();
        (state.seq, state.prev)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held may have left half a line: `failed` is set below before anything is touched.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, state: &mut State, error: impl Display) -> SinkError {
        let error = SinkError(Arc::from(error.to_string()));
        self.failed.store(true, Ordering::Release);
        state.error = Some(error.clone());
        error
    }

    fn write_out(&self, state: &mut State) -> Result<(), SinkError> {
        if state.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut state.pending);
        if let Err(error) = state
            .writer
            .write_all(&pending)
            .and_then(|()| state.writer.flush())
        {
            return Err(self.fail(state, error));
        }
        state.pending = pending;
        state.pending.clear();
        state.written = Some(Instant::now());
        Ok(())
    }
}

impl Sink for LineSink {
    fn record(&self, event: &Event) -> Result<(), SinkError> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if let Err(error) = state.append(&self.session, event) {
            return Err(self.fail(state, error));
        }
        let quiet = state.written.is_none_or(|at| at.elapsed() >= QUIET);
        if quiet || state.pending.len() >= BATCH {
            self.write_out(state)
        } else {
            Ok(())
        }
    }

    fn ready(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
    }

    fn flush(&self) -> Result<(), SinkError> {
        let mut state = self.lock();
        match &state.error {
            Some(error) => Err(error.clone()),
            None => self.write_out(&mut state),
        }
    }
}

impl State {
    fn append(&mut self, session: &str, event: &Event) -> Result<(), serde_json::Error> {
        let start = self.pending.len();
        serde_json::to_writer(&mut self.pending, &Line::new(self.seq, session, event))?;
        // The closing brace makes room for the chain, so that the hash covers every field before it.
        self.pending.pop();
        self.pending.extend_from_slice(b",\"prev\":\"");
        self.prev.push_hex(&mut self.pending);
        self.pending.push(b'"');
        let hash = Digest::of(&self.pending[start..]);
        self.pending.extend_from_slice(b",\"hash\":\"");
        hash.push_hex(&mut self.pending);
        self.pending.extend_from_slice(b"\"}\n");
        self.prev = hash;
        self.seq += 1;
        Ok(())
    }
}

/// The line as written. One flat object, so that a log is easy to filter with any JSON tool.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    /// RFC 3339, UTC, microseconds.
    time: String,
    session: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    fields: Fields<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Fields<'a> {
    Start {
        version: u32,
        command: &'a str,
        boundary: &'a str,
        policy: &'a str,
    },
    Request(RequestFields<'a>),
    Frozen {
        reason: &'a str,
        by: &'a str,
    },
    End {
        status: i32,
        allowed: u64,
        denied: u64,
    },
}

#[derive(Serialize)]
struct RequestFields<'a> {
    entry: crate::Entry,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    decision: crate::Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    bytes_up: u64,
    bytes_down: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    intercepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<crate::Spoken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    redacted: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl<'a> Line<'a> {
    fn new(seq: u64, session: &'a str, event: &'a Event) -> Self {
        let (kind, fields) = fields(&event.kind);
        Self {
            seq,
            time: rfc3339(event.time),
            session,
            kind,
            fields,
        }
    }
}

fn fields(kind: &EventKind) -> (&'static str, Fields<'_>) {
    match kind {
        EventKind::Start {
            command,
            boundary,
            policy,
        } => {
            let version = SCHEMA_VERSION;
            let fields = Fields::Start {
                version,
                command,
                boundary,
                policy,
            };
            ("start", fields)
        }
        EventKind::Request {
            entry,
            host,
            address,
            port,
            method,
            path,
            outcome,
            rule,
            reason,
            status,
            bytes_up,
            bytes_down,
            duration,
            error,
            intercepted,
            protocol,
            credential,
            redacted,
        } => {
            let fields = RequestFields {
                entry: *entry,
                host,
                address: *address,
                port: *port,
                method: method.as_deref(),
                path: path.as_deref(),
                decision: *outcome,
                rule: rule.as_deref(),
                reason: *reason,
                status: *status,
                bytes_up: *bytes_up,
                bytes_down: *bytes_down,
                duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                error: error.as_deref(),
                intercepted: *intercepted,
                protocol: *protocol,
                credential: credential.as_deref(),
                redacted: *redacted,
            };
            ("request", Fields::Request(fields))
        }
        EventKind::Frozen { reason, by } => ("frozen", Fields::Frozen { reason, by }),
        EventKind::End {
            status,
            denied,
            allowed,
        } => {
            let (status, allowed, denied) = (*status, *allowed, *denied);
            let fields = Fields::End {
                status,
                allowed,
                denied,
            };
            ("end", fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a02_a_sink_that_failed_stays_failed() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let sink = LineSink::new("s", Box::new(Full));
        assert!(sink.ready());
        let event = Event::at(
            UNIX_EPOCH,
            EventKind::End {
                status: 0,
                denied: 0,
                allowed: 0,
            },
        );
        assert!(sink.record(&event).is_err());
        assert!(!sink.ready());
        assert!(sink.record(&event).is_err());
    }
}
