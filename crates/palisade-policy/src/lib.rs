//! Rules, and one pure function from request to decision.
//!
//! The gate parses what a client asks for into a [`Request`]; [`NetworkPolicy::decide`] answers with a
//! [`Decision`] that names the rule which made it. A [`Permit`] can be made nowhere else, and whoever
//! forwards a request has to hold one (invariant 9).
//!
//! ```text
//!   bytes ──▶ Host / Authority ──▶ Request ──▶ NetworkPolicy::decide ──▶ Permit │ Denial
//!                                                   ▲                      │
//!                                        deny rules, layers of allow       ▼
//!                                                                 Permit::admit(address)
//! ```
//!
//! Non-goals: no file, clock, network, environment. The same request and the same policy always give the
//! same decision, so decisions are property-tested and can be replayed.
//!
//! ```
//! use palisade_policy::{Decision, Host, HostPattern, NetworkPolicy, Ports, Request, Rule, Source};
//!
//! let rule = Rule::new(HostPattern::parse("*.example.com").unwrap(), Ports::WEB, Source::new("example"));
//! let policy = NetworkPolicy::builder().allow(rule).build();
//! let host = Host::parse(b"api.example.com").unwrap();
//! assert!(matches!(policy.decide(&Request::new(&host, 443)), Decision::Permit(_)));
//! ```
#![forbid(unsafe_code)]

mod address;
mod decision;
mod denial;
mod file;
mod host;
mod index;
mod method;
mod path;
mod pattern;
mod rule;

pub use address::{AddressClass, classify};
pub use decision::{
    Decision, HttpKind, HttpRequest, Inspection, NetworkPolicy, NetworkPolicyBuilder, Permit,
    Request,
};
pub use denial::{Denial, DenialReason, NearMiss};
pub use file::{FileAccess, FileDecision, FileGrant, FilePolicy, Lands};
pub use host::{Authority, DnsName, Host, HostError};
pub use method::METHODS;
pub use path::{PathError, PathPattern, PathPatternError, RequestPath};
pub use pattern::{HostPattern, PatternError};
pub use rule::{CredentialName, Layer, Ports, Protocol, Rule, RuleId, Source};
