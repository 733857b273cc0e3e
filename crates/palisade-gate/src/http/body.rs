//! Where a body ends: plain, chunked (RFC 9112 section 7.1), or with its connection.
//!
//! The decoder says which of the bytes at hand are the body's; framing bytes and chunk extensions are dropped (F07),
//! since whoever sends the body on frames it anew. Trailers are dropped too (F08), unless the caller keeps some.

use std::fmt;

use crate::http::head::{self, Framing};

/// Bytes of one chunk-size line, its extension included. Real extensions are signatures below 120 bytes.
const SIZE_LINE_MAX: usize = 512;
/// Bytes of all trailers together. gRPC has a status and a message in them.
const TRAILERS_MAX: usize = 8 * 1024;

/// What to do with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This many bytes are the body's.
    Data(usize),
    /// This many bytes are framing.
    Skip(usize),
    /// This many bytes are one line of trailers, its end included.
    Trailer(usize),
    /// More bytes are needed.
    More,
    /// The body is over.
    Done,
}

/// Why bytes are not a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
    Truncated,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkSize => "a chunk size is malformed",
            Self::ChunkExtension => "a chunk extension is malformed or too long",
            Self::ChunkEnd => "a chunk does not end where it should",
            Self::Trailer => "a trailer is malformed or too long",
            Self::Truncated => "the connection ended within a body",
        })
    }
}

