//! HTTP heads and chunked bodies.

use crate::http::body::{Decoder, Step};
use crate::http::head::{self, Field, FieldName, Framing, Scan};
use crate::http::request::{Intent, RequestHead, Target};
use crate::http::response::ResponseHead;

/// As in the default limits.
const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;

/// A head that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The first line without its version: method and target, or status code and reason.
    pub line: [Vec<u8>; 2],
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the head.
    pub length: usize,
}

/// Reads a request head. What is accepted has clean parts, and written out again it is read as the same.
pub fn request_head(bytes: &[u8]) -> Option<Seen> {
    let length = head_length(bytes)?;
    let mut head = RequestHead::default();
    head.parse(&bytes[..length], FIELDS_MAX).ok()?;
    let seen = Seen {
        line: [head.method().to_vec(), head.target().to_vec()],
        fields: parts(&head.bytes, &head.fields),
        length,
    };
    assert!(head::is_token(&seen.line[0]));
    assert!(seen.line[1].iter().all(u8::is_ascii_graphic));
    clean(&seen.fields);

    let version = if head.is_1_0() { "1.0" } else { "1.1" };
    let line = [
        &seen.line[0],
        &b" "[..],
        &seen.line[1],
        b" HTTP/",
        version.as_bytes(),
    ]
    .concat();
    let written = write(&line, &seen.fields);
    let mut again = RequestHead::default();
    again
        .parse(&written, FIELDS_MAX)
        .expect("a head of clean parts");
    assert_eq!(
        (again.method(), again.target()),
        (head.method(), head.target())
    );
    assert_eq!(parts(&again.bytes, &again.fields), seen.fields);
    match (head.intent(), again.intent()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(told(&head, &one), told(&again, &other));
            unambiguous(&head, &one);
            Some(seen)
        }
        // A tab before a length is refused, and is not there any more in what was written.
        (Err(_), _) => None,
        (Ok(_), Err(bad)) => panic!("accepted, then refused: {bad:?}"),
    }
}

/// Reads a response head, with the same promises.
pub fn response_head(bytes: &[u8]) -> Option<Seen> {
    let length = head_length(bytes)?;
    let mut head = ResponseHead::default();
    head.parse(&bytes[..length], FIELDS_MAX).ok()?;
    let code = head.status.to_string().into_bytes();
    assert!((100..1000).contains(&head.status));
    let seen = Seen {
        line: [code, head.reason().to_vec()],
        fields: parts(&head.bytes, &head.fields),
        length,
    };
    clean(&seen.fields);
    for to_head in [false, true] {
        let framing = head.framing(to_head).ok()?;
        let bodyless = to_head || head.is_interim() || matches!(head.status, 204 | 304);
        assert_eq!(bodyless, framing == Framing::None, "{framing:?}");
    }
    assert!(head.described_length().is_ok());
    assert!(!head.is_websocket() || head.status == 101);

    let line = [b"HTTP/1.1 ", &seen.line[0][..], b" ", &seen.line[1]].concat();
    let mut again = ResponseHead::default();
    again
        .parse(&write(&line, &seen.fields), FIELDS_MAX)
        .expect("a head of clean parts");
    assert_eq!((again.status, again.reason()), (head.status, head.reason()));
    assert_eq!(parts(&again.bytes, &again.fields), seen.fields);
    Some(seen)
}

