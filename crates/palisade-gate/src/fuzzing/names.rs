//! The protocols that carry a name: TLS, SOCKS, DNS.

use palisade_policy::{Authority, Host};

use crate::client_hello::{Hello, HelloReader};
use crate::dns::message::{BadQuery, Code, Data, Kind, Query, bare};
use crate::socks::message::{self, Asked, Parsed, SocksError};

/// As in the default limits.
const HELLO_MAX: usize = 64 * 1024;

/// A ClientHello that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct SeenHello {
    /// Its server name.
    pub name: Option<String>,
    /// It offers HTTP/2.
    pub http2: bool,
    /// It offers HTTP/1.1.
    pub http1: bool,
}

/// Reads a ClientHello at once, byte by byte, and cut into records of `record` bytes: always the same answer.
pub fn client_hello(bytes: &[u8], record: usize) -> Option<SeenHello> {
    let whole = HelloReader::default().read(bytes, HELLO_MAX);
    let mut reader = HelloReader::default();
    let mut grown = Ok(None);
    for end in 0..=bytes.len() {
        grown = reader.read(&bytes[..end], HELLO_MAX);
        if !matches!(grown, Ok(None)) {
            break;
        }
    }
    assert_eq!(grown, whole);
    let hello = whole.ok()??;
    if let Some(recut) = recut(bytes, record) {
        assert_eq!(
            HelloReader::default().read(&recut, HELLO_MAX),
            Ok(Some(hello.clone()))
        );
        let cut = recut.len() - 1;
        let part = HelloReader::default().read(&recut[..cut], HELLO_MAX);
        assert_eq!(part, Ok(None), "a part of a hello decides nothing");
    }
    Some(seen(&hello))
}

fn seen(hello: &Hello) -> SeenHello {
    let name = hello.name.as_ref().map(|name| name.as_str().to_owned());
    if let Some(name) = &name {
        assert!(!name.ends_with('.') && name.len() <= 253);
        assert!(
            !name
                .bytes()
                .any(|b| b.is_ascii_uppercase() || !b.is_ascii_graphic())
        );
    }
    SeenHello {
        name,
        http2: hello.alpn.is_some_and(|offer| offer.http2),
        http1: hello.alpn.is_some_and(|offer| offer.http1),
    }
}

/// The same handshake message in records of another size; none if that would be too many of them.
fn recut(mut bytes: &[u8], record: usize) -> Option<Vec<u8>> {
    const RECORDS: usize = 64;
    let mut message = Vec::new();
    let complete = |message: &[u8]| match message {
        [_, high, middle, low, body @ ..] => {
            let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
            body.len() >= length
        }
        _ => false,
    };
    while !complete(&message) {
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        message.extend_from_slice(&bytes[5..5 + length]);
        bytes = &bytes[5 + length..];
    }
    let record = record.max(message.len().div_ceil(RECORDS)).min(1 << 14);
    let mut out = Vec::new();
    for part in message.chunks(record) {
        out.extend([22, 3, 1]);
        out.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
        out.extend_from_slice(part);
    }
    Some(out)
}

/// Reads a SOCKS request of either version. No part of a request is one, nothing behind it matters, and what it asks
/// for is a destination that is written and read as the same.
pub fn socks_request(bytes: &[u8]) -> Option<String> {
    if let Ok(Some((_, used))) = stable(bytes, message::greeting5) {
        assert_eq!(used, 2 + usize::from(bytes[1]));
    }
    assert!(message::named(bytes).len() <= 255);
    let parse = match bytes.first()? {
        4 => message::request4,
        _ => message::request5,
    };
    let (Asked { authority }, _) = stable(bytes, parse).ok()??;
    let text = authority.to_string();
    assert_eq!(
        Authority::parse(text.as_bytes(), None).as_ref(),
        Ok(&authority)
    );
    assert_ne!(authority.port, 0);
    if let Host::Name(name) = &authority.host {
        let sent = message::named(bytes);
        let sent = sent.strip_suffix(b".").unwrap_or(sent).to_ascii_lowercase();
        assert_eq!(name.as_str().as_bytes(), sent);
    }
    Some(text)
}

fn stable<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: fn(&[u8]) -> Parsed<T>,
) -> Result<Option<(T, usize)>, SocksError> {
    let whole = parse(bytes);
    if let Ok(Some((_, used))) = &whole {
        assert!(*used <= bytes.len());
        assert_eq!(parse(&bytes[..*used]), whole, "what follows was read");
        for end in 0..*used {
            assert_eq!(
                parse(&bytes[..end]),
                Ok(None),
                "a part was taken for the whole"
            );
        }
    }
    whole
}

/// A DNS query that was accepted, and our answers to it.
#[derive(Debug)]
pub struct SeenQuery {
    /// The name, if it is one that a host can have.
    pub name: Option<String>,
    /// Answers with nothing, an IPv4 address, an IPv6 address, a name.
    pub answers: Vec<Vec<u8>>,
}

/// Reads a DNS query. An answer is short, repeats the question, and is no query itself.
pub fn dns_query(bytes: &[u8]) -> Option<SeenQuery> {
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(bad) => {
            if let BadQuery::Refuse(id, code) = bad {
                let answer = bare(id, code);
                assert_eq!(answer[..2], bytes[..2]);
                assert_eq!(
                    Query::parse(&answer),
                    Err(BadQuery::Drop),
                    "answers make no loops"
                );
            }
            return None;
        }
    };
    assert!(query.reverse.is_none() || query.kind == Kind::Ptr);
    let mut all = vec![
        Data::None,
        Data::V4([198, 18, 0, 1].into()),
        Data::V6(std::net::Ipv6Addr::LOCALHOST),
    ];
    all.extend(query.name.clone().map(Data::Name));
    let answers: Vec<Vec<u8>> = all
        .iter()
        .map(|data| query.answer(Code::NoError, data))
        .collect();
    for answer in &answers {
        assert_eq!(answer[..2], bytes[..2]);
        assert_eq!(
            Query::parse(answer),
            Err(BadQuery::Drop),
            "answers make no loops"
        );
        // Header, question of 255 + 4, record of 12 + 255, OPT of 11.
        assert!(answer.len() <= 12 + 259 + 267 + 11);
    }
    Some(SeenQuery {
        name: query.name.map(|name| name.as_str().to_owned()),
        answers,
    })
}
