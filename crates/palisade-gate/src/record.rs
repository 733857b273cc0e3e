//! Exactly one audit event a request: a ticket is made when a request is read, and writes its event when it ends,
//! however it ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use palisade_audit::{Entry, Event, EventKind, Outcome, Spoken};
use palisade_policy::{Authority, CredentialName, DenialReason, Permit, RuleId};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// Characters of what the agent sent that are kept of each field.
const FIELD_MAX: usize = 1024;
/// The same of a host that is no host.
const BAD_HOST_MAX: usize = 128;

/// A request that has not ended.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    entry: Entry,
    started: Instant,
    host: String,
    port: u16,
    method: Option<String>,
    path: Option<String>,
    rule: Option<RuleId>,
    reason: Option<DenialReason>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) status: Option<u16>,
    pub(crate) tally: Tally,
    /// It came within TLS that ends here.
    pub(crate) intercepted: bool,
    pub(crate) spoken: Option<Spoken>,
    /// The credential it carries, or whose placeholder it was refused for.
    pub(crate) credential: Option<CredentialName>,
    /// Secrets taken out of the response.
    pub(crate) redacted: u64,
    error: Option<String>,
    stage: Stage,
}

/// Bytes of a request so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// From the agent.
    pub(crate) up: u64,
    /// To the agent.
    pub(crate) down: u64,
}

impl Tally {
    pub(crate) fn since(self, base: Self) -> Self {
        Self {
            up: self.up - base.up,
            down: self.down - base.down,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Stage {
    Open,
    Ended,
    Dropped,
}

impl Ticket {
    pub(crate) fn new(shared: &Arc<Shared>, entry: Entry, started: Instant) -> Self {
        Self {
            shared: Arc::clone(shared),
            entry,
            started,
            host: String::new(),
            port: 0,
            method: None,
            path: None,
            rule: None,
            reason: None,
            address: None,
            status: None,
            tally: Tally::default(),
            intercepted: false,
            spoken: None,
            credential: None,
            redacted: 0,
            error: None,
            stage: Stage::Open,
        }
    }

    pub(crate) fn destination(&mut self, authority: &Authority) {
        self.host = authority.host.to_plain_string();
        self.port = authority.port;
    }

    /// A destination that is no host: what was sent, escaped and cut. Userinfo may hold a password and is left out.
    pub(crate) fn bad_destination(&mut self, sent: &[u8]) {
        let sent = match memchr::memrchr(b'@', sent) {
            Some(at) => &sent[at..],
            None => sent,
        };
        self.host = escape(sent, BAD_HOST_MAX);
    }

    /// Method and path of an HTTP request; the query is left out, as it may hold secrets.
    pub(crate) fn request(&mut self, method: &[u8], path: &[u8]) {
        self.method = Some(escape(method, FIELD_MAX));
        let end = path.iter().position(|b| matches!(b, b'?' | b'#'));
        let path = &path[..end.unwrap_or(path.len())];
        self.path = (!path.is_empty()).then(|| escape(path, FIELD_MAX));
    }

    pub(crate) fn permitted(&mut self, permit: &Permit) {
        self.rule = Some(permit.rule().clone());
        self.credential = permit.credential().cloned();
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.reason = Some(refusal.reason);
        self.rule.clone_from(&refusal.rule);
        if self.error.is_none() {
            self.error.clone_from(&refusal.detail);
        }
    }

    /// Something went wrong after the decision; the first thing is kept.
    pub(crate) fn failed(&mut self, text: impl Into<String>) {
        if self.error.is_none() {
            let text: String = text.into();
            self.error = Some(escape(text.as_bytes(), FIELD_MAX));
        }
    }

    /// The request has ended; its event is written now.
    pub(crate) fn end(mut self) {
        self.stage = Stage::Ended;
    }

    /// There was no request after all, or other tickets speak for it.
    pub(crate) fn dismiss(mut self) {
        self.stage = Stage::Dropped;
    }

    fn write(&mut self) {
        if self.stage == Stage::Open && self.error.is_none() {
            let panicked = std::thread::panicking();
            self.error = Some(
                if panicked {
                    "internal error"
                } else {
                    "the session ended"
                }
                .into(),
            );
        }
        if let (Some(DenialReason::Placeholder), Some(name)) = (self.reason, &self.credential) {
            self.shared.broker.alert(name, &self.host);
        }
        match self.reason {
            Some(reason) => self.shared.summary.deny(&self.host, reason),
            None => self.shared.summary.allow(),
        }
        let event = EventKind::Request {
            entry: self.entry,
            host: std::mem::take(&mut self.host),
            address: self.address,
            port: self.port,
            method: self.method.take(),
            path: self.path.take(),
            outcome: if self.reason.is_some() {
                Outcome::Deny
            } else {
                Outcome::Allow
            },
            rule: self.rule.as_ref().map(|rule| rule.as_str().to_owned()),
            reason: self.reason.map(DenialReason::code),
            status: self.status,
            bytes_up: self.tally.up,
            bytes_down: self.tally.down,
            duration: self.started.elapsed(),
            error: self.error.take(),
            intercepted: self.intercepted,
            protocol: self.spoken,
            credential: self.credential.take().map(|name| name.as_str().to_owned()),
            redacted: self.redacted,
        };
        self.shared.record(&Event::at(SystemTime::now(), event));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.stage != Stage::Dropped {
            self.write();
        }
    }
}

/// Records something that is no request of the agent's to a host: a DNS name asked for, a limit reached.
pub(crate) fn note(
    shared: &Shared,
    entry: Entry,
    host: &str,
    reason: Option<DenialReason>,
    error: Option<&str>,
) {
    let event = EventKind::Request {
        entry,
        host: host.to_owned(),
        address: None,
        port: 0,
        method: None,
        path: None,
        outcome: if reason.is_some() {
            Outcome::Deny
        } else {
            Outcome::Allow
        },
        rule: None,
        reason: reason.map(DenialReason::code),
        status: None,
        bytes_up: 0,
        bytes_down: 0,
        duration: std::time::Duration::ZERO,
        error: error.map(str::to_owned),
        intercepted: false,
        protocol: None,
        credential: None,
        redacted: 0,
    };
    shared.record(&Event::at(SystemTime::now(), event));
}

/// Printable ASCII stays, anything else becomes `\xNN` (A01); cut at `max` characters.
pub(crate) fn escape(bytes: &[u8], max: usize) -> String {
    let plain = |b: &u8| (b.is_ascii_graphic() || *b == b' ') && *b != b'\\';
    if bytes.len() <= max && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::new();
    for byte in bytes {
        if out.len() >= max {
            out.push('…');
            break;
        }
        if plain(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a01_what_was_sent_cannot_break_a_line() {
        assert_eq!(
            escape(b"a\r\n\x1b[31m\"\\", 99),
            "a\\x0d\\x0a\\x1b[31m\"\\x5c"
        );
        assert_eq!(escape("\u{202e}".as_bytes(), 99), "\\xe2\\x80\\xae");
        assert_eq!(escape(&[b'a'; 200], 8), "aaaaaaaa…");
    }
}
