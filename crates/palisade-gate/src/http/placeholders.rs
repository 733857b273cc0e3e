//! Placeholders where they are not bound to: the sign of an agent that was talked into handing a credential on (C10,
//! C11). They are worthless by themselves, so what is guarded here is the attempt, not a secret.

use palisade_credential::Placeholders;
use palisade_policy::CredentialName;

use crate::http::outgoing::Carried;
use crate::http::request::RequestHead;

/// The credential whose placeholder stands in this request's head where it is not bound to.
pub(crate) fn in_request(
    placeholders: &Placeholders,
    head: &RequestHead,
    carried: Option<&Carried>,
) -> Option<CredentialName> {
    let found = in_bytes(placeholders, &head.bytes)?;
    if carried.is_none() {
        return Some(found);
    }
    let fields = head.fields.iter().map(|field| {
        (
            &head.bytes[field.name.clone()],
            &head.bytes[field.value.clone()],
        )
    });
    in_head(placeholders, head.target(), fields, carried)
}

/// The credential whose placeholder stands in a request head where it is not bound to. `target` is path and query.
fn in_head<'a>(
    placeholders: &Placeholders,
    target: &[u8],
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    carried: Option<&Carried>,
) -> Option<CredentialName> {
    in_target(placeholders, target, carried).or_else(|| {
        fields
            .filter_map(|(name, value)| {
                let own = carried.filter(|carried| is_bound(carried.prepared.bound_fields(), name));
                let name_itself = placeholders.find(name);
                let own = own.map(|carried| &carried.name);
                name_itself.or_else(|| placeholders.find_other(value, own))
            })
            .map(|(name, _)| name.clone())
            .next()
    })
}

/// The same of a head whose request carries no credential, all of it at once.
fn in_bytes(placeholders: &Placeholders, bytes: &[u8]) -> Option<CredentialName> {
    if placeholders.is_empty() {
        return None;
    }
    placeholders.find(bytes).map(|(name, _)| name.clone())
}

fn in_target(
    placeholders: &Placeholders,
    target: &[u8],
    carried: Option<&Carried>,
) -> Option<CredentialName> {
    let bound = carried.map_or(&[][..], |carried| carried.prepared.bound_parameters());
    if bound.is_empty() {
        return in_bytes(placeholders, target);
    }
    let end = target.iter().position(|b| *b == b'?');
    let (path, query) = target.split_at(end.unwrap_or(target.len()));
    in_bytes(placeholders, path).or_else(|| {
        let parameters = query.get(1..).unwrap_or_default();
        parameters
            .split(|b| *b == b'&')
            .filter_map(|parameter| {
                let name = parameter.split(|b| *b == b'=').next().unwrap_or_default();
                let own = carried.filter(|_| is_bound(bound, name));
                placeholders.find_other(parameter, own.map(|carried| &carried.name))
            })
            .map(|(name, _)| name.clone())
            .next()
    })
}

fn is_bound(bound: &[String], name: &[u8]) -> bool {
    bound
        .iter()
        .any(|own| own.as_bytes().eq_ignore_ascii_case(name))
}
