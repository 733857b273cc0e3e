//! Certificates out of PEM text (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The base64 text of each certificate, on one line.
pub(super) fn base64_bodies(pem: &[u8]) -> impl Iterator<Item = String> + use<> {
    let text = String::from_utf8_lossy(pem).into_owned();
    let bodies: Vec<String> = text
        .split(BEGIN)
        .skip(1)
        .filter_map(|block| block.split_once(END))
        .map(|(body, _)| body.split_ascii_whitespace().collect())
        .collect();
    bodies.into_iter()
}

/// The DER of each certificate. What is no base64 is passed over: whoever reads the same bundle as PEM does so too.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    base64_bodies(pem).filter_map(|body| STANDARD.decode(body).ok())
}
