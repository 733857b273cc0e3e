//! Parameters of a query: taking them out in every spelling, putting one in.

use zeroize::Zeroize as _;

use crate::OutgoingHead;
use crate::percent::{decode, encode_into};

/// The target cannot have a query (`*`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoQuery;

/// Puts a parameter in, as the only one of its name.
pub(super) fn set(head: &mut OutgoingHead, name: &str, value: &[u8]) -> Result<(), NoQuery> {
    if !head.target.starts_with('/') {
        return Err(NoQuery);
    }
    let query = remove_parameters(head.query(), |own| same_parameter(own, name));
    let path = head.path();
    // At its final size from the start, so that no copy of a secret is left behind where it was moved from.
    let most = path.len() + query.len() + 3 * (name.len() + value.len()) + 3;
    let mut target = String::with_capacity(most);
    target.push_str(path);
    target.push('?');
    target.push_str(&query);
    if !query.is_empty() {
        target.push('&');
    }
    encode_into(&mut target, name.as_bytes(), b"");
    target.push('=');
    encode_into(&mut target, value, b"");
    head.target.zeroize();
    head.target = target;
    Ok(())
}

/// The query without the parameters whose decoded name `is_one` says so of. Both `&` and `;` end a parameter: some
/// servers take the second as well.
pub(crate) fn remove_parameters(query: &str, is_one: impl Fn(&[u8]) -> bool) -> String {
    let mut kept = String::with_capacity(query.len());
    for part in query.split_inclusive(['&', ';']) {
        let bare = part.trim_end_matches(['&', ';']);
        let name = bare.split_once('=').map_or(bare, |(name, _)| name);
        if !is_one(&decode(name)) {
            kept.push_str(part);
        }
    }
    let length = kept.trim_end_matches(['&', ';']).len();
    // A separator that the query itself ended with stays as it was.
    if !query.ends_with(['&', ';']) {
        kept.truncate(length);
    }
    kept
}

/// Whether a server may take one decoded name for the other: any case, what PHP makes an underscore of, and the
/// brackets of a list.
pub(crate) fn same_parameter(own: &[u8], name: &str) -> bool {
    let plain = |name: &[u8]| -> Vec<u8> {
        let name = name.split(|&byte| byte == b'[').next().unwrap_or_default();
        name.trim_ascii()
            .iter()
            .map(|byte| match byte {
                b'.' | b' ' | b'-' | b'+' => b'_',
                byte => byte.to_ascii_lowercase(),
            })
            .take_while(|&byte| byte != 0)
            .collect()
    };
    plain(own) == plain(name.as_bytes())
}
