//! A response head, and how its body is framed.

use std::ops::Range;

use crate::http::head::{self, Field, FieldName, Framing, HeadError};

/// A response head: its bytes, and where its parts stand in them.
#[derive(Default)]
pub(crate) struct ResponseHead {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    pub(crate) status: u16,
    reason: Range<usize>,
    minor: u8,
}

impl ResponseHead {
    /// Parses a complete head.
    pub(crate) fn parse(&mut self, bytes: &[u8], max_fields: usize) -> Result<(), HeadError> {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        let line = head::fields(&self.bytes, max_fields, &mut self.fields)?;
        let status = status_line(&self.bytes[line])?;
        self.status = status.code;
        self.reason = status.reason;
        self.minor = status.minor;
        Ok(())
    }

    pub(crate) fn reason(&self) -> &[u8] {
        &self.bytes[self.reason.clone()]
    }

    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// How the body is framed; `to_head` if it answers a HEAD request.
    pub(crate) fn framing(&self, to_head: bool) -> Result<Framing, HeadError> {
        let stated = head::framing(&self.bytes, &self.fields)?;
        if self.minor == 0 && stated == Some(Framing::Chunked) {
            return Err(HeadError::Encoding);
        }
        if to_head || self.is_interim() || matches!(self.status, 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(stated.unwrap_or(Framing::UntilEnd))
    }

    /// The length that is stated, of a body that may not be sent.
    pub(crate) fn described_length(&self) -> Result<Option<u64>, HeadError> {
        let may_describe = self.status != 204 && !self.is_interim();
        Ok(match head::framing(&self.bytes, &self.fields)? {
            Some(Framing::Length(length)) if may_describe => Some(length),
            _ => None,
        })
    }

    /// Whether the upstream connection can carry another request.
    pub(crate) fn keeps_alive(&self) -> bool {
        let close = self
            .options()
            .any(|option| option.eq_ignore_ascii_case(b"close"));
        self.minor == 1 && !close
    }

    /// Whether it switches to WebSocket.
    pub(crate) fn is_websocket(&self) -> bool {
        let mut upgrades = self.fields.iter().filter(|f| f.id == FieldName::Upgrade);
        let websocket = upgrades.next().is_some_and(|field| {
            self.bytes[field.value.clone()].eq_ignore_ascii_case(b"websocket")
        });
        self.status == 101 && websocket && upgrades.next().is_none()
    }

    fn options(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.fields.iter().filter(|f| f.id == FieldName::Connection);
        fields.flat_map(|field| head::list(&self.bytes[field.value.clone()]))
    }
}

struct StatusLine {
    code: u16,
    reason: Range<usize>,
    minor: u8,
}

/// `HTTP/1.x SP code [SP reason]` (RFC 9112 section 4; some servers leave out the last space).
fn status_line(line: &[u8]) -> Result<StatusLine, HeadError> {
    let rest = line.strip_prefix(b"HTTP/").ok_or(HeadError::StartLine)?;
    let minor = match rest.get(..4) {
        Some(b"1.1 ") => 1,
        Some(b"1.0 ") => 0,
        _ => return Err(HeadError::Version),
    };
    let code = rest.get(4..7).ok_or(HeadError::StartLine)?;
    let good = code.iter().all(u8::is_ascii_digit) && (b'1'..=b'9').contains(&code[0]);
    let reason = match line.get(12) {
        None => line.len()..line.len(),
        Some(b' ') => 13..line.len(),
        Some(_) => return Err(HeadError::StartLine),
    };
    let text = &line[reason.clone()];
    if !good
        || text
            .iter()
            .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
    {
        return Err(HeadError::StartLine);
    }
    let digit = |at: usize| u16::from(code[at] - b'0');
    Ok(StatusLine {
        code: digit(0) * 100 + digit(1) * 10 + digit(2),
        reason,
        minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<ResponseHead, HeadError> {
        let mut head = ResponseHead::default();
        head.parse(format!("{text}\r\n\r\n").as_bytes(), 10)?;
        Ok(head)
    }

    #[test]
    fn status_lines() {
        let head = parse("HTTP/1.1 404 Not Found").unwrap();
        assert_eq!((head.status, head.reason()), (404, &b"Not Found"[..]));
        assert_eq!(parse("HTTP/1.0 200").unwrap().status, 200);
        for bad in [
            "HTTP/1.1 20 x",
            "HTTP/1.1 2000",
            "HTTP/1.1 099 x",
            "HTTP/2 200 x",
            "HTTP/1.1  200",
            "ICY 200 OK",
            "HTTP/1.1 200 a\rb",
            "HTTP/1.1 2a0 x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn f22_framing_of_responses() {
        let of = |text: &str, to_head| parse(text).and_then(|head| head.framing(to_head));
        let sized = "HTTP/1.1 200 OK\r\ncontent-length: 5";
        assert_eq!(of(sized, false), Ok(Framing::Length(5)));
        assert_eq!(of(sized, true), Ok(Framing::None));
        assert_eq!(
            of("HTTP/1.1 304 x\r\ncontent-length: 5", false),
            Ok(Framing::None)
        );
        assert_eq!(of("HTTP/1.1 200 OK", false), Ok(Framing::UntilEnd));
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked";
        assert_eq!(of(both, false), Err(HeadError::LengthAndEncoding));
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked";
        assert_eq!(of(old, false), Err(HeadError::Encoding));
    }

    proptest! {
        #[test]
        fn any_status_line_gives_an_answer(line in "(HTTP/1\\.[01] )?[ -~\t\r]{0,20}") {
            let _ = parse(&line);
        }
    }
}
