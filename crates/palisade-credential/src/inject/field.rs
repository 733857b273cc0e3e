//! Header fields: which may be written, and how a list gets one more member.

use palisade_policy::CredentialName;

use super::InjectError;
use crate::OutgoingHead;
use crate::head::same_field;

/// Fields that frame or route a message: what stands in them decides where a request ends or whom it is for.
const FRAMING: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "trailer",
    "te",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "expect",
    "content-encoding",
];

/// Whether a credential may write or remove a field of this name.
pub(super) fn check(credential: &CredentialName, field: &str) -> Result<(), InjectError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // One without a letter or digit would be the same as any other such name.
    let fine = field.bytes().all(token)
        && field.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && !FRAMING.iter().any(|framing| same_field(framing, field));
    fine.then_some(()).ok_or_else(|| InjectError::Field {
        credential: credential.clone(),
        field: field.to_owned(),
    })
}

/// Adds a member to a field that is a list, unless it is in it.
pub(super) fn append_member(head: &mut OutgoingHead, name: &str, member: &str) {
    let is_member = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(member.as_bytes());
    if head
        .values(name)
        .any(|value| value.split(|&byte| byte == b',').any(is_member))
    {
        return;
    }
    let list = head
        .fields
        .iter_mut()
        .rev()
        .find(|(own, value)| own.eq_ignore_ascii_case(name) && !value.trim_ascii().is_empty());
    match list {
        Some((_, value)) => {
            value.extend_from_slice(b", ");
            value.extend_from_slice(member.as_bytes());
        }
        None => head.add(&name.to_ascii_lowercase(), member.as_bytes()),
    }
}
