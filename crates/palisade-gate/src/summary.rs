//! Counts for the line at the end of a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_policy::DenialReason;

/// What the gate did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests permitted.
    pub allowed: u64,
    /// Requests refused.
    pub denied: u64,
    /// Hosts that were refused, most often refused first.
    pub denied_hosts: Vec<DeniedHost>,
    /// Refusals of hosts for which the list had no room.
    pub denied_elsewhere: u64,
}

/// A host that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedHost {
    /// The host, as in the audit log.
    pub host: String,
    /// How often.
    pub count: u64,
    /// Why, the last time.
    pub reason: DenialReason,
}

/// A live view of a gate's counts.
#[derive(Clone)]
pub struct SummaryHandle(Arc<Counts>);

struct Counts {
    allowed: AtomicU64,
    denied: AtomicU64,
    elsewhere: AtomicU64,
    capacity: usize,
    hosts: Mutex<HashMap<Box<str>, (u64, DenialReason)>>,
}

impl SummaryHandle {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Counts {
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            capacity,
            hosts: Mutex::default(),
        }))
    }

    /// The counts at this moment.
    pub fn get(&self) -> Summary {
        let counts = &*self.0;
        let hosts = counts.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut denied_hosts: Vec<DeniedHost> = hosts
            .iter()
            .map(|(host, (count, reason))| DeniedHost {
                host: host.to_string(),
                count: *count,
                reason: *reason,
            })
            .collect();
        denied_hosts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.host.cmp(&b.host)));
        Summary {
            allowed: counts.allowed.load(Ordering::Relaxed),
            denied: counts.denied.load(Ordering::Relaxed),
            denied_hosts,
            denied_elsewhere: counts.elsewhere.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn allow(&self) {
        self.0.allowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn deny(&self, host: &str, reason: DenialReason) {
        let counts = &*self.0;
        counts.denied.fetch_add(1, Ordering::Relaxed);
        let mut hosts = counts.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, last)) = hosts.get_mut(host) {
            *count += 1;
            *last = reason;
        } else if hosts.len() < counts.capacity {
            hosts.insert(host.into(), (1, reason));
        } else {
            counts.elsewhere.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_the_list_of_hosts_is_bounded() {
        let handle = SummaryHandle::new(2);
        for host in ["a", "b", "b", "c", "d"] {
            handle.deny(host, DenialReason::NotAllowed);
        }
        let summary = handle.get();
        assert_eq!((summary.denied, summary.denied_elsewhere), (5, 2));
        let hosts: Vec<_> = summary
            .denied_hosts
            .iter()
            .map(|h| h.host.as_str())
            .collect();
        assert_eq!(hosts, ["b", "a"]);
    }
}
