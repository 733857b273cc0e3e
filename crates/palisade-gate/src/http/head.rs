//! The lines of a message head: where it ends, and what its fields are (RFC 9112 sections 2 to 5).
//!
//! Stricter than the RFC where products were broken by leniency: no bare LF or CR, no folding, no white space before a
//! colon, no control byte in a value, no empty line before the start line.

use std::fmt;
use std::ops::Range;

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    TooLong,
    TooManyFields,
    BareLineFeed,
    ControlByte,
    StartLine,
    Version,
    FieldName,
    NoColon,
    Folded,
    HostCount,
    HostValue,
    Length,
    LengthAndEncoding,
    Encoding,
    Target,
    Fragment,
    Upgrade,
    ConnectBody,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the head is too long",
            Self::TooManyFields => "the head has too many fields",
            Self::BareLineFeed => "a line ends without carriage return",
            Self::ControlByte => "a field value has a control byte",
            Self::StartLine => "the first line is not HTTP",
            Self::Version => "the HTTP version is not 1.0 or 1.1",
            Self::FieldName => "a field name is not a token",
            Self::NoColon => "a field has no colon",
            Self::Folded => "a field is folded over lines",
            Self::HostCount => "there is not exactly one Host field",
            Self::HostValue => "the Host field is not a host",
            Self::Length => "Content-Length is not one plain number",
            Self::LengthAndEncoding => "there are both Content-Length and Transfer-Encoding",
            Self::Encoding => "Transfer-Encoding is not exactly `chunked`",
            Self::Target => "the request target is malformed",
            Self::Fragment => "the request target has a fragment",
            Self::Upgrade => "an upgrade request has a body",
            Self::ConnectBody => "a CONNECT request has a body",
        })
    }
}

/// Fields the gate itself acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    /// `TE`: what the sender can take beside the body.
    Te,
    /// Belongs to one connection (RFC 9110 section 7.6.1) or to a proxy, and ends here.
    HopByHop,
    /// Claims about where a request came from or should go, which only the operator's side could make (D38), a method
    /// other than the one that is judged, and names that only the gate may use.
    Claim,
    /// `Alt-Svc`: would send the client to a protocol that has no way out (D34).
    AltSvc,
    Other,
}

/// A field: ranges into the head's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) id: FieldName,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// Looks for the end of a head as bytes come in, without looking at any of them twice.
#[derive(Default)]
pub(crate) struct Scan {
    seen: usize,
    line: usize,
    lines: usize,
}

impl Scan {
    /// The length of the head, if all of it is there.
    pub(crate) fn scan(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end == 0 || bytes[end - 1] != b'\r' {
                return Err(HeadError::BareLineFeed);
            }
            if end >= limit {
                return Err(HeadError::TooLong);
            }
            let empty = end - 1 == self.line;
            self.seen = end + 1;
            self.line = end + 1;
            self.lines += 1;
            if empty && self.lines == 1 {
                return Err(HeadError::StartLine);
            }
            if empty {
                return Ok(Some(end + 1));
            }
        }
        self.seen = bytes.len();
        if bytes.len() >= limit {
            return Err(HeadError::TooLong);
        }
        Ok(None)
    }

    /// Whether the start line is complete.
    pub(crate) fn has_start_line(&self) -> bool {
        self.lines > 0
    }
}

/// Splits a complete head into its start line and fields.
pub(crate) fn fields(
    head: &[u8],
    max: usize,
    fields: &mut Vec<Field>,
) -> Result<Range<usize>, HeadError> {
    fields.clear();
    let start = line_end(head, 0);
    let mut at = start + 2;
    loop {
        let end = line_end(head, at);
        if end == at {
            return Ok(0..start);
        }
        if fields.len() == max {
            return Err(HeadError::TooManyFields);
        }
        fields.push(field(head, at..end)?);
        at = end + 2;
    }
}

/// Where the line that begins at `from` ends. `Scan` has seen that each line feed follows a carriage return.
fn line_end(head: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &head[from..]).map_or(head.len(), |at| from + at - 1)
}

