//! What the response to a request with a credential goes through: nothing of the secret may come back (C07).
//!
//! Nothing here knows how a response is framed, so that both versions of HTTP use it.

use std::fmt;
use std::sync::Arc;

use palisade_credential::{Coding, ContentDecoder, DecodeError, Progress, RedactStream, Redactor};

use crate::http::asked::is_grpc;
use crate::http::head::{self, Field, FieldName};
use crate::http::response::ResponseHead;

/// Fields that would no longer be true of a body that was decoded: digests of what was encoded.
const OF_THE_CODING: [&[u8]; 4] = [
    b"content-encoding",
    b"content-digest",
    b"content-md5",
    b"digest",
];
/// The same of an object store's own digests.
const OF_THE_CODING_PREFIX: &[u8] = b"x-amz-checksum-";

/// Why a response cannot be read, so that it cannot be passed on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its coding cannot be undone.
    Coding,
    /// It is a part of something, though `Range` was not sent: half a secret is not found (C08).
    Part,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coding => "the response has a coding that cannot be searched for secrets",
            Self::Part => "the response is a part, though all of it was asked for",
        })
    }
}

/// How the response to a request with a credential is passed on.
pub(crate) struct Treatment {
    pub(crate) body: BodyFilter,
    /// The body is sent on without its coding, so its length is not known beforehand.
    pub(crate) decoded: bool,
}

impl Treatment {
    /// Judges a final response.
    pub(crate) fn of(
        redactor: &Arc<Redactor>,
        head: &ResponseHead,
        has_body: bool,
    ) -> Result<Self, Unreadable> {
        let values = |name: &'static [u8]| {
            let named = move |field: &&Field| {
                field.id == FieldName::Other
                    && head.bytes[field.name.clone()].eq_ignore_ascii_case(name)
            };
            let fields = head.fields.iter().filter(named);
            fields.map(|field| &head.bytes[field.value.clone()])
        };
        let encodings = values(b"content-encoding");
        if !has_body {
            return Ok(Self::without_body(redactor, encodings));
        }
        let mut treatment = Self::new(redactor, head.status, encodings)?;
        if values(b"content-type").any(is_grpc) {
            treatment.body.messages = Some(Messages::default());
        }
        Ok(treatment)
    }

    /// Judges a final response with a body by its status and its `Content-Encoding` fields.
    fn new<'a>(
        redactor: &Arc<Redactor>,
        status: u16,
        encodings: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Unreadable> {
        // 226 is a delta (RFC 3229).
        if matches!(status, 206 | 226) {
            return Err(Unreadable::Part);
        }
        let mut codings = Vec::new();
        for value in encodings {
            codings.extend(Coding::parse(value).ok_or(Unreadable::Coding)?);
        }
        if codings.len() > Coding::MOST {
            return Err(Unreadable::Coding);
        }
        let decoded = !codings.is_empty();
        let decoder = decoded.then(|| ContentDecoder::new(&codings));
        Ok(Self {
            body: BodyFilter::new(redactor, decoder),
            decoded,
        })
    }

    /// The same of a response without a body: its fields describe one as it would have been sent.
    fn without_body<'a>(
        redactor: &Arc<Redactor>,
        mut encodings: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        Self {
            body: BodyFilter::plain(redactor),
            decoded: encodings.any(|value| !value.eq_ignore_ascii_case(b"identity")),
        }
    }

    /// Whether a field of the response is left out.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        // A client that reads this asks for parts, and would not get them.
        if name.eq_ignore_ascii_case(b"accept-ranges") {
            return true;
        }
        let prefix = OF_THE_CODING_PREFIX;
        self.decoded
            && (OF_THE_CODING
                .iter()
                .any(|field| name.eq_ignore_ascii_case(field))
                || name
                    .get(..prefix.len())
                    .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)))
    }
}

/// Decodes and redacts one body.
pub(crate) struct BodyFilter {
    decoder: Option<ContentDecoder>,
    redact: RedactStream,
    redactor: Arc<Redactor>,
    /// Decoded and not yet redacted.
    plain: Vec<u8>,
    /// There is more to come of what went in.
    more: bool,
    /// It is a stream of messages, each of which is to pass once it is complete.
    messages: Option<Messages>,
    found: u64,
}

impl BodyFilter {
    fn new(redactor: &Arc<Redactor>, decoder: Option<ContentDecoder>) -> Self {
        Self {
            decoder,
            redact: redactor.stream(),
            redactor: Arc::clone(redactor),
            plain: Vec::new(),
            more: false,
            messages: None,
            found: 0,
        }
    }

    /// For bytes that have no coding.
    pub(crate) fn plain(redactor: &Arc<Redactor>) -> Self {
        Self::new(redactor, None)
    }

    /// Takes from the front of `input` and appends what may pass to `out`: what went in, or one step of what it decodes
    /// to. While [`Self::has_more`] says so, call it again (with what is left, or nothing) before there is more input.
    pub(crate) fn push(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some(decoder) = &mut self.decoder else {
            let data = std::mem::take(input);
            self.redact_piece(data, out);
            return Ok(());
        };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let progress = decoder.push(input, &mut plain);
        self.redact_piece(&plain, out);
        self.plain = plain;
        self.more = progress? == Progress::More;
        Ok(())
    }

