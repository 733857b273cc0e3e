//! DNS queries as bytes, and answers to them (RFC 1035, with the OPT record of RFC 6891).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_policy::DnsName;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
const FLAG_RESPONSE: u16 = 0x8000;
const FLAGS_OPCODE: u16 = 0x7800;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
/// Seconds an answer may be kept. Addresses are stable for a session, but a cache must not outlive it.
const TTL: u32 = 30;
/// What we say we can take by UDP; answers are far shorter.
const UDP_SIZE: u16 = 1232;

/// Types of questions that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Ptr,
    Other,
}

/// A well-formed query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    id: u16,
    recursion: bool,
    /// The question as it was sent, so that the letters' case comes back as it was (some resolvers check that).
    question: Vec<u8>,
    pub(crate) kind: Kind,
    /// The name, if it is one that a host can have.
    pub(crate) name: Option<DnsName>,
    /// The address a PTR question asks about.
    pub(crate) reverse: Option<IpAddr>,
    pub(crate) class_in: bool,
    edns: bool,
}

/// What to do with bytes that are no such query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadQuery {
    /// No answer: there is no header, or it is itself an answer, and answering those makes loops.
    Drop,
    /// An answer that says so.
    Refuse(u16, Code),
}

/// Response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
}

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    None,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Name(DnsName),
}

impl Query {
    /// Parses a query. Every byte has to be accounted for.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadQuery> {
        let header = bytes.get(..HEADER).ok_or(BadQuery::Drop)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags) = (word(0), word(2));
        if flags & FLAG_RESPONSE != 0 {
            return Err(BadQuery::Drop);
        }
        if flags & FLAGS_OPCODE != 0 {
            return Err(BadQuery::Refuse(id, Code::NotImp));
        }
        let malformed = BadQuery::Refuse(id, Code::FormErr);
        let counts = [word(4), word(6), word(8)];
        if counts != [1, 0, 0] || flags & FLAG_TRUNCATED != 0 {
            return Err(malformed);
        }
        let (labels, end) = labels(bytes, HEADER).ok_or(malformed)?;
        let fixed = bytes.get(end..end + 4).ok_or(malformed)?;
        let kind = match u16::from_be_bytes([fixed[0], fixed[1]]) {
            1 => Kind::A,
            28 => Kind::Aaaa,
            12 => Kind::Ptr,
            _ => Kind::Other,
        };
        let edns = additional(&bytes[end + 4..], word(10)).ok_or(malformed)?;
        Ok(Self {
            id,
            recursion: flags & FLAG_RECURSION_DESIRED != 0,
            question: bytes[HEADER..end + 4].to_vec(),
            kind,
            name: name_of(&labels),
            reverse: if kind == Kind::Ptr {
                reverse_of(&labels)
            } else {
                None
            },
            class_in: u16::from_be_bytes([fixed[2], fixed[3]]) == CLASS_IN,
            edns,
        })
    }

    /// The answer's bytes. They stay below 512, so nothing is ever truncated.
    pub(crate) fn answer(&self, code: Code, data: &Data) -> Vec<u8> {
        let record: Option<(u16, Vec<u8>)> = match data {
            Data::None => None,
            Data::V4(ip) => Some((1, ip.octets().to_vec())),
            Data::V6(ip) => Some((28, ip.octets().to_vec())),
            Data::Name(name) => Some((12, wire_name(name))),
        };
        let mut out = Vec::with_capacity(HEADER + self.question.len() + 64);
        let recursion = if self.recursion {
            FLAG_RECURSION_DESIRED
        } else {
            0
        };
        let flags =
            FLAG_RESPONSE | FLAG_AUTHORITATIVE | FLAG_RECURSION_AVAILABLE | recursion | code as u16;
        for word in [
            self.id,
            flags,
            1,
            u16::from(record.is_some()),
            0,
            u16::from(self.edns),
        ] {
            out.extend(word.to_be_bytes());
        }
        out.extend(&self.question);
        if let Some((kind, data)) = record {
            // A pointer to the question's name.
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend(CLASS_IN.to_be_bytes());
            out.extend(TTL.to_be_bytes());
            out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            out.extend(data);
        }
        if self.edns {
            out.push(0);
            out.extend(TYPE_OPT.to_be_bytes());
            out.extend(UDP_SIZE.to_be_bytes());
            out.extend([0; 6]);
        }
        out
    }
}

/// An answer to what was no query: a header alone.
pub(crate) fn bare(id: u16, code: Code) -> Vec<u8> {
    [id, FLAG_RESPONSE | code as u16, 0, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

/// The labels of a name, and where it ends. Pointers have no place in a question.
fn labels(bytes: &[u8], mut at: usize) -> Option<(Vec<&[u8]>, usize)> {
    let start = at;
    let mut found = Vec::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length > 63 {
            return None;
        }
        if length == 0 {
            return (at + 1 - start <= 255).then_some((found, at + 1));
        }
        found.push(bytes.get(at + 1..at + 1 + length)?);
        at += 1 + length;
    }
}

/// Whether the rest is nothing, or one OPT record. None if it is neither.
fn additional(rest: &[u8], count: u16) -> Option<bool> {
    match (count, rest) {
        (0, []) => Some(false),
        (1, [0, kind0, kind1, _, _, _, _, _, _, high, low, data @ ..]) => {
            let is_opt = u16::from_be_bytes([*kind0, *kind1]) == TYPE_OPT;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (is_opt && data.len() == length).then_some(true)
        }
        _ => None,
    }
}

fn name_of(labels: &[&[u8]]) -> Option<DnsName> {
    // A label may hold a dot, which would change its meaning once it is text.
    if labels.iter().any(|label| label.contains(&b'.')) {
        return None;
    }
    DnsName::parse(&labels.join(&b'.')).ok()
}

/// `4.3.2.1.in-addr.arpa` and the nibbles of `ip6.arpa` (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse_of(labels: &[&[u8]]) -> Option<IpAddr> {
    let text = |label: &[u8]| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase);
    let labels: Vec<String> = labels
        .iter()
        .map(|label| text(label))
        .collect::<Option<_>>()?;
    let (front, zone) = labels.split_at(labels.len().checked_sub(2)?);
    let mut digits = front.iter().rev();
    match [zone[0].as_str(), zone[1].as_str()] {
        ["in-addr", "arpa"] if front.len() == 4 => {
            let octets: Vec<u8> = digits.map(|d| d.parse().ok()).collect::<Option<_>>()?;
            <[u8; 4]>::try_from(octets).ok().map(IpAddr::from)
        }
        ["ip6", "arpa"] if front.len() == 32 => {
            let value = digits.try_fold(0u128, |sum, digit| {
                let single = digit.len() == 1;
                let nibble = u8::from_str_radix(digit, 16).ok().filter(|_| single)?;
                Some(sum << 4 | u128::from(nibble))
            })?;
            Some(Ipv6Addr::from(value).into())
        }
        _ => None,
    }
}

fn wire_name(name: &DnsName) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.labels() {
        // A `DnsName` has labels of at most 63 bytes.
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

#[cfg(test)]
mod tests;
