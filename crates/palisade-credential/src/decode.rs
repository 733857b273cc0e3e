//! Undoing content codings, so that a response can be redacted.
//!
//! A [`ContentDecoder`] takes a body as it arrives and gives out at once what it decodes to, so an event stream that is
//! compressed still arrives event by event. A bomb is taken apart in steps of [`ContentDecoder::STEP`] bytes: the
//! caller sends one on before it asks for the next, so memory is bounded by the window of the coding:
//!
//! | coding | window | what it costs at most |
//! |---|---|---|
//! | gzip, deflate | 32 KiB (the format's) | 64 KiB |
//! | br | 16 MiB (the format's, without its "large window" extension) | 17 MiB |
//! | zstd | 8 MiB (what RFC 8878 asks of every decoder, and RFC 9659 allows in HTTP) | 17 MiB |
//!
//! zstd is decoded, but not asked for ([`Coding::ACCEPT`]): the library gives out a window's worth of text only when
//! the frame ends, which would delay events.

mod brotli;
mod deflate;
mod gzip;
mod zstd;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// None at all.
    Identity,
    /// gzip (RFC 1952), several members included.
    Gzip,
    /// deflate: zlib (RFC 1950), and bare deflate (RFC 1951) as some servers send it.
    Deflate,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878), several and skippable frames included.
    Zstd,
}

impl Coding {
    /// What the gate asks for in `Accept-Encoding` when it has to read the response.
    pub const ACCEPT: &str = "gzip, deflate, br";

    /// Most codings on top of one another. Two are met where a server compresses a stored `.gz` again.
    pub const MOST: usize = 2;

    /// The codings of a `Content-Encoding` value in the order they were applied, without `identity`. Several
    /// fields are joined with a comma before. None: one that cannot be undone, or more than [`Coding::MOST`].
    pub fn parse(value: &[u8]) -> Option<Vec<Self>> {
        let mut codings = Vec::new();
        for name in value.split(|&byte| byte == b',') {
            match Self::named(name.trim_ascii())? {
                Self::Identity => {}
                coding => codings.push(coding),
            }
        }
        (codings.len() <= Self::MOST).then_some(codings)
    }

    fn named(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Self::Identity,
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            b"br" => Self::Brotli,
            b"zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// The name as `Content-Encoding` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Whether [`ContentDecoder::push`] has to be called again before there is more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All input was taken and all that it decodes to has been given out.
    Hungry,
    /// There may be more to come of what was pushed: send `out` on, then push again with the rest of the input.
    More,
}

/// Undoes the codings of one body, piece by piece.
///
/// ```
/// # use palisade_credential::{Coding, ContentDecoder, Progress};
/// # fn send(_: &mut Vec<u8>) {}
/// # fn body(chunks: &[&[u8]]) -> Result<(), palisade_credential::DecodeError> {
/// let mut decoder = ContentDecoder::new(&[Coding::Gzip]);
/// let mut out = Vec::new();
/// for mut chunk in chunks.iter().copied() {
///     loop {
///         let progress = decoder.push(&mut chunk, &mut out)?;
///         send(&mut out); // redact, send, wait until it is taken, clear
///         if progress == Progress::Hungry {
///             break;
///         }
///     }
/// }
/// decoder.finish()
/// # }
/// # body(&[]).unwrap();
/// ```
pub struct ContentDecoder {
    /// In the order they are undone: the last applied first.
    layers: Vec<Layer>,
}

/// One coding, and what the layer before it decoded that it has not taken yet.
struct Layer {
    decoder: Box<dyn Decode>,
    waiting: Vec<u8>,
    taken: usize,
}

/// The undoing of one coding.
trait Decode: Send {
    /// Decodes from the front of `input`, moves it past what was taken, appends at most `limit` bytes to `out`.
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Progress, DecodeError>;

    /// Whether a body may end here.
    fn finish(&self) -> Result<(), DecodeError>;
}

/// Why a body cannot be decoded. It holds nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not what its coding says.
    #[error("the upstream body is not valid {}", .0.as_str())]
    Invalid(Coding),
    /// Its checksum is another one.
    #[error("the checksum of the upstream {} body does not match", .0.as_str())]
    Checksum(Coding),
    /// It ends too early.
    #[error("the upstream {} body ends too early", .0.as_str())]
    Truncated(Coding),
    /// Something follows its end.
    #[error("something follows the end of the upstream {} body", .0.as_str())]
    Trailing(Coding),
    /// It asks for more memory than it may.
    #[error("the upstream {} body needs a larger window than is allowed", .0.as_str())]
    Window(Coding),
    /// It needs a dictionary that only the two ends have.
    #[error("the upstream {} body needs a dictionary", .0.as_str())]
    Dictionary(Coding),
}

impl ContentDecoder {
    /// Most bytes one call of [`ContentDecoder::push`] appends. A pipe's worth: large enough that calls do not
    /// count, small enough that a thousand bodies at once do not either.
    pub const STEP: usize = 64 * 1024;

    /// A decoder of these codings, in the order they were applied.
    pub fn new(codings: &[Coding]) -> Self {
        let layers = codings
            .iter()
            .rev()
            .filter_map(|coding| decoder_of(*coding))
            .map(|decoder| Layer {
                decoder,
                waiting: Vec::new(),
                taken: 0,
            })
            .collect();
        Self { layers }
    }

    /// Decodes from the front of `input`, moves it past what was taken, and appends at most [`ContentDecoder::STEP`]
    /// bytes to `out`. With [`Progress::More`] some of the input may be left.
    ///
    /// # Errors
    /// The body is not what its coding says, goes on behind its end, or asks for more memory than it may. Whatever
    /// was appended before is good; nothing more will come.
    pub fn push(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Progress, DecodeError> {
        run(&mut self.layers, input, out, Self::STEP)
    }

    /// The body ended. A body without a single byte is taken for an empty one.
    ///
    /// # Errors
    /// It ended too early.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        self.layers
            .iter()
            .try_for_each(|layer| layer.decoder.finish())
    }
}

/// Lets the last layer take from the ones before it, as much as fits.
fn run(
    layers: &mut [Layer],
    input: &mut &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<Progress, DecodeError> {
    let Some((last, before)) = layers.split_last_mut() else {
        let (now, later) = input.split_at(input.len().min(limit));
        out.extend_from_slice(now);
        *input = later;
        return Ok(match later {
            [] => Progress::Hungry,
            _ => Progress::More,
        });
    };
    if before.is_empty() {
        return last.decoder.decode(input, out, limit);
    }
    let full = out.len() + limit;
    loop {
        let mut waiting = &last.waiting[last.taken..];
        let progress = last.decoder.decode(&mut waiting, out, full - out.len())?;
        if progress == Progress::More {
            last.taken = last.waiting.len() - waiting.len();
            return Ok(Progress::More);
        }
        last.waiting.clear();
        last.taken = 0;
        let progress = run(before, input, &mut last.waiting, ContentDecoder::STEP)?;
        if last.waiting.is_empty() && progress == Progress::Hungry {
            return Ok(Progress::Hungry);
        }
    }
}

fn decoder_of(coding: Coding) -> Option<Box<dyn Decode>> {
    Some(match coding {
        Coding::Identity => return None,
        Coding::Gzip => Box::new(gzip::Gzip::new()),
        Coding::Deflate => Box::new(deflate::Deflate::new()),
        Coding::Brotli => Box::new(brotli::Brotli::new()),
        Coding::Zstd => Box::new(zstd::Zstd::new()),
    })
}

#[cfg(test)]
mod tests;
