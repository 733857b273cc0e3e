//! Idle upstream connections, kept for the next request to the same destination.
//!
//! The pool belongs to one gate, so to one session and one policy: a kept connection was dialled under the very rule
//! that permits the next request to the same host and port.

use std::collections::HashMap;
use std::future::Future as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use palisade_policy::{Authority, Permit};
use tokio::sync::Notify;

use crate::dial::Upstream;
use crate::limits::GateLimits;

/// Below the shortest common idle limit of servers (5 s).
const FRESH: Duration = Duration::from_secs(2);

pub(crate) struct Pool {
    idle: Mutex<Idle>,
    per_host: usize,
    total: usize,
    keep: Duration,
    filled: Notify,
}

#[derive(Default)]
struct Idle {
    by_host: HashMap<(Authority, bool), Vec<(Upstream, Instant)>>,
    count: usize,
}

impl Pool {
    pub(crate) fn new(limits: &GateLimits) -> Self {
        Self {
            idle: Mutex::default(),
            per_host: limits.pool_per_host,
            total: limits.pool_total,
            keep: limits.pool_idle,
            filled: Notify::new(),
        }
    }

    /// A kept connection that, as far as is known, still lives. One for a request that must not be sent twice has to
    /// have been used a moment ago: a server that closes it just now would cost the agent a failed request.
    ///
    /// It was dialled under a rule that permitted a request to the same host and port; another rule may be stricter about
    /// addresses, so the permit is asked about this one as well.
    pub(crate) fn take(&self, permit: &Permit, secure: bool, repeatable: bool) -> Option<Upstream> {
        let keep = if repeatable {
            self.keep
        } else {
            self.keep.min(FRESH)
        };
        let mut idle = self.lock();
        let key = (permit.authority().clone(), secure);
        let kept = idle.by_host.get_mut(&key)?;
        let mut found = None;
        let mut gone = 0;
        while let Some((mut upstream, since)) = kept.pop() {
            gone += 1;
            let admitted = upstream.address.is_none_or(|ip| permit.admit(ip).is_ok());
            if admitted && since.elapsed() < keep && is_quiet(&mut upstream) {
                upstream.reused = true;
                found = Some(upstream);
                break;
            }
        }
        idle.count -= gone;
        found
    }

    /// Keeps a connection whose exchange ended cleanly. Over the bounds it is closed instead.
    pub(crate) fn put(&self, authority: &Authority, secure: bool, mut upstream: Upstream) {
        upstream.conn.input.settle();
        let mut idle = self.lock();
        if idle.count >= self.total {
            return;
        }
        let entry = (upstream, Instant::now());
        let key = (authority.clone(), secure);
        match idle.by_host.get_mut(&key) {
            Some(kept) if kept.len() >= self.per_host => return,
            Some(kept) => kept.push(entry),
            None => {
                idle.by_host.insert(key, vec![entry]);
            }
        }
        idle.count += 1;
        if idle.count == 1 {
            self.filled.notify_one();
        }
    }

    /// Whether a connection is kept that was used a moment ago.
    pub(crate) fn has(&self, authority: &Authority, secure: bool) -> bool {
        let idle = self.lock();
        let kept = idle.by_host.get(&(authority.clone(), secure));
        kept.and_then(|kept| kept.last())
            .is_some_and(|(_, since)| since.elapsed() < FRESH)
    }

    /// Closes what has been idle for too long, for ever.
    pub(crate) async fn sweep(&self) {
        loop {
            self.filled.notified().await;
            loop {
                tokio::time::sleep(self.keep / 4).await;
                if self.drop_old() == 0 {
                    break;
                }
            }
        }
    }

    /// Connections left.
    fn drop_old(&self) -> usize {
        let mut idle = self.lock();
        for kept in idle.by_host.values_mut() {
            kept.retain_mut(|(upstream, since)| since.elapsed() < self.keep && is_quiet(upstream));
        }
        idle.by_host.retain(|_, kept| !kept.is_empty());
        idle.count = idle.by_host.values().map(Vec::len).sum();
        idle.count
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing has come on an idle connection: neither its end nor bytes nobody asked for (F22).
fn is_quiet(upstream: &mut Upstream) -> bool {
    if !upstream.conn.input.is_empty() || upstream.conn.eof {
        return false;
    }
    let mut fill = std::pin::pin!(upstream.conn.fill());
    let mut cx = Context::from_waker(Waker::noop());
    matches!(fill.as_mut().poll(&mut cx), Poll::Pending)
}
