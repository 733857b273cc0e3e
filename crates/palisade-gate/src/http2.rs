//! HTTP/2 on both sides. The frames are the `h2` library's; what they ask for is judged by the very code that judges
//! HTTP/1.1.
//!
//! ```text
//!   downstream  one connection of the agent's ──▶ call  one stream: decide, add the credential, exchange
//!   head        pseudo-headers and fields ◀──▶ heads as HTTP/1.1 writes them (one parser for both: F19, F20)
//!   exchange    one request and its response        body  DATA from side to side, at the pace of who takes it
//!   links       connections to servers, shared by the requests that may go there
//! ```
//!
//! What holds:
//! * Each stream is a request of its own, judged afresh, with a ticket and a task of its own. What one does wrong does not
//!   end the others.
//! * A stream that is malformed as HTTP/2 (RFC 9113 section 8.1.1) is reset by the library before it is a request.
//! * Nothing is held but what the windows below allow; credit is given back only for what the other side has taken.
//! * No server push, no extended CONNECT, no clear text.

mod body;
mod call;
mod compose;
mod downstream;
mod exchange;
mod head;
mod links;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::http2::links::Links;
use crate::limits::GateLimits;

pub(crate) use downstream::serve;
pub(crate) use links::{has, keep};

/// The state of HTTP/2 in one gate.
pub(crate) struct Http2 {
    links: Links,
    /// Requests of the session at a time, over all its connections: as many as HTTP/1.1 could have, so that 128 streams
    /// a connection do not make it hold 128 times as much.
    streams: Arc<Semaphore>,
    /// Streams and upstream connections; they end with the gate.
    tasks: Mutex<JoinSet<()>>,
}

impl Http2 {
    pub(crate) fn new(limits: &GateLimits) -> Self {
        Self {
            links: Links::new(limits),
            streams: Arc::new(Semaphore::new(limits.connections)),
            tasks: Mutex::default(),
        }
    }

    /// Ends every request and every connection, each with its record.
    pub(crate) async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
        self.links.clear();
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        // One that panicked has ended alone; its ticket was written while it unwound.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
