//! What all connections of one gate share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use palisade_audit::{Event, Sink};
use palisade_policy::NetworkPolicy;
use palisade_tls::{Connector, Interceptor};
use tokio::sync::{Notify, watch};

use crate::config::{GateConfig, OriginalDestination};
use crate::credential::Broker;
use crate::dns::names::SyntheticNames;
use crate::http2::Http2;
use crate::limits::GateLimits;
use crate::pool::Pool;
use crate::protocols::Protocols;
use crate::resolve::Resolve;
use crate::summary::SummaryHandle;
use crate::upstream_proxy::UpstreamProxy;

pub(crate) struct Shared {
    pub(crate) policy: Arc<NetworkPolicy>,
    pub(crate) limits: GateLimits,
    pub(crate) upstream_proxy: Option<UpstreamProxy>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) original: Arc<dyn OriginalDestination>,
    pub(crate) names: SyntheticNames,
    pub(crate) pool: Pool,
    pub(crate) protocols: Protocols,
    pub(crate) http2: Http2,
    /// Ends the agent's TLS; none where the session has no authority.
    pub(crate) interceptor: Option<Arc<Interceptor>>,
    pub(crate) connector: Connector,
    pub(crate) broker: Broker,
    pub(crate) summary: SummaryHandle,
    audit: Arc<dyn Sink>,
    /// Events were recorded since the last flush.
    dirty: AtomicBool,
    /// Wakes the task that flushes.
    pub(crate) recorded: Notify,
    /// The audit log failed: what is open has to end.
    audit_lost: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(config: GateConfig, summary: SummaryHandle) -> Self {
        let limits = config.limits;
        Self {
            policy: config.policy,
            upstream_proxy: config.upstream_proxy,
            resolver: config.resolver,
            original: config.original_destination,
            names: SyntheticNames::new(limits.names),
            pool: Pool::new(&limits),
            protocols: Protocols::default(),
            http2: Http2::new(&limits),
            interceptor: config.tls.authority.and_then(|authority| {
                // It fails without randomness alone; then interception is refused, as without an authority.
                Interceptor::new(authority, limits.leaves)
                    .ok()
                    .map(Arc::new)
            }),
            connector: Connector::new(config.tls.roots),
            broker: Broker::new(config.credentials, config.notices),
            limits,
            summary,
            audit: config.audit,
            dirty: AtomicBool::new(false),
            recorded: Notify::new(),
            audit_lost: watch::Sender::new(false),
        }
    }

    /// Whether the next event can be recorded. Nothing is forwarded if not.
    pub(crate) fn audit_ready(&self) -> bool {
        !*self.audit_lost.borrow() && self.audit.ready()
    }

    pub(crate) fn record(&self, event: &Event) {
        if self.audit.record(event).is_err() {
            self.lose_audit();
        } else if !self.dirty.swap(true, Ordering::AcqRel) {
            self.recorded.notify_one();
        }
    }

    pub(crate) fn flush(&self) {
        self.dirty.store(false, Ordering::Release);
        if self.audit.flush().is_err() {
            self.lose_audit();
        }
    }

    /// Changes once, when the audit log fails.
    pub(crate) fn audit_lost(&self) -> watch::Receiver<bool> {
        self.audit_lost.subscribe()
    }

    fn lose_audit(&self) {
        self.audit_lost
            .send_if_modified(|lost| !std::mem::replace(lost, true));
    }
}