/// One field line: a token, a colon, a value without its outer white space.
pub(crate) fn field(head: &[u8], line: Range<usize>) -> Result<Field, HeadError> {
    let bytes = &head[line.clone()];
    if matches!(bytes[0], b' ' | b'\t') {
        return Err(HeadError::Folded);
    }
    let colon = memchr::memchr(b':', bytes).ok_or(HeadError::NoColon)?;
    let name = &bytes[..colon];
    if !is_token(name) {
        return Err(HeadError::FieldName);
    }
    let value = &bytes[colon + 1..];
    if value
        .iter()
        .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
    {
        return Err(HeadError::ControlByte);
    }
    let front = value.len() - value.trim_ascii_start().len();
    let length = value.trim_ascii().len();
    let from = line.start + colon + 1 + front;
    Ok(Field {
        id: classify(name),
        name: line.start..line.start + colon,
        value: from..from + length,
    })
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| TOKEN[*b as usize])
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric();
        at += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

pub(crate) fn classify(name: &[u8]) -> FieldName {
    use FieldName::{
        AltSvc, Claim, Connection, ContentLength, Expect, HopByHop, Host, Other, Te,
        TransferEncoding, Upgrade,
    };
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let begins =
        |known: &[u8]| name.len() >= known.len() && name[..known.len()].eq_ignore_ascii_case(known);
    match name[0] | 0x20 {
        b'h' if is(b"host") => Host,
        b'h' if is(b"http2-settings") => HopByHop,
        b'c' if is(b"content-length") => ContentLength,
        b'c' if is(b"connection") => Connection,
        b't' if is(b"transfer-encoding") => TransferEncoding,
        b't' if is(b"te") => Te,
        b't' if is(b"trailer") => HopByHop,
        b'u' if is(b"upgrade") => Upgrade,
        b'e' if is(b"expect") => Expect,
        b'k' if is(b"keep-alive") => HopByHop,
        b'p' if begins(b"proxy-") => HopByHop,
        b'p' if begins(b"palisade-") => Claim,
        b'f' if is(b"forwarded") => Claim,
        b'x' if begins(b"x-forwarded-") || begins(b"x-envoy-") => Claim,
        b'x' if is(b"x-http-method") || is(b"x-http-method-override") => Claim,
        b'x' if is(b"x-method-override") => Claim,
        b'x' if is(b"x-original-url") || is(b"x-rewrite-url") || is(b"x-real-ip") => Claim,
        b'a' if is(b"alt-svc") => AltSvc,
        _ => Other,
    }
}

/// How long a body is (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    /// Responses only: the body ends with the connection.
    UntilEnd,
}

