//! The one place where the gate asks the policy.

use palisade_policy::{Authority, Decision, DenialReason, Permit, Request};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// Permits the destination, or says why not. Without an audit log nothing is permitted.
pub(crate) fn authorize(shared: &Shared, authority: &Authority) -> Result<Permit, Refusal> {
    if !shared.audit_ready() {
        return Err(Refusal::of(authority, DenialReason::Audit));
    }
    match shared.policy.decide(&Request::new(&authority.host, authority.port)) {
        Decision::Permit(permit) => Ok(permit),
        Decision::Deny(denial) => Err(Refusal::new(authority, denial)),
    }
}
