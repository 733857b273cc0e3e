//! What the agent's own signature says: for which region and service, over which fields and which payload.

use super::time::Stamp;
use super::{ALGORITHM, SignError};
use crate::OutgoingHead;
use crate::head::same_field;
use crate::percent::decode;

/// A signature as the agent made it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) place: Place,
    pub(super) region: String,
    pub(super) service: String,
    /// The fields it is over, lower case.
    names: Vec<String>,
    /// What stands for the payload. None: the hash of the body.
    pub(super) payload: Option<String>,
}

/// Where a signature stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In `Authorization`.
    Header,
    /// In the query: a signed URL.
    Query {
        /// For how many seconds it is good.
        expires: String,
    },
}

/// Fields that are never signed: the gate may write them itself, or a hop changes them on the way. AWS asks for `host`
/// and `x-amz-*` only.
const UNSIGNED: [&str; 13] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-amzn-trace-id",
];

/// A week, the longest AWS takes.
const LONGEST_EXPIRES: u32 = 7 * 24 * 60 * 60;

impl Claim {
    pub(super) fn read(head: &OutgoingHead) -> Result<Self, SignError> {
        let in_query = head.query().split('&').any(|part| {
            let name = part.split_once('=').map_or(part, |(name, _)| name);
            is_signature_parameter(&decode(name))
        });
        let mut logins = head
            .fields
            .iter()
            .filter(|(name, _)| same_field(name, "authorization"));
        let claim = match (logins.next(), logins.next(), in_query) {
            (Some((_, value)), None, false) => from_header(value)?,
            (None, None, true) => from_query(head)?,
            (None, None, false) => return Err(SignError::Unsigned),
            _ => return Err(SignError::Ambiguous),
        };
        let payload = payload(head, &claim)?;
        Ok(Self { payload, ..claim })
    }

    /// Whether it is for S3, which has rules of its own.
    pub(super) fn is_s3(&self) -> bool {
        matches!(
            self.service.as_str(),
            "s3" | "s3express" | "s3-outposts" | "s3-object-lambda"
        )
    }

    /// The credential scope on a day.
    pub(super) fn scope(&self, stamp: &Stamp) -> String {
        let Self {
            region, service, ..
        } = self;
        format!("{}/{region}/{service}/aws4_request", stamp.date)
    }

    /// The fields to sign, sorted: those the agent signed as far as they are there, `host`, and all of AWS's own (a
    /// request with one of them unsigned is refused by S3).
    pub(super) fn names_to_sign(&self, head: &OutgoingHead) -> Vec<String> {
        let mut names: Vec<String> = head
            .fields
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| self.names.contains(name) || name.starts_with("x-amz-"))
            .filter(|name| !UNSIGNED.contains(&name.as_str()))
            .chain(["host".to_owned()])
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
fn from_header(value: &[u8]) -> Result<Claim, SignError> {
    let value = str::from_utf8(value)
        .map_err(|_| SignError::Malformed("authorization"))?
        .trim();
    let (algorithm, parts) = value.split_once(' ').unwrap_or((value, ""));
    check_algorithm(algorithm)?;
    let mut credential = None;
    let mut signed = None;
    for part in parts.split(',') {
        let (name, value) = part
            .trim()
            .split_once('=')
            .ok_or(SignError::Malformed("list of parts"))?;
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(SignError::Ambiguous);
        }
    }
    claim(
        Place::Header,
        credential.ok_or(SignError::Malformed("Credential"))?,
        signed.ok_or(SignError::Malformed("SignedHeaders"))?,
    )
}

fn from_query(head: &OutgoingHead) -> Result<Claim, SignError> {
    let only = |name: &'static str| -> Result<String, SignError> {
        let mut values = parameter(head, name);
        let value = values.next().ok_or(SignError::Malformed(name))?;
        if values.next().is_some() {
            return Err(SignError::Ambiguous);
        }
        Ok(value)
    };
    check_algorithm(&only("X-Amz-Algorithm")?)?;
    let expires = only("X-Amz-Expires")?;
    let in_range = |seconds: u32| (1..=LONGEST_EXPIRES).contains(&seconds);
    if !expires.parse().is_ok_and(in_range) || expires.starts_with('+') {
        return Err(SignError::Malformed("X-Amz-Expires"));
    }
    claim(
        Place::Query { expires },
        &only("X-Amz-Credential")?,
        &only("X-Amz-SignedHeaders")?,
    )
}

fn claim(place: Place, credential: &str, signed: &str) -> Result<Claim, SignError> {
    // The key itself may hold a slash if it is a placeholder of an unusual shape, so from the end.
    let mut scope = credential.rsplit('/');
    let (end, service, region, date) = (scope.next(), scope.next(), scope.next(), scope.next());
    let word = |text: &&str| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match (
        end,
        service.filter(word),
        region.filter(word),
        date,
        scope.next(),
    ) {
        (Some("aws4_request"), Some(service), Some(region), Some(_), Some(_)) => Ok(Claim {
            place,
            region: region.to_owned(),
            service: service.to_owned(),
            names: signed.split(';').map(str::to_ascii_lowercase).collect(),
            payload: None,
        }),
        _ => Err(SignError::Malformed("credential scope")),
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), SignError> {
    match algorithm {
        ALGORITHM => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(SignError::Algorithm("the asymmetric variant (SigV4A)")),
        "AWS" => Err(SignError::Algorithm("the old version 2")),
        _ => Err(SignError::Unsigned),
    }
}

/// What the agent says of the payload.
fn payload(head: &OutgoingHead, claim: &Claim) -> Result<Option<String>, SignError> {
    const FIELD: &str = "x-amz-content-sha256";
    let mut values: Vec<String> = head
        .values(FIELD)
        .map(|value| String::from_utf8_lossy(value.trim_ascii()).into_owned())
        .collect();
    if matches!(claim.place, Place::Query { .. }) {
        values.extend(parameter(head, FIELD));
    }
    values.dedup();
    let value = match values.as_slice() {
        [] if claim.is_s3() && claim.place != Place::Header => UNSIGNED_PAYLOAD,
        [] => return Ok(None),
        [value] => value,
        _ => return Err(SignError::Ambiguous),
    };
    let is_hash = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash
        || matches!(
            value,
            UNSIGNED_PAYLOAD | "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        )
    {
        return Ok(Some(value.to_owned()));
    }
    match CHUNK_SIGNED.into_iter().find(|kind| *kind == value) {
        Some(kind) => Err(SignError::Chunks(kind)),
        None => Err(SignError::Malformed(FIELD)),
    }
}

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Bodies in which each chunk carries a signature that depends on the one before.
const CHUNK_SIGNED: [&str; 5] = [
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-EVENTS",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
];

/// The decoded values of a parameter, whatever the case of its name.
fn parameter<'a>(head: &'a OutgoingHead, name: &'a str) -> impl Iterator<Item = String> + 'a {
    head.query().split('&').filter_map(move |part| {
        let (own, value) = part.split_once('=').unwrap_or((part, ""));
        let is_it = decode(own).eq_ignore_ascii_case(name.as_bytes());
        is_it.then(|| String::from_utf8_lossy(&decode(value)).into_owned())
    })
}

/// Whether a decoded name is one that a signature writes into the query.
pub(super) fn is_signature_parameter(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"x-amz-algorithm",
        b"x-amz-credential",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-signedheaders",
        b"x-amz-security-token",
        b"x-amz-signature",
    ];
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}
