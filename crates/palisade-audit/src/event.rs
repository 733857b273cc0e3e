//! The event schema, version 1. Fields are only ever added.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// Version of the schema, in each session's first line.
pub const SCHEMA_VERSION: u32 = 1;

/// How a request reached the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// An HTTP request with an absolute target.
    Forward,
    /// HTTP CONNECT.
    Connect,
    /// SOCKS version 4 or 4a.
    Socks4,
    /// SOCKS version 5.
    Socks5,
    /// Caught on its way elsewhere.
    Transparent,
    /// A DNS query.
    Dns,
}

/// What was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spoken {
    /// HTTP/1.0 or HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// A WebSocket handshake, and what followed it.
    WebSocket,
    /// A gRPC call.
    Grpc,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Permitted. `error` says if it failed all the same.
    Allow,
    /// Refused.
    Deny,
}

/// The kind of a line.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// The session's first line.
    Start {
        /// The agent's command, its arguments left out (they may hold secrets).
        command: String,
        /// The backend's name.
        boundary: String,
        /// SHA-256 of the effective policy's plain words.
        policy: String,
    },
    /// A decision.
    Request {
        /// How it came.
        entry: Entry,
        /// The host it named, canonical; what was sent, escaped and cut, where that was no host.
        host: String,
        /// The address dialled, where one was.
        address: Option<IpAddr>,
        /// The port; 0 where none was named.
        port: u16,
        /// The HTTP method, where it was seen.
        method: Option<String>,
        /// The path without its query, where it was seen.
        path: Option<String>,
        /// The outcome.
        outcome: Outcome,
        /// The rule that decided, where one did.
        rule: Option<String>,
        /// The denial's stable code.
        reason: Option<&'static str>,
        /// The HTTP status sent to the agent, where one was.
        status: Option<u16>,
        /// Bytes from the agent.
        bytes_up: u64,
        /// Bytes to the agent.
        bytes_down: u64,
        /// From the first byte to the last.
        duration: Duration,
        /// What went wrong after the decision.
        error: Option<String>,
        /// Whether its TLS was ended at the gate.
        intercepted: bool,
        /// What was spoken, where it was seen.
        protocol: Option<Spoken>,
        /// The credential whose secret it carried, or whose placeholder it was refused for. Never a value.
        credential: Option<String>,
        /// Secrets taken out of the response.
        redacted: u64,
    },
    /// Everything inside was stopped where it stood, for good.
    Frozen {
        /// Why.
        reason: String,
        /// By what.
        by: &'static str,
    },
    /// The session's last line.
    End {
        /// The agent's exit status as palisade passed it on.
        status: i32,
        /// Requests refused.
        denied: u64,
        /// Requests permitted.
        allowed: u64,
    },
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it ended.
    pub time: SystemTime,
    /// What it was.
    pub kind: EventKind,
}

impl Event {
    /// An event of this moment. The gate's threads pass the time in, so that one clock read serves a batch.
    pub fn at(time: SystemTime, kind: EventKind) -> Self {
        Self { time, kind }
    }
}
