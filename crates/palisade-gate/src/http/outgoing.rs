//! A request on its way out with a credential: what the agent may have put in its place is gone, and what would let the
//! secret come back unseen is not asked for.
//!
//! Works on a head as data, so that both versions of HTTP use it.

use std::sync::Arc;
use std::time::SystemTime;

use palisade_credential::{InjectError, OutgoingHead, Payload, Prepared};
use palisade_policy::CredentialName;

use crate::http::redaction::readable_codings;

/// A credential that one request carries.
#[derive(Clone)]
pub(crate) struct Carried {
    pub(crate) name: CredentialName,
    pub(crate) prepared: Arc<Prepared>,
}

/// Fields that would get around redaction: parts and deltas of a body, in which half a secret is not found (C08), and
/// frames that are compressed one by one. `Request-Range` is what `Range` was called once, and still read by some.
const EVASIVE: [&str; 5] = [
    "range",
    "if-range",
    "request-range",
    "a-im",
    "sec-websocket-extensions",
];

impl Carried {
    /// Makes the head fit for a credential. None of this is a claim of the policy's, so nothing is refused but a field
    /// that a server could take for one of the credential's own (C02).
    pub(crate) fn clear(&self, head: &mut OutgoingHead) -> Result<(), LookAlike> {
        for (name, _) in &head.fields {
            if is_look_alike(name, self.prepared.bound_fields()) {
                return Err(LookAlike);
            }
        }
        let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
        head.fields
            .retain(|(name, _)| !EVASIVE.iter().any(|evasive| is(name, evasive)));
        let accepts = |(name, _): &(String, Vec<u8>)| is(name, "accept-encoding");
        if head.fields.iter().any(accepts) {
            let values = head.fields.iter().filter(|field| accepts(field));
            let codings = readable_codings(values.map(|(_, value)| value.as_slice()));
            head.fields.retain(|field| !accepts(field));
            head.fields.push(("accept-encoding".into(), codings));
        }
        Ok(())
    }

    /// What has to be known of the body first.
    pub(crate) fn payload(&self, head: &OutgoingHead) -> Payload {
        self.prepared.payload(head)
    }

    /// Puts the credential in.
    pub(crate) fn inject(
        &self,
        head: &mut OutgoingHead,
        payload: Option<[u8; 32]>,
    ) -> Result<(), InjectError> {
        self.prepared.inject(head, payload, SystemTime::now())
    }
}

/// A field that some servers read as one of the credential's (`X_Api_Key`, as CGI does).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field looks like the one that carries the credential, but is spelled otherwise")]
pub(crate) struct LookAlike;

/// Letters and digits are those of a bound field, and something else is not.
fn is_look_alike(name: &str, bound: &[String]) -> bool {
    fn core(name: &str) -> impl Iterator<Item = u8> {
        let plain = name.bytes().filter(u8::is_ascii_alphanumeric);
        plain.map(|b| b.to_ascii_lowercase())
    }
    bound
        .iter()
        .any(|own| !own.eq_ignore_ascii_case(name) && core(own).eq(core(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_look_alikes_are_seen() {
        let bound = ["authorization".to_owned(), "x-api-key".to_owned()];
        for name in [
            "Authorization_",
            "X_Api_Key",
            "x_api-key",
            "xapikey",
            "X.Api.Key",
        ] {
            assert!(is_look_alike(name, &bound), "{name}");
        }
        for name in [
            "Authorization",
            "X-API-KEY",
            "x-api-keys",
            "accept",
            "author",
        ] {
            assert!(!is_look_alike(name, &bound), "{name}");
        }
    }
}
