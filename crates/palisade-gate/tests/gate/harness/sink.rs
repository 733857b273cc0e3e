//! A log in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade_audit::{Entry, Event, EventKind, Outcome, Sink, SinkError, Spoken};

#[derive(Default)]
pub(crate) struct MemorySink {
    events: Mutex<Vec<Event>>,
    broken: AtomicBool,
    pub(crate) flushed: AtomicBool,
}

/// A request's event, flat.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) entry: Entry,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) denied: bool,
    pub(crate) rule: Option<String>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) status: Option<u16>,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) error: Option<String>,
    pub(crate) intercepted: bool,
    pub(crate) spoken: Option<Spoken>,
    pub(crate) credential: Option<String>,
    pub(crate) redacted: u64,
}

impl MemorySink {
    /// From now on nothing can be stored.
    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.events.lock().unwrap().iter().map(record).collect()
    }

    /// Everything but the notes of names that were asked for.
    pub(crate) fn requests(&self) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.entry != Entry::Dns);
        records
    }

    /// Waits until there are `count` requests; an event is written after its response was.
    pub(crate) fn wait(&self, count: usize) -> Vec<Record> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let requests = self.requests();
            if requests.len() >= count {
                return requests;
            }
            assert!(
                Instant::now() < end,
                "{count} requests awaited, there are {requests:#?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The only request.
    pub(crate) fn only(&self) -> Record {
        let requests = self.wait(1);
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }
}

impl Sink for MemorySink {
    fn record(&self, event: &Event) -> Result<(), SinkError> {
        if !self.ready() {
            return Err(SinkError("broken".into()));
        }
        self.flushed.store(false, Ordering::SeqCst);
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }

    fn ready(&self) -> bool {
        !self.broken.load(Ordering::SeqCst)
    }

    fn flush(&self) -> Result<(), SinkError> {
        self.flushed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn record(event: &Event) -> Record {
    let EventKind::Request {
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
        error,
        intercepted,
        protocol,
        credential,
        redacted,
        ..
    } = event.kind.clone()
    else {
        panic!("the gate records requests only: {event:?}");
    };
    Record {
        entry,
        host,
        port,
        address,
        method,
        path,
        denied: outcome == Outcome::Deny,
        rule,
        reason,
        status,
        up: bytes_up,
        down: bytes_down,
        error,
        intercepted,
        spoken: protocol,
        credential,
        redacted,
    }
}