/// What `Content-Length` and `Transfer-Encoding` say, if they say one thing.
pub(crate) fn framing(head: &[u8], fields: &[Field]) -> Result<Option<Framing>, HeadError> {
    let mut length = None;
    let mut chunked = false;
    for field in fields {
        let value = &head[field.value.clone()];
        match field.id {
            FieldName::ContentLength => {
                if length.is_some() || !plainly_spaced(head, field) {
                    return Err(HeadError::Length);
                }
                length = Some(plain_number(value).ok_or(HeadError::Length)?);
            }
            FieldName::TransferEncoding => {
                let known = value.eq_ignore_ascii_case(b"chunked");
                if chunked || !known || !plainly_spaced(head, field) {
                    return Err(HeadError::Encoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(HeadError::LengthAndEncoding),
        (Some(length), false) => Ok(Some(Framing::Length(length))),
        (None, true) => Ok(Some(Framing::Chunked)),
        (None, false) => Ok(None),
    }
}

/// No tab before the value and nothing after it: white space by the RFC, but parsers were seen to disagree about it.
fn plainly_spaced(head: &[u8], field: &Field) -> bool {
    let before = &head[field.name.end..field.value.start];
    !before.contains(&b'\t') && head.get(field.value.end) == Some(&b'\r')
}

/// Digits and nothing else, below 2^63 (signed readers further on).
fn plain_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    i64::try_from(number).ok().map(|_| number)
}

/// The elements of a comma list.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(head: &[u8]) -> Result<Vec<Field>, HeadError> {
        let mut scan = Scan::default();
        let end = scan.scan(head, 1024)?.ok_or(HeadError::TooLong)?;
        let mut found = Vec::new();
        fields(&head[..end], 8, &mut found)?;
        Ok(found)
    }

    #[test]
    fn f10_f11_lines_are_strict() {
        let with = |line: &str| parse(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n").as_bytes());
        assert!(with("a: b").is_ok());
        assert!(with("a:").is_ok());
        assert!(with("a: \u{fc}").is_ok(), "obs-text");
        assert_eq!(with(" a: b").unwrap_err(), HeadError::Folded);
        assert_eq!(with("a: b\r\n c").unwrap_err(), HeadError::Folded);
        assert_eq!(with("a : b").unwrap_err(), HeadError::FieldName);
        assert_eq!(with(": b").unwrap_err(), HeadError::FieldName);
        assert_eq!(with("a").unwrap_err(), HeadError::NoColon);
        assert_eq!(with("a(: b").unwrap_err(), HeadError::FieldName);
        assert_eq!(with("a: b\nc: d").unwrap_err(), HeadError::BareLineFeed);
        assert_eq!(with("a: b\rc: d").unwrap_err(), HeadError::ControlByte);
        assert_eq!(with("a: b\0").unwrap_err(), HeadError::ControlByte);
        assert_eq!(with("a: b\x7f").unwrap_err(), HeadError::ControlByte);
        let lines: Vec<String> = (0..9).map(|n| format!("a{n}: b")).collect();
        assert_eq!(
            with(&lines.join("\r\n")).unwrap_err(),
            HeadError::TooManyFields
        );
        assert!(with(&lines[..8].join("\r\n")).is_ok());
    }

    #[test]
    fn f01_f02_f05_framing_is_one_plain_statement() {
        let of = |lines: &str| {
            let head = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
            let found = parse(head.as_bytes())?;
            framing(head.as_bytes(), &found)
        };
        assert_eq!(of("content-length: 5"), Ok(Some(Framing::Length(5))));
        assert_eq!(of("Transfer-Encoding: Chunked"), Ok(Some(Framing::Chunked)));
        assert_eq!(of("a: b"), Ok(None));
        for bad in [
            "+5",
            "-1",
            "0x5",
            "5, 5",
            "5 5",
            "",
            "9223372036854775808",
            "\u{b2}",
        ] {
            assert_eq!(
                of(&format!("content-length: {bad}")),
                Err(HeadError::Length),
                "{bad}"
            );
        }
        assert_eq!(
            of("content-length: 5\r\ncontent-length: 5"),
            Err(HeadError::Length)
        );
        for bad in [
            "xchunked",
            "chunked, identity",
            "gzip, chunked",
            "\tchunked",
            "chunked\t",
            "identity",
            "",
        ] {
            let line = format!("transfer-encoding: {bad}");
            assert_eq!(of(&line), Err(HeadError::Encoding), "{bad:?}");
        }
        assert!(of("transfer-encoding: \x0bchunked").is_err());
        let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked";
        assert_eq!(of(twice), Err(HeadError::Encoding));
        let both = "content-length: 5\r\ntransfer-encoding: chunked";
        assert_eq!(of(both), Err(HeadError::LengthAndEncoding));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let mut line = b"GET / HTTP/1.1\r\n".to_vec();
            line.extend(&bytes);
            line.extend(b"\r\n\r\n");
            let _ = parse(&line);
        }

        /// However a head is cut into reads, its end is found at the same place.
        #[test]
        fn f14_the_end_does_not_depend_on_the_cuts(
            cuts in proptest::collection::vec(1usize..9, 0..40),
            tail in "[a-z\r\n]{0,20}",
        ) {
            let head = format!("GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n{tail}");
            let whole = Scan::default().scan(head.as_bytes(), 1024);
            let mut scan = Scan::default();
            let mut seen = 0;
            let mut found = Ok(None);
            for cut in cuts.into_iter().chain([head.len()]) {
                seen = (seen + cut).min(head.len());
                found = scan.scan(&head.as_bytes()[..seen], 1024);
                if found != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(found, whole);
        }

        /// What is accepted, written out again, is read as the same.
        #[test]
        fn accepted_fields_round_trip(lines in proptest::collection::vec("[ -~\t]{1,20}", 0..6)) {
            let head = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            let head = head.as_bytes();
            if let Ok(found) = parse(head) {
                let mut again = b"GET / HTTP/1.1\r\n".to_vec();
                for field in &found {
                    again.extend(&head[field.name.clone()]);
                    again.extend(b": ");
                    again.extend(&head[field.value.clone()]);
                    again.extend(b"\r\n");
                }
                again.extend(b"\r\n");
                let second = parse(&again).unwrap();
                prop_assert_eq!(found.len(), second.len());
                for (a, b) in found.iter().zip(&second) {
                    prop_assert_eq!(&head[a.name.clone()], &again[b.name.clone()]);
                    prop_assert_eq!(&head[a.value.clone()], &again[b.value.clone()]);
                }
            }
        }
    }
}
