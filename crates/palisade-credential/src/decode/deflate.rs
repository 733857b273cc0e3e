//! `deflate`: zlib as the standard says, or bare deflate as some servers send it; and the engine gzip uses too.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Coding, Decode, DecodeError, Progress};

/// A deflate stream.
pub(super) struct Inflate(Decompress);

/// Where an [`Inflate`] stopped.
pub(super) enum Stop {
    /// All input is used up.
    Hungry,
    /// The limit is reached.
    Full,
    /// The stream ended.
    End,
}

/// How much is made room for at a time: what is not filled has been zeroed for nothing.
pub(super) const ROOM: usize = 8 * 1024;

impl Inflate {
    pub(super) fn new(zlib: bool) -> Self {
        Self(Decompress::new(zlib))
    }

    /// Inflates. None: the input is not valid.
    pub(super) fn run(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Option<Stop> {
        let full = out.len() + limit;
        loop {
            if out.len() >= full {
                return Some(Stop::Full);
            }
            let from = out.len();
            out.resize(full.min(from + ROOM), 0);
            let (read, wrote) = (self.0.total_in(), self.0.total_out());
            let result = self
                .0
                .decompress(input, &mut out[from..], FlushDecompress::None);
            let read = usize::try_from(self.0.total_in() - read).unwrap_or(usize::MAX);
            let wrote = usize::try_from(self.0.total_out() - wrote).unwrap_or(usize::MAX);
            out.truncate(from + wrote);
            *input = &input[read..];
            match result.ok()? {
                Status::StreamEnd => return Some(Stop::End),
                _ if read > 0 || wrote > 0 => {}
                _ if input.is_empty() => return Some(Stop::Hungry),
                _ => return None,
            }
        }
    }
}

/// The coding `deflate`.
pub(super) struct Deflate {
    state: State,
}

enum State {
    /// The first byte alone does not tell which of the two it is.
    Start(Option<u8>),
    Body(Inflate),
    End,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start(None),
        }
    }
}

impl Decode for Deflate {
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Progress, DecodeError> {
        let full = out.len() + limit;
        loop {
            match &mut self.state {
                State::Start(_) if out.len() >= full => return Ok(Progress::More),
                State::Start(kept) => {
                    let Some((&byte, rest)) = input.split_first() else {
                        return Ok(Progress::Hungry);
                    };
                    let Some(first) = *kept else {
                        *kept = Some(byte);
                        *input = rest;
                        continue;
                    };
                    let mut inflate = Inflate::new(is_zlib(first, byte));
                    let mut start: &[u8] = &[first];
                    if inflate.run(&mut start, out, full - out.len()).is_none() {
                        return Err(DecodeError::Invalid(Coding::Deflate));
                    }
                    self.state = State::Body(inflate);
                }
                State::Body(inflate) => match inflate.run(input, out, full - out.len()) {
                    Some(Stop::Full) => return Ok(Progress::More),
                    Some(Stop::Hungry) => return Ok(Progress::Hungry),
                    Some(Stop::End) => self.state = State::End,
                    None => return Err(DecodeError::Invalid(Coding::Deflate)),
                },
                State::End if input.is_empty() => return Ok(Progress::Hungry),
                State::End => return Err(DecodeError::Trailing(Coding::Deflate)),
            }
        }
    }

    fn finish(&self) -> Result<(), DecodeError> {
        match self.state {
            State::Start(None) | State::End => Ok(()),
            _ => Err(DecodeError::Truncated(Coding::Deflate)),
        }
    }
}

/// Whether these are the first two bytes of a zlib stream (RFC 1950, section 2.2): method 8, a window of at most
/// 32 KiB, and a sum that is a multiple of 31. A bare stream that looks the same would have to begin with a stored block
/// of one exact length; browsers decide in the same way.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}
