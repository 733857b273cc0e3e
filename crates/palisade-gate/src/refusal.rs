//! How a refusal reaches the agent, on every protocol that can carry one.
//!
//! Almost no client shows the body of a refused CONNECT and many show nothing but the reason phrase, so the reason
//! stands in three places: status line, header, body. 403 and not 5xx, a reset or 429: clients retry those for minutes.
//! The body has the error shape of the Anthropic API, so that an agent built on it prints the message and nothing else.

use std::fmt::Write as _;

use palisade_policy::{Authority, Denial, DenialReason, NearMiss, RuleId};
use serde_json::json;

use crate::record::escape;

/// A TLS alert record in clear: fatal, access_denied (RFC 8446 section 6). A client takes it in place of a ServerHello.
pub(crate) const TLS_ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// The same with unrecognized_name (RFC 6066 section 3).
pub(crate) const TLS_UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Characters of a host in a status line.
const PHRASE_HOST_MAX: usize = 100;

/// A refusal on its way to the agent.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: DenialReason,
    pub(crate) rule: Option<RuleId>,
    /// More than the reason says, in our own words.
    pub(crate) detail: Option<String>,
    near: Option<NearMiss>,
    /// What was asked for, printable.
    target: String,
    status: u16,
}

impl Refusal {
    /// A refusal of a well-formed request.
    pub(crate) fn new(authority: &Authority, denial: Denial) -> Self {
        Self {
            reason: denial.reason,
            rule: denial.rule,
            near: denial.near,
            detail: None,
            target: authority.to_string(),
            status: status(denial.reason),
        }
    }

    /// A refusal of the gate's own, not of a rule.
    pub(crate) fn of(authority: &Authority, reason: DenialReason) -> Self {
        Self::new(authority, Denial::without_rule(reason))
    }

    /// A refusal of what names no good destination.
    pub(crate) fn malformed(sent: &[u8], reason: DenialReason, detail: impl Into<String>) -> Self {
        let sent = match memchr::memrchr(b'@', sent) {
            Some(at) => &sent[at..],
            None => sent,
        };
        Self {
            reason,
            rule: None,
            near: None,
            detail: Some(detail.into()),
            target: escape(sent, PHRASE_HOST_MAX),
            status: status(reason),
        }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The reply code of SOCKS 5: not allowed by the rule set (RFC 1928 section 6).
    pub(crate) const SOCKS5: u8 = 2;
    /// The reply code of SOCKS 4: rejected or failed.
    pub(crate) const SOCKS4: u8 = 0x5b;

    /// The response. `close` announces the end of the connection; `to_head` leaves the body out.
    pub(crate) fn http(&self, close: bool, to_head: bool) -> Vec<u8> {
        let body = self.body();
        let mut out = format!("HTTP/1.1 {} Blocked by palisade: ", self.status);
        let _ = match self.target.as_str() {
            "" => write!(out, "{}", self.reason),
            target => write!(
                out,
                "{}: {}",
                escape(target.as_bytes(), PHRASE_HOST_MAX),
                self.reason
            ),
        };
        let _ = write!(out, "\r\npalisade-denied: {}\r\n", self.reason.code());
        finish(out, &body, close, to_head)
    }

    fn body(&self) -> String {
        let target = if self.target.is_empty() {
            "a request"
        } else {
            &self.target
        };
        let mut message = format!("palisade blocked {target}: {}", self.reason);
        if let Some(detail) = &self.detail {
            let _ = write!(message, " ({detail})");
        }
        message.push('.');
        if let Some(near) = &self.near {
            let _ = write!(
                message,
                " The rule `{}` is near: {}.",
                near.rule, near.because
            );
        }
        if self.is_for_the_operator() {
            message.push_str(
                " This is the operator's decision and cannot be changed from inside; \
                 ask the operator, whom `palisade check URL` tells what would allow it.",
            );
        }
        json!({
            "type": "error",
            "error": { "type": "permission_error", "message": message },
            "palisade": {
                "reason": self.reason.code(),
                "host": self.target,
                "rule": self.rule.as_ref().map(RuleId::as_str),
            },
        })
        .to_string()
    }

    fn is_for_the_operator(&self) -> bool {
        use DenialReason::{Address, DenyRule, NotAllowed, Port, Workspace};
        matches!(
            self.reason,
            NotAllowed | DenyRule | Port | Workspace | Address(_)
        )
    }
}

fn status(reason: DenialReason) -> u16 {
    match reason {
        DenialReason::BadHost | DenialReason::BadRequest => 400,
        DenialReason::HostMismatch => 421,
        DenialReason::Audit => 503,
        _ => 403,
    }
}

/// A permitted request that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// 502, 504.
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn http(&self, authority: &Authority, close: bool, to_head: bool) -> Vec<u8> {
        let phrase = if self.status == 504 {
            "Gateway Timeout"
        } else {
            "Bad Gateway"
        };
        let message = format!(
            "palisade permitted {authority}, but it failed: {}",
            self.text
        );
        let body = json!({
            "type": "error",
            "error": { "type": "api_error", "message": message },
            "palisade": { "error": "upstream", "host": authority.to_string() },
        });
        let out = format!(
            "HTTP/1.1 {} {phrase}\r\npalisade-error: upstream\r\n",
            self.status
        );
        finish(out, &body.to_string(), close, to_head)
    }
}

fn finish(mut out: String, body: &str, close: bool, to_head: bool) -> Vec<u8> {
    let _ = write!(
        out,
        "content-type: application/json\r\ncache-control: no-store\r\ncontent-length: {}\r\n",
        body.len()
    );
    if close {
        out.push_str("connection: close\r\n");
    }
    out.push_str("\r\n");
    if !to_head {
        out.push_str(body);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refusal: &Refusal, to_head: bool) -> String {
        String::from_utf8(refusal.http(true, to_head)).unwrap()
    }

    #[test]
    fn the_reason_stands_in_three_places() {
        let authority = Authority::parse(b"x.example:443", None).unwrap();
        let refusal = Refusal::of(&authority, DenialReason::NotAllowed);
        let response = text(&refusal, false);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let first = "HTTP/1.1 403 Blocked by palisade: x.example:443: no rule allows it\r\n";
        assert!(head.starts_with(first), "{head}");
        assert!(head.contains("palisade-denied: not-allowed\r\n"), "{head}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["type"], "permission_error");
        assert_eq!(body["palisade"]["reason"], "not-allowed");
        assert!(
            text(&refusal, true).ends_with("\r\n\r\n"),
            "HEAD has no body"
        );
    }

    #[test]
    fn a01_what_was_sent_cannot_split_the_response() {
        let sent = b"user:pass@evil\r\nSet-Cookie: x";
        let refusal = Refusal::malformed(sent, DenialReason::BadHost, "host name has a bad byte");
        let response = text(&refusal, false);
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(!response.contains("\r\nSet-Cookie"), "{response}");
        assert!(!response.contains("pass@"), "{response}");
    }
}
