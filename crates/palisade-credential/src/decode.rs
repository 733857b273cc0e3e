//! Undoing content codings, so that a response can be redacted.

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// None at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// deflate: zlib (RFC 1950), and bare deflate (RFC 1951) as some servers send it.
    Deflate,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Coding {
    /// What the gate asks for in `Accept-Encoding` when it has to read the response.
    pub const ACCEPT: &str = "gzip, deflate, br";

    /// The codings of a `Content-Encoding` value in the order they were applied. None: one that cannot be undone,
    /// or too many.
    pub fn parse(value: &[u8]) -> Option<Vec<Self>> {
        let _ = value;
        None
    }
}

/// Whether [`ContentDecoder::push`] has to be called again before there is more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input was taken and all that it decodes to has been given out.
    Hungry,
    /// There is more to come of what was pushed: send `out` on, then push again with the rest of the input.
    More,
}

/// Undoes the codings of one body, piece by piece.
///
/// ```text
/// let mut input = chunk;
/// loop {
///     let progress = decoder.push(&mut input, &mut out)?;
///     // … redact and send `out`, and wait until it is taken …
///     if progress == Progress::Hungry { break }
/// }
/// ```
pub struct ContentDecoder {}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not what its coding says.
    #[error("the body is not valid")]
    Invalid,
}

impl ContentDecoder {
    /// Most bytes one call of [`ContentDecoder::push`] appends: a bomb is taken apart in steps.
    pub const STEP: usize = 64 * 1024;

    /// A decoder of these codings, in the order they were applied.
    pub fn new(codings: &[Coding]) -> Self {
        let _ = codings;
        Self {}
    }

    /// Decodes from the front of `input`, moves it past what was taken, and appends at most [`ContentDecoder::STEP`]
    /// bytes to `out`.
    ///
    /// # Errors
    /// The body is not what its coding says, or asks for more memory than it may.
    pub fn push(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Progress, DecodeError> {
        out.extend_from_slice(input);
        *input = &[];
        Ok(Progress::Hungry)
    }

    /// The body ended.
    ///
    /// # Errors
    /// It ended too early.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        Ok(())
    }
}
