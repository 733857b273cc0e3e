//! The audit event, its hash chain, and the sinks that store it.
//!
//! ```text
//!   gate ──▶ Event ──▶ Sink::record ──▶ {"seq":7,…,"prev":"…","hash":"…"}\n
//!                                            └── SHA-256 over the line before `,"hash"` ──▶ next line's prev
//! ```
//!
//! Every request ends in exactly one event (invariant 7). A sink that fails once stays failed, and a gate whose sink
//! is not ready refuses traffic. Non-goals: nothing here formats for people.
#![forbid(unsafe_code)]

mod chain;
mod event;
mod line_sink;
mod timestamp;
mod verify;

pub use chain::Digest;
pub use event::{Entry, Event, EventKind, Outcome, SCHEMA_VERSION, Spoken};
pub use line_sink::LineSink;
pub use timestamp::rfc3339;
pub use verify::{Broken, Record, Verified, verify};

/// Where events go.
pub trait Sink: Send + Sync {
    /// Stores one event. The order of calls is the order of the log.
    ///
    /// # Errors
    /// The event is not stored. From then on [`Sink::ready`] is false.
    fn record(&self, event: &Event) -> Result<(), SinkError>;

    /// Whether the next event can be stored, as far as is known.
    fn ready(&self) -> bool;

    /// Hands everything recorded so far to the operating system.
    ///
    /// # Errors
    /// As [`Sink::record`].
    fn flush(&self) -> Result<(), SinkError>;
}

/// The log cannot be written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("write the audit log: {0}")]
pub struct SinkError(pub std::sync::Arc<str>);
