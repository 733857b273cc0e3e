//! Keys, and the signature itself.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::ALGORITHM;
use super::claim::Claim;
use super::time::Stamp;

/// The real keys.
pub(crate) struct Keys<'a> {
    pub(crate) access_key: &'a [u8],
    pub(crate) secret_key: &'a [u8],
    pub(crate) session_token: Option<&'a [u8]>,
}

/// The signature of a canonical request.
pub(super) fn sign(
    keys: &Keys<'_>,
    claim: &Claim,
    stamp: &Stamp,
    scope: &str,
    request: &str,
) -> String {
    let text = string_to_sign(stamp, scope, request);
    let mut start = Zeroizing::new(Vec::with_capacity(4 + keys.secret_key.len()));
    start.extend_from_slice(b"AWS4");
    start.extend_from_slice(keys.secret_key);
    let date = mac(&start, stamp.date.as_bytes());
    let region = mac(&*date, claim.region.as_bytes());
    let service = mac(&*region, claim.service.as_bytes());
    let key = mac(&*service, b"aws4_request");
    hexadecimal(&*mac(&*key, text.as_bytes()))
}

/// What is signed of a canonical request.
pub(super) fn string_to_sign(stamp: &Stamp, scope: &str, request: &str) -> String {
    let hash = hexadecimal(&Sha256::digest(request.as_bytes()));
    format!("{ALGORITHM}\n{}\n{scope}\n{hash}", stamp.full)
}

fn mac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    // It fails for no length of a key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
