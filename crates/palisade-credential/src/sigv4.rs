//! AWS Signature Version 4: a request that the agent signed with placeholders is signed anew with the real keys.
//!
//! Region and service are read from the agent's signature, and so is the list of fields it signed; date, keys and
//! session token are ours. The payload hash is the client's word (`x-amz-content-sha256`), which every S3 client
//! sends; without it the body has to be read first ([`payload`]).
//!
//! What cannot be signed anew is refused with a reason: bodies that carry a signature in each chunk, the asymmetric
//! variant, and the old version 2.
//!
//! Source: "AWS Signature Version 4 for API requests" in the IAM user guide, and "Authenticating requests" in the S3
//! API reference.

mod canonical;
mod claim;
mod key;
mod time;

use std::time::SystemTime;

use zeroize::Zeroizing;

use self::canonical::Canonical;
use self::claim::{Claim, Place};
pub(crate) use self::key::Keys;
use self::time::Stamp;
use crate::OutgoingHead;
use crate::inject::{Payload, remove_parameters};
use crate::percent::encode_into;

/// The fields a signature writes.
pub(crate) const FIELDS: [&str; 2] = ["authorization", "x-amz-security-token"];

/// The parameters that tell of keys in a signed URL.
pub(crate) const PARAMETERS: [&str; 3] = [
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];

/// Longest body that is read to be hashed. The largest requests of services that want a hash (all but S3) are DynamoDB's
/// and Bedrock's at 16 and some 20 MiB; a gate holds a handful at a time.
pub(crate) const LONGEST_HASHED_BODY: usize = 25 * 1024 * 1024;

/// Why a request cannot be signed anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// There is no signature on it.
    #[error(
        "it carries no AWS4-HMAC-SHA256 signature; give the client the placeholders as access key and secret key, so that it signs"
    )]
    Unsigned,
    /// There is a signature of another kind.
    #[error("it is signed with {0}; only AWS4-HMAC-SHA256 can be signed anew")]
    Algorithm(&'static str),
    /// There is more than one signature.
    #[error("it carries more than one signature")]
    Ambiguous,
    /// The signature is not formed as it should be.
    #[error("its signature has no valid {0}")]
    Malformed(&'static str),
    /// Each chunk of the body is signed.
    #[error(
        "each chunk of its body is signed ({0}), which cannot be done anew; let the client send the payload unsigned (in SDKs `payload_signing_enabled = false` or `chunkedEncodingEnabled(false)`)"
    )]
    Chunks(&'static str),
    /// The caller did not hash the body although [`Prepared::payload`](crate::Prepared::payload) told it to.
    #[error("the hash of its body was not computed")]
    Payload,
    /// The gate's clock is out of range.
    #[error("the gate's clock is not set")]
    Clock,
}

/// What has to be known of the body before [`sign_anew`].
pub(crate) fn payload(head: &OutgoingHead) -> Payload {
    match Claim::read(head) {
        Ok(claim) if claim.payload.is_none() => Payload::Hash {
            max: LONGEST_HASHED_BODY,
        },
        // What cannot be signed is refused there, before a body is read.
        _ => Payload::None,
    }
}

/// Replaces the signature by one with these keys.
pub(crate) fn sign_anew(
    head: &mut OutgoingHead,
    keys: &Keys<'_>,
    payload_sha256: Option<[u8; 32]>,
    now: SystemTime,
) -> Result<(), SignError> {
    let claim = Claim::read(head)?;
    let stamp = Stamp::new(now).ok_or(SignError::Clock)?;
    let payload = match (&claim.payload, payload_sha256) {
        (Some(payload), _) => payload.clone(),
        (None, Some(hash)) => key::hexadecimal(&hash),
        (None, None) => return Err(SignError::Payload),
    };
    for name in FIELDS {
        head.remove(name);
    }
    head.remove("proxy-authorization");
    head.remove("x-amz-date");
    match &claim.place {
        Place::Header => sign_header(head, keys, &claim, &stamp, &payload),
        Place::Query { expires } => sign_query(head, keys, &claim, &stamp, &payload, expires),
    }
    Ok(())
}

fn sign_header(
    head: &mut OutgoingHead,
    keys: &Keys<'_>,
    claim: &Claim,
    stamp: &Stamp,
    payload: &str,
) {
    head.add("x-amz-date", stamp.full.as_bytes());
    if claim.is_s3() && head.values("x-amz-content-sha256").next().is_none() {
        head.add("x-amz-content-sha256", payload.as_bytes());
    }
    // AWS IoT wants its token outside of the signature.
    let late_token = claim.service == "iotdevicegateway";
    if let Some(token) = keys.session_token.filter(|_| !late_token) {
        head.add("x-amz-security-token", token);
    }
    let names = claim.names_to_sign(head);
    let scope = claim.scope(stamp);
    let request = Canonical {
        head,
        query: head.query(),
        names: &names,
        payload,
        s3: claim.is_s3(),
    };
    let signature = key::sign(keys, claim, stamp, &scope, &request.text());
    let value = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        String::from_utf8_lossy(keys.access_key),
        names.join(";"),
    );
    head.add("authorization", value.as_bytes());
    if let Some(token) = keys.session_token.filter(|_| late_token) {
        head.add("x-amz-security-token", token);
    }
}

fn sign_query(
    head: &mut OutgoingHead,
    keys: &Keys<'_>,
    claim: &Claim,
    stamp: &Stamp,
    payload: &str,
    expires: &str,
) {
    let names = claim.names_to_sign(head);
    let scope = claim.scope(stamp);
    let kept = remove_parameters(head.query(), claim::is_signature_parameter);
    let token = keys.session_token.unwrap_or_default();
    // Enough for all that is added, so that no copy of the token is left behind where it grew from.
    let room =
        kept.len() + 3 * (token.len() + keys.access_key.len()) + ROOM + 3 * names_length(&names);
    let mut query = Zeroizing::new(String::with_capacity(room));
    query.push_str(&kept);
    let credential = format!("{}/{scope}", String::from_utf8_lossy(keys.access_key));
    let signed = names.join(";");
    let mut add = |name: &str, value: &[u8]| {
        if !query.is_empty() && !query.ends_with('&') {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        encode_into(&mut query, value, b"");
    };
    add("X-Amz-Algorithm", ALGORITHM.as_bytes());
    add("X-Amz-Credential", credential.as_bytes());
    add("X-Amz-Date", stamp.full.as_bytes());
    add("X-Amz-Expires", expires.as_bytes());
    add("X-Amz-SignedHeaders", signed.as_bytes());
    let late_token = claim.service == "iotdevicegateway";
    if let Some(token) = keys.session_token.filter(|_| !late_token) {
        add("X-Amz-Security-Token", token);
    }
    let request = Canonical {
        head,
        query: &query,
        names: &names,
        payload,
        s3: claim.is_s3(),
    };
    let signature = key::sign(keys, claim, stamp, &scope, &request.text());
    query.push_str("&X-Amz-Signature=");
    query.push_str(&signature);
    if let Some(token) = keys.session_token.filter(|_| late_token) {
        query.push_str("&X-Amz-Security-Token=");
        encode_into(&mut query, token, b"");
    }
    let mut target = String::with_capacity(head.path().len() + 1 + query.len());
    target.push_str(head.path());
    target.push('?');
    target.push_str(&query);
    head.target = target;
}

/// Room for the parameters of a signed URL, without its token, key and field names: some 400 bytes.
const ROOM: usize = 1024;

fn names_length(names: &[String]) -> usize {
    names.iter().map(|name| name.len() + 3).sum()
}

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests;
