//! The one place where the gate asks the policy.

use palisade_policy::{Authority, Decision, DenialReason, Host, HttpRequest, Permit, Request};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// The destination that a client means who may have asked our DNS first: behind an address that was given out for a
/// name stands that name. Any other address is just that.
pub(crate) fn meant(shared: &Shared, authority: Authority) -> Authority {
    let Host::Ip(ip) = authority.host else {
        return authority;
    };
    match shared.names.name_of(ip) {
        Some(name) => Authority {
            host: Host::Name(name),
            port: authority.port,
        },
        None => authority,
    }
}

/// Permits a connection to the destination, or says why not. Without an audit log nothing is permitted.
pub(crate) fn authorize(shared: &Shared, authority: &Authority) -> Result<Permit, Refusal> {
    decide(
        shared,
        authority,
        Request::new(&authority.host, authority.port),
    )
}

/// Permits one HTTP request there, or says why not.
pub(crate) fn authorize_http(
    shared: &Shared,
    authority: &Authority,
    http: HttpRequest<'_>,
) -> Result<Permit, Refusal> {
    let request = Request::with_http(&authority.host, authority.port, http);
    decide(shared, authority, request)
}

fn decide(shared: &Shared, authority: &Authority, request: Request<'_>) -> Result<Permit, Refusal> {
    if !shared.audit_ready() {
        return Err(Refusal::of(authority, DenialReason::Audit));
    }
    match shared.policy.decide(&request) {
        Decision::Permit(permit) => Ok(permit),
        Decision::Deny(denial) => Err(Refusal::new(authority, denial)),
    }
}
