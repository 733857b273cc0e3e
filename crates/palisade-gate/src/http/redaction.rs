//! What the response to a request with a credential goes through: nothing of the secret may come back (C07).
//!
//! Nothing here knows how a response is framed, so that both versions of HTTP use it.

use std::fmt;
use std::sync::Arc;

use palisade_credential::{
    Coding, ContentDecoder, DecodeError, Progress, RedactStream, Redactor,
};

use crate::http::head;

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
    /// Judges a final response by its status and its `Content-Encoding` fields.
    pub(crate) fn new<'a>(
        redactor: &Arc<Redactor>,
        status: u16,
        encodings: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Unreadable> {
        if status == 206 {
            return Err(Unreadable::Part);
        }
        let mut codings = Vec::new();
        for value in encodings {
            codings.extend(Coding::parse(value).ok_or(Unreadable::Coding)?);
        }
        codings.retain(|coding| *coding != Coding::Identity);
        if codings.len() > CODINGS_MAX {
            return Err(Unreadable::Coding);
        }
        let decoded = !codings.is_empty();
        let decoder = decoded.then(|| ContentDecoder::new(&codings));
        Ok(Self {
            body: BodyFilter::new(redactor, decoder),
            decoded,
        })
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

/// Codings of one response, over all its fields. Real ones have one.
const CODINGS_MAX: usize = 3;

/// Decodes and redacts one body.
pub(crate) struct BodyFilter {
    decoder: Option<ContentDecoder>,
    redact: RedactStream,
    redactor: Arc<Redactor>,
    /// Decoded and not yet redacted.
    plain: Vec<u8>,
    /// Bytes that went in, decoded, and have not come out: the beginning of a secret, perhaps.
    held: usize,
    /// There is more to come of what went in.
    more: bool,
    found: u64,
}

impl BodyFilter {
    fn new(redactor: &Arc<Redactor>, decoder: Option<ContentDecoder>) -> Self {
        Self {
            decoder,
            redact: redactor.stream(),
            redactor: Arc::clone(redactor),
            plain: Vec::new(),
            held: 0,
            more: false,
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
        self.held > 0
    }

    /// Lets go of what is held back: nothing that came later belongs to it.
    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        self.found += self.redact.finish(out) as u64;
        self.redact = self.redactor.stream();
        self.held = 0;
    }

    /// Redacts what is complete: a header value, a trailer.
    pub(crate) fn whole(&mut self, bytes: &mut [u8]) {
        self.found += self.redactor.redact(bytes) as u64;
    }

    /// Secrets found since this was asked last.
    pub(crate) fn take_found(&mut self) -> u64 {
        std::mem::take(&mut self.found)
    }

    fn redact_piece(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        self.found += self.redact.push(data, out) as u64;
        // Redaction keeps lengths, so what is missing is what is held.
        self.held = (self.held + data.len()).saturating_sub(out.len() - before);
    }
}

/// The members of an `Accept-Encoding` list that can be undone here; `identity` where there is none.
pub(crate) fn readable_codings<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut kept: Vec<u8> = Vec::new();
    for member in values.flat_map(head::list) {
        let coding = member.split(|b| *b == b';').next().unwrap_or_default();
        let coding = coding.trim_ascii();
        if coding != b"*" && Coding::parse(coding).is_some() {
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