    /// More comes of what went in already.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// The body is over.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        self.release(out);
        Ok(())
    }

    /// Whether bytes are held back, as they may be the beginning of a secret.
    pub(crate) fn is_holding(&self) -> bool {
        self.redact.held() > 0
    }

    /// Lets go of what is held back: nothing that came later belongs to it.
    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        self.found += self.redact.finish(out) as u64;
        self.redact = self.redactor.stream();
    }

    /// Redacts what is complete: a header value, a trailer.
    pub(crate) fn whole(&mut self, bytes: &mut [u8]) {
        self.found += self.redactor.redact(bytes) as u64;
    }

    /// Secrets found since this was asked last.
    pub(crate) fn take_found(&mut self) -> u64 {
        std::mem::take(&mut self.found)
    }

    fn redact_piece(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while let Some((count, ends)) = self.messages.as_mut().and_then(|m| m.next(data)) {
            let (part, rest) = data.split_at(count);
            self.found += self.redact.push(part, out) as u64;
            if ends && self.is_holding() {
                self.release(out);
            }
            data = rest;
        }
        if !data.is_empty() {
            self.found += self.redact.push(data, out) as u64;
        }
    }
}

/// Where the messages of a gRPC stream end: one byte of flags, four of length, and the message. A message that waited for
/// the next one would stop a conversation, in which the next one is an answer.
#[derive(Default)]
struct Messages {
    head: [u8; 5],
    /// Bytes of the head so far.
    seen: usize,
    /// Bytes of the message to come.
    left: usize,
}

impl Messages {
    /// How many of these bytes belong together, and whether a message ends with them. None: there are no bytes.
    fn next(&mut self, data: &[u8]) -> Option<(usize, bool)> {
        if data.is_empty() {
            return None;
        }
        if self.seen < self.head.len() {
            let count = data.len().min(self.head.len() - self.seen);
            self.head[self.seen..self.seen + count].copy_from_slice(&data[..count]);
            self.seen += count;
            let [_, length @ ..] = self.head;
            let is_whole = self.seen == self.head.len();
            self.left = if is_whole {
                u32::from_be_bytes(length) as usize
            } else {
                0
            };
            return Some((count, self.end()));
        }
        let count = data.len().min(self.left);
        self.left -= count;
        Some((count, self.end()))
    }

    fn end(&mut self) -> bool {
        let ends = self.seen == self.head.len() && self.left == 0;
        if ends {
            self.seen = 0;
        }
        ends
    }
}

/// Codings that are undone as they come. zstd can be undone too, but not without a delay.
const WANTED: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"br", b"identity"];

/// The members of an `Accept-Encoding` list that can be undone here; `identity` where there is none.
pub(crate) fn readable_codings<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut kept: Vec<u8> = Vec::new();
    for member in values.flat_map(head::list) {
        let coding = member.split(|b| *b == b';').next().unwrap_or_default();
        let coding = coding.trim_ascii();
        if WANTED
            .iter()
            .any(|wanted| coding.eq_ignore_ascii_case(wanted))
        {
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(member);
        }
    }
    if kept.is_empty() {
        kept.extend_from_slice(b"identity");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c08_only_codings_that_can_be_undone_are_asked_for() {
        let of = |values: &[&str]| {
            let values = values.iter().map(|value| value.as_bytes());
            String::from_utf8(readable_codings(values)).unwrap()
        };
        assert_eq!(of(&["gzip, deflate, br, zstd"]), "gzip, deflate, br");
        assert_eq!(of(&["GZIP;q=0.5, *;q=0.1", "sdch, br"]), "GZIP;q=0.5, br");
        assert_eq!(of(&["zstd"]), "identity");
        assert_eq!(of(&["*"]), "identity");
        assert_eq!(of(&[""]), "identity");
    }

    #[test]
    fn a_grpc_message_passes_once_it_is_complete() {
        let secret = b"a-secret-of-some-length";
        let redactor = Arc::new(Redactor::new([&secret[..]]));
        let message = |text: &[u8]| {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            [&[0][..], &length, text].concat()
        };
        let sent = [
            message(b"x a-sec"),
            message(b""),
            message(secret),
            message(b"a"),
        ]
        .concat();
        let expected = [
            message(b"x a-sec"),
            message(b""),
            message(&[b'*'; 23]),
            message(b"a"),
        ];
        for step in 1..sent.len() {
            let mut filter = BodyFilter::plain(&redactor);
            filter.messages = Some(Messages::default());
            let mut out = Vec::new();
            for mut piece in sent.chunks(step) {
                filter.push(&mut piece, &mut out).unwrap();
            }
            assert!(!filter.is_holding(), "{step}");
            assert_eq!(out, expected.concat(), "{step}");
        }
        // Without borders the last byte would wait for the rest of a secret.
        let mut filter = BodyFilter::plain(&redactor);
        filter.push(&mut &sent[..], &mut Vec::new()).unwrap();
        assert!(filter.is_holding());
    }

    #[test]
    fn c08_what_cannot_be_searched_is_not_passed_on() {
        let redactor = Arc::new(Redactor::new([&b"a-secret-of-some-length"[..]]));
        let of = |status, values: &[&'static str]| {
            let values = values.iter().map(|value| value.as_bytes());
            Treatment::new(&redactor, status, values).map(|treatment| treatment.decoded)
        };
        assert_eq!(of(200, &[]), Ok(false));
        assert_eq!(of(200, &["identity"]), Ok(false));
        assert_eq!(of(200, &["gzip"]), Ok(true));
        assert_eq!(of(200, &["gzip", "br"]), Ok(true));
        assert_eq!(of(200, &["gzip, br", "gzip"]), Err(Unreadable::Coding));
        assert_eq!(of(200, &["compress"]), Err(Unreadable::Coding));
        assert_eq!(of(206, &[]), Err(Unreadable::Part));
        assert_eq!(of(226, &[]), Err(Unreadable::Part));
    }
}
