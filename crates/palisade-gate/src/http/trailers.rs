//! Trailers: fields after the body. Only those that say something about the body itself pass (F08).

use crate::http::head::{self, FieldName};

/// Fields that decide, route, authenticate or describe what came before them: read from a trailer by one side and not
/// by the other they would mean two different messages (RFC 9110 section 6.5.1).
const NEVER: [&[u8]; 26] = [
    b"age",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"clear-site-data",
    b"content-encoding",
    b"content-location",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"pragma",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"strict-transport-security",
    b"vary",
    b"www-authenticate",
];

/// Whether a trailer of this name may pass.
pub(crate) fn passes(name: &[u8]) -> bool {
    head::is_token(name)
        && head::classify(name) == FieldName::Other
        && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
}

/// Trailers of one body that are to be sent on, as lines.
#[derive(Default)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    /// Keeps a well-formed line, given without its end, if it may pass. `redact` sees its value first.
    pub(crate) fn line(&mut self, line: &[u8], redact: impl FnOnce(&mut [u8])) {
        let Ok(field) = head::field(line, 0..line.len()) else {
            return;
        };
        let name = &line[field.name];
        if !passes(name) {
            return;
        }
        let mut value = line[field.value].to_vec();
        redact(&mut value);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(&value);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn lines(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f08_only_harmless_trailers_pass() {
        let mut kept = Kept::default();
        for line in [
            "grpc-status: 0",
            "X-Checksum:  ab ",
            "Authorization: stolen",
            "Host: evil.example",
            "content-length: 5",
            "Transfer-Encoding: chunked",
            "proxy-authorization: x",
            "palisade-denied: no",
            "Set-Cookie: a=b",
            "connection: close",
            "te: x",
        ] {
            kept.line(line.as_bytes(), |_| {});
        }
        assert_eq!(kept.lines(), b"grpc-status: 0\r\nX-Checksum: ab\r\n");
    }

    #[test]
    fn values_are_seen_before_they_pass() {
        let mut kept = Kept::default();
        kept.line(b"a: secret", |value| value.fill(b'*'));
        assert_eq!(kept.lines(), b"a: ******\r\n");
    }
}
