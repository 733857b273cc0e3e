//! What is answered to a query.

use std::net::{Ipv4Addr, Ipv6Addr};

use palisade_audit::Entry;
use palisade_policy::{DenialReason, DnsName};

use crate::dns::message::{self, BadQuery, Code, Data, Kind, Query};
use crate::record::note;
use crate::shared::Shared;

/// Zones that no public DNS answers for (RFC 6761, 6762, 7686, 9476); a name in them, or one of a single label, gets
/// an address only if a rule names it. `arpa` holds no hosts.
const SPECIAL: [&str; 9] = [
    "local", "onion", "invalid", "test", "alt", "arpa", "internal", "home", "lan",
];

/// The answer's bytes; none if there is nothing to be said.
pub(crate) fn answer(shared: &Shared, bytes: &[u8]) -> Option<Vec<u8>> {
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(BadQuery::Drop) => return None,
        Err(BadQuery::Refuse(id, code)) => return Some(message::bare(id, code)),
    };
    if !query.class_in {
        return Some(query.answer(Code::Refused, &Data::None));
    }
    let (code, data) = match query.kind {
        Kind::Ptr => reverse(shared, &query),
        _ => forward(shared, &query),
    };
    Some(query.answer(code, &data))
}

fn reverse(shared: &Shared, query: &Query) -> (Code, Data) {
    match query.reverse {
        Some(ip) if ip.is_loopback() => (Code::NoError, Data::Name(localhost())),
        Some(ip) => match shared.names.name_of(ip) {
            Some(name) => (Code::NoError, Data::Name(name)),
            None => (Code::NxDomain, Data::None),
        },
        None => (Code::NxDomain, Data::None),
    }
}

fn forward(shared: &Shared, query: &Query) -> (Code, Data) {
    let Some(name) = &query.name else {
        return (Code::NxDomain, Data::None);
    };
    if name.as_str() == "localhost" || name.as_str().ends_with(".localhost") {
        return (
            Code::NoError,
            data(query.kind, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        );
    }
    if is_special(name) && !shared.policy.names(name) {
        return (Code::NxDomain, Data::None);
    }
    // A type without data here needs no address, and an agent could fill the table with them.
    if query.kind == Kind::Other {
        return (Code::NoError, Data::None);
    }
    if !shared.audit_ready() {
        return (Code::ServFail, Data::None);
    }
    let Some(synthetic) = shared.names.of(name) else {
        if shared.names.full_for_the_first_time() {
            let error = "too many names were asked for; further ones get no address";
            note(
                shared,
                Entry::Dns,
                "",
                Some(DenialReason::Limit),
                Some(error),
            );
        }
        return (Code::ServFail, Data::None);
    };
    if synthetic.is_new {
        // Nothing has left the machine and nothing was refused: that a name was asked for is all there is to record.
        note(shared, Entry::Dns, name.as_str(), None, None);
    }
    (
        Code::NoError,
        data(query.kind, synthetic.v4(), synthetic.v6()),
    )
}

fn data(kind: Kind, v4: Ipv4Addr, v6: Ipv6Addr) -> Data {
    match kind {
        Kind::A => Data::V4(v4),
        Kind::Aaaa => Data::V6(v6),
        Kind::Ptr | Kind::Other => Data::None,
    }
}

fn is_special(name: &DnsName) -> bool {
    let last = name.labels().next_back().unwrap_or("");
    last == name.as_str() || SPECIAL.contains(&last)
}

fn localhost() -> DnsName {
    // A constant that parses; were it not so, every test of this module would fail.
    DnsName::parse(b"localhost").expect("localhost is a name")
}