/// Finds the end of one body.
#[derive(Debug)]
pub(crate) struct Decoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    UntilEnd,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    /// Bytes of trailers so far.
    Trailers(usize),
    Done,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::UntilEnd,
        })
    }

    /// Judges the bytes at hand. The caller takes as many as the answer says before it asks again.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        if bytes.is_empty() && !matches!(self.0, State::Done) {
            return Ok(Step::More);
        }
        match &mut self.0 {
            State::Done => Ok(Step::Done),
            State::UntilEnd => Ok(Step::Data(bytes.len())),
            State::Length(left) | State::ChunkData(left) => {
                let count =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                Ok(Step::Data(count))
            }
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkEnd if bytes.starts_with(b"\r\n") => {
                self.0 = State::ChunkSize;
                Ok(Step::Skip(2))
            }
            State::ChunkEnd if bytes == b"\r" => Ok(Step::More),
            State::ChunkEnd => Err(BodyError::ChunkEnd),
            State::Trailers(seen) => {
                let Some(line) = line(bytes, TRAILERS_MAX - *seen, BodyError::Trailer)? else {
                    return Ok(Step::More);
                };
                *seen += line.len() + 2;
                if line.is_empty() {
                    self.0 = State::Done;
                    return Ok(Step::Skip(2));
                }
                match head::field(line, 0..line.len()) {
                    Ok(_) => Ok(Step::Trailer(line.len() + 2)),
                    Err(_) => Err(BodyError::Trailer),
                }
            }
        }
    }

    /// Data of the last [`Step::Data`] was taken. It may be less than offered.
    pub(crate) fn took(&mut self, count: usize) {
        match &mut self.0 {
            State::Length(left) | State::ChunkData(left) => {
                *left -= count as u64;
                if *left == 0 {
                    let chunked = matches!(self.0, State::ChunkData(_));
                    self.0 = if chunked {
                        State::ChunkEnd
                    } else {
                        State::Done
                    };
                }
            }
            _ => {}
        }
    }

    /// The connection has ended and all bytes are used.
    pub(crate) fn end(&mut self) -> Result<(), BodyError> {
        match self.0 {
            State::Done => Ok(()),
            State::UntilEnd => {
                self.0 = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let Some(line) = line(bytes, SIZE_LINE_MAX, BodyError::ChunkExtension)? else {
            // Say so at once where no size can come of it, instead of waiting for the rest of the line.
            let digit = bytes[0].is_ascii_hexdigit();
            return if digit {
                Ok(Step::More)
            } else {
                Err(BodyError::ChunkSize)
            };
        };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        // 15 digits stay below 2^60, so that no reader of any width of sign overflows.
        if digits == 0 || digits > 15 {
            return Err(BodyError::ChunkSize);
        }
        let extension = &line[digits..];
        match extension.first() {
            None | Some(b';') => {}
            Some(_) => return Err(BodyError::ChunkSize),
        }
        if extension
            .iter()
            .any(|b| !(b.is_ascii_graphic() || *b == b' '))
        {
            return Err(BodyError::ChunkExtension);
        }
        let value = |b: &u8| u64::from(char::from(*b).to_digit(16).unwrap_or(0));
        let size = line[..digits].iter().fold(0, |sum, b| sum * 16 + value(b));
        self.0 = if size == 0 {
            State::Trailers(0)
        } else {
            State::ChunkData(size)
        };
        Ok(Step::Skip(line.len() + 2))
    }
}

/// The line at the front without its CRLF, if all of it is there.
fn line(bytes: &[u8], max: usize, too_long: BodyError) -> Result<Option<&[u8]>, BodyError> {
    let within = &bytes[..bytes.len().min(max)];
    match memchr::memchr(b'\n', within) {
        Some(at) if at > 0 && bytes[at - 1] == b'\r' => Ok(Some(&bytes[..at - 1])),
        Some(_) => Err(too_long),
        None if bytes.len() >= max => Err(too_long),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `bytes`, given in pieces of these sizes; what is left over comes back as well.
    fn decode(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize), BodyError> {
        let mut decoder = Decoder::new(Framing::Chunked);
        let (mut body, mut used, mut seen) = (Vec::new(), 0, 0);
        let mut cuts = cuts.iter().chain([&usize::MAX]);
        loop {
            match decoder.step(&bytes[used..seen])? {
                Step::Data(count) => {
                    body.extend(&bytes[used..used + count]);
                    decoder.took(count);
                    used += count;
                }
                Step::Skip(count) | Step::Trailer(count) => used += count,
                Step::Done => return Ok((body, used)),
                Step::More if seen == bytes.len() => {
                    decoder.end()?;
                    return Ok((body, used));
                }
                Step::More => {
                    let cut = cuts.next().copied().unwrap_or(usize::MAX);
                    seen = seen.saturating_add(cut).min(bytes.len());
                }
            }
        }
    }

    #[test]
    fn f07_chunks_are_strict() {
        let good = decode(
            b"5;a=\"b c\"\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\nnext",
            &[],
        );
        assert_eq!(good, Ok((b"hello0123456789".to_vec(), 39)));
        for (bad, error) in [
            (&b"0x5\r\nhello\r\n0\r\n\r\n"[..], BodyError::ChunkSize),
            (b"+5\r\nhello\r\n0\r\n\r\n", BodyError::ChunkSize),
            (b" 5\r\nhello\r\n0\r\n\r\n", BodyError::ChunkSize),
            (b"5 \r\nhello\r\n0\r\n\r\n", BodyError::ChunkSize),
            (b"\r\nhello\r\n0\r\n\r\n", BodyError::ChunkSize),
            (b"fffffffffffffffff\r\n", BodyError::ChunkSize),
            (b"10000000000000000\r\n", BodyError::ChunkSize),
            (b"5\nhello\r\n0\r\n\r\n", BodyError::ChunkExtension),
            (b"5;a\nb\r\nhello\r\n0\r\n\r\n", BodyError::ChunkExtension),
            (b"5;a\rb\r\nhello\r\n0\r\n\r\n", BodyError::ChunkExtension),
            (b"5\r\nhelloX\r\n0\r\n\r\n", BodyError::ChunkEnd),
            (b"5\r\nhello\n0\r\n\r\n", BodyError::ChunkEnd),
            (b"5\r\nhello\r\n", BodyError::Truncated),
            (b"5\r\nhel", BodyError::Truncated),
            (b"0\r\nno field\r\n\r\n", BodyError::Trailer),
        ] {
            assert_eq!(
                decode(bad, &[]),
                Err(error),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn f08_trailers_are_read_and_dropped() {
        let bytes = b"1\r\nx\r\n0\r\nAuthorization: y\r\nHost: z\r\n\r\nrest";
        assert_eq!(decode(bytes, &[]), Ok((b"x".to_vec(), bytes.len() - 4)));
        let mut flood = b"0\r\n".to_vec();
        (0..1000).for_each(|_| flood.extend(b"aaaaaaaa: b\r\n"));
        assert_eq!(decode(&flood, &[]), Err(BodyError::Trailer));
    }

    #[test]
    fn f26_extensions_are_bounded() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(SIZE_LINE_MAX));
        assert_eq!(decode(long.as_bytes(), &[]), Err(BodyError::ChunkExtension));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &[]);
        }

        #[test]
        fn chunks_round_trip_whatever_the_cuts(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in proptest::collection::vec(1usize..7, 0..60),
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            let length = bytes.len();
            bytes.extend(b"next");
            prop_assert_eq!(decode(&bytes, &cuts), Ok((parts.concat(), length)));
        }
    }
}
