//! Refusals: why, by which rule, and which rule came close.

use std::fmt;

use crate::address::AddressClass;
use crate::path::PathError;
use crate::rule::RuleId;

/// A refusal, with what decided it.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The rule that refused, where one did.
    pub rule: Option<RuleId>,
    /// The rule that nearly permitted it.
    pub near: Option<NearMiss>,
}

impl Denial {
    /// A refusal that no rule of the policy made, such as a malformed request.
    pub fn without_rule(reason: DenialReason) -> Self {
        Self {
            reason,
            rule: None,
            near: None,
        }
    }
}

/// Why a request was refused. The codes are API (docs/denials.md): they stand in the `palisade-denied` header,
/// in the response body and in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// No allow rule names the destination.
    NotAllowed,
    /// A deny rule names it.
    DenyRule,
    /// A rule names the host, but not this port.
    Port,
    /// A rule names the host, but not this method.
    Method,
    /// A rule names the host, but not this path.
    Path,
    /// The path can be read in more than one way, and a rule judges paths there.
    AmbiguousPath(PathError),
    /// The request would carry a credential in clear text.
    Plaintext,
    /// A placeholder stands where it is not bound to.
    Placeholder,
    /// The operator permits it; the workspace's own policy does not.
    Workspace,
    /// The name resolved to an address of a class the rule does not open.
    Address(AddressClass),
    /// The destination is the inside's own loopback, or the gate itself.
    Loopback,
    /// The host or authority is malformed.
    BadHost,
    /// The request is malformed, ambiguous or over a limit.
    BadRequest,
    /// Target, `Host`, `ClientHello` or decision name different hosts.
    HostMismatch,
    /// TLS without a server name, or with an encrypted one.
    NoServerName,
    /// The client does not trust the session's certificate authority.
    Distrusted,
    /// Not TLS on a tunnel that may carry only TLS, and not HTTP.
    NotTls,
    /// A scheme or protocol the gate does not carry.
    Protocol,
    /// Too many connections or too much waiting.
    Limit,
    /// The audit log cannot be written, so nothing passes.
    Audit,
}

impl DenialReason {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAllowed => "not-allowed",
            Self::DenyRule => "deny-rule",
            Self::Port => "port-not-allowed",
            Self::Method => "method-not-allowed",
            Self::Path => "path-not-allowed",
            Self::AmbiguousPath(_) => "ambiguous-path",
            Self::Plaintext => "plaintext-credential",
            Self::Placeholder => "placeholder",
            Self::Workspace => "workspace-policy",
            Self::Address(AddressClass::Metadata) => "metadata-address",
            Self::Address(_) => "private-address",
            Self::Loopback => "loopback",
            Self::BadHost => "bad-host",
            Self::BadRequest => "bad-request",
            Self::HostMismatch => "host-mismatch",
            Self::NoServerName => "no-server-name",
            Self::Distrusted => "client-distrusts-gate",
            Self::NotTls => "not-tls",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Audit => "audit-unavailable",
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("no rule allows it"),
            Self::DenyRule => f.write_str("a deny rule names it"),
            Self::Port => f.write_str("the host is allowed, but not on this port"),
            Self::Method => f.write_str("the host is allowed, but not with this method"),
            Self::Path => f.write_str("the host is allowed, but not this path"),
            Self::AmbiguousPath(error) => write!(f, "{error}, and a rule judges paths here"),
            Self::Plaintext => f.write_str(
                "a credential would be sent in clear text, and the rule does not permit that",
            ),
            Self::Placeholder => f.write_str(
                "it carries the placeholder of a credential where that credential is not bound to",
            ),
            Self::Workspace => f.write_str("the policy file of the workspace does not allow it"),
            Self::Address(class) => write!(f, "it resolves to a {} address", class.as_str()),
            Self::Loopback => f.write_str(
                "localhost means the inside; connect to it directly, not through the gate",
            ),
            Self::BadHost => f.write_str("the host is malformed"),
            Self::BadRequest => f.write_str("the request is malformed"),
            Self::HostMismatch => f.write_str("the request names two different hosts"),
            Self::NoServerName => f.write_str("the TLS handshake names no server"),
            Self::Distrusted => {
                f.write_str("the client does not trust the session's certificate authority")
            }
            Self::NotTls => f.write_str(
                "the connection is neither TLS nor HTTP, and the rule permits no other protocol",
            ),
            Self::Protocol => f.write_str("the gate does not carry this protocol"),
            Self::Limit => f.write_str("a limit of the gate is reached"),
            Self::Audit => f.write_str("the audit log cannot be written"),
        }
    }
}

/// A rule that came close, and what was missing.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleId,
    /// What did not fit, in plain words.
    pub because: String,
}