/// Reads a chunked body, whole and in pieces of `piece` bytes. Both end at the same byte with the same content, which
/// comes back with the number of bytes used.
pub fn chunked_body(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize)> {
    let whole = decode(bytes, bytes.len().max(1));
    let pieces = decode(bytes, piece.max(1));
    assert_eq!(whole, pieces);
    let (content, used) = whole?;
    assert!(used <= bytes.len() && content.len() < used);
    let framed = [
        format!("{:x}\r\n", content.len()).as_bytes(),
        &content,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    if !content.is_empty() {
        let length = framed.len();
        assert_eq!(decode(&framed, 1), Some((content.clone(), length)));
    }
    Some((content, used))
}

fn decode(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut content, mut used, mut there) = (Vec::new(), 0, 0);
    loop {
        match decoder.step(&bytes[used..there]).ok()? {
            Step::Data(count) => {
                content.extend_from_slice(&bytes[used..used + count]);
                decoder.took(count);
                used += count;
            }
            Step::Skip(count) | Step::Trailer(count) => {
                assert!(count > 0 && used + count <= there);
                used += count;
            }
            Step::Done => return Some((content, used)),
            Step::More if there == bytes.len() => {
                assert!(decoder.end().is_err(), "a chunked body without its end");
                return None;
            }
            Step::More => there = (there + piece).min(bytes.len()),
        }
    }
}

/// Finds the end of a head at once, byte by byte, and in two parts: at the same place.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let whole = Scan::default().scan(bytes, HEAD_MAX).ok().flatten();
    let mut scan = Scan::default();
    let mut found = None;
    for end in 0..=bytes.len().min(whole.unwrap_or(bytes.len()) + 1) {
        match scan.scan(&bytes[..end], HEAD_MAX) {
            Ok(None) => {}
            Ok(Some(length)) => {
                found = Some(length);
                break;
            }
            Err(_) => break,
        }
    }
    assert_eq!(found, whole);
    whole
}

fn parts(head: &[u8], fields: &[Field]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = |range: &std::ops::Range<usize>| head[range.clone()].to_vec();
    fields
        .iter()
        .map(|field| (part(&field.name), part(&field.value)))
        .collect()
}

fn clean(fields: &[(Vec<u8>, Vec<u8>)]) {
    assert!(fields.len() <= FIELDS_MAX);
    for (name, value) in fields {
        assert!(head::is_token(name), "{name:?}");
        assert!(
            !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)),
            "{value:?}"
        );
        assert_eq!(value.trim_ascii(), value);
    }
}

fn write(line: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = [line, b"\r\n"].concat();
    for (name, value) in fields {
        out.extend([name, &b": "[..], value, b"\r\n"].concat());
    }
    out.extend(b"\r\n");
    out
}

/// What an intent says, without places in a buffer.
fn told(head: &RequestHead, intent: &Intent) -> impl PartialEq + std::fmt::Debug + use<> {
    let part = |range: &std::ops::Range<usize>| head.bytes[range.clone()].to_vec();
    let target = match &intent.target {
        Target::Absolute(authority, path) => (authority.to_string(), part(path)),
        Target::Origin(path) => (String::new(), part(path)),
        Target::Tunnel(authority) => (authority.to_string(), Vec::new()),
        Target::OtherScheme { https } => (format!("other {https}"), Vec::new()),
        Target::Asterisk => ("*".to_owned(), Vec::new()),
    };
    let flags = [
        intent.keep_alive,
        intent.expects_continue,
        intent.websocket,
        intent.takes_trailers,
        intent.is_head,
        intent.repeatable,
    ];
    (
        target,
        intent.host.as_ref().map(part),
        intent.framing,
        flags,
    )
}

/// An accepted request states one length and one host, whatever else it holds.
fn unambiguous(head: &RequestHead, intent: &Intent) {
    let count = |id| head.fields.iter().filter(|field| field.id == id).count();
    let (lengths, encodings) = (
        count(FieldName::ContentLength),
        count(FieldName::TransferEncoding),
    );
    assert!(lengths + encodings <= 1);
    assert_eq!(encodings == 1, intent.framing == Framing::Chunked);
    assert_eq!(count(FieldName::Host), usize::from(intent.host.is_some()));
    assert!(intent.host.is_some() || head.is_1_0());
    assert!(!head.target().contains(&b'#'));
    if let Target::Absolute(authority, _) | Target::Tunnel(authority) = &intent.target {
        let text = authority.to_string();
        let again = palisade_policy::Authority::parse(text.as_bytes(), None);
        assert_eq!(again.as_ref(), Ok(authority), "{text}");
    }
}
