//! `gzip`: members with a head, a deflate stream and a trailer, one after the other.

use flate2::Crc;

use super::deflate::{Inflate, Stop};
use super::{Coding, Decode, DecodeError, Progress};

/// The coding `gzip`.
pub(super) struct Gzip {
    state: State,
    /// Sum and length of the member's text.
    text: Crc,
    /// At least one member ended: what is no head then is something that should not be there.
    complete: bool,
}

enum State {
    Head(Head),
    Body(Inflate),
    Trailer(Vec<u8>),
}

/// A member's head (RFC 1952, section 2.3) as far as it was read.
#[derive(Default)]
struct Head {
    length: usize,
    flags: u8,
    field: Field,
    sum: Crc,
}

/// The part of the head that the next byte belongs to.
#[derive(Clone, Copy, Default)]
enum Field {
    #[default]
    Fixed,
    ExtraLength {
        low: Option<u8>,
    },
    Extra {
        left: u16,
    },
    Name,
    Comment,
    Sum {
        /// Its first byte, and what it has to be.
        low: Option<(u8, u32)>,
    },
}

/// Longest head of a member. File name and comment have no length of their own; an extra field is up to 64 KiB.
const LONGEST_HEAD: usize = 128 * 1024;

const HAS_SUM: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

const INVALID: DecodeError = DecodeError::Invalid(Coding::Gzip);

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head(Head::default()),
            text: Crc::new(),
            complete: false,
        }
    }
}

impl Decode for Gzip {
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Progress, DecodeError> {
        let full = out.len() + limit;
        loop {
            match &mut self.state {
                State::Head(head) => {
                    let Some((&byte, rest)) = input.split_first() else {
                        return Ok(Progress::Hungry);
                    };
                    *input = rest;
                    let complete = self.complete;
                    let trailing = |error| {
                        if complete {
                            DecodeError::Trailing(Coding::Gzip)
                        } else {
                            error
                        }
                    };
                    if head.push(byte).map_err(trailing)? {
                        self.text.reset();
                        self.state = State::Body(Inflate::new(false));
                    }
                }
                State::Body(inflate) => {
                    let from = out.len();
                    let stop = inflate.run(input, out, full - from).ok_or(INVALID)?;
                    self.text.update(&out[from..]);
                    match stop {
                        Stop::Full => return Ok(Progress::More),
                        Stop::Hungry => return Ok(Progress::Hungry),
                        Stop::End => self.state = State::Trailer(Vec::new()),
                    }
                }
                State::Trailer(trailer) => {
                    let (now, rest) = input.split_at(input.len().min(8 - trailer.len()));
                    trailer.extend_from_slice(now);
                    *input = rest;
                    if trailer.len() < 8 {
                        return Ok(Progress::Hungry);
                    }
                    let sum = [
                        self.text.sum().to_le_bytes(),
                        self.text.amount().to_le_bytes(),
                    ];
                    if trailer[..] != sum.concat() {
                        return Err(DecodeError::Checksum(Coding::Gzip));
                    }
                    self.complete = true;
                    self.state = State::Head(Head::default());
                }
            }
        }
    }

    fn finish(&self) -> Result<(), DecodeError> {
        match &self.state {
            State::Head(head) if head.length == 0 => Ok(()),
            _ => Err(DecodeError::Truncated(Coding::Gzip)),
        }
    }
}

impl Head {
    /// Takes one byte. True: the head is complete.
    fn push(&mut self, byte: u8) -> Result<bool, DecodeError> {
        let index = self.length;
        self.length += 1;
        if self.length > LONGEST_HEAD {
            return Err(INVALID);
        }
        let sum = self.sum.sum();
        self.sum.update(&[byte]);
        let over = match self.field {
            Field::Fixed => {
                let expected = [0x1f, 0x8b, 8];
                if index == 3 {
                    self.flags = byte;
                }
                if expected.get(index).is_some_and(|&wanted| wanted != byte)
                    || self.flags & RESERVED != 0
                {
                    return Err(INVALID);
                }
                index == 9
            }
            Field::ExtraLength { low: None } => {
                self.field = Field::ExtraLength { low: Some(byte) };
                false
            }
            Field::ExtraLength { low: Some(low) } => {
                let left = u16::from_le_bytes([low, byte]);
                self.field = Field::Extra { left };
                left == 0
            }
            Field::Extra { left } => {
                self.field = Field::Extra { left: left - 1 };
                left == 1
            }
            Field::Name | Field::Comment => byte == 0,
            Field::Sum { low: None } => {
                // The sum is over all that stands before it.
                self.field = Field::Sum {
                    low: Some((byte, sum)),
                };
                false
            }
            Field::Sum {
                low: Some((low, sum)),
            } => {
                if u32::from(u16::from_le_bytes([low, byte])) != sum & 0xffff {
                    return Err(DecodeError::Checksum(Coding::Gzip));
                }
                true
            }
        };
        Ok(over && !self.next_field())
    }

    /// Goes on to the next field there is. False: there is none.
    fn next_field(&mut self) -> bool {
        let flags = self.flags;
        let has = |flag| flags & flag != 0;
        self.field = match self.field {
            Field::Fixed if has(HAS_EXTRA) => Field::ExtraLength { low: None },
            Field::Fixed | Field::ExtraLength { .. } | Field::Extra { .. } if has(HAS_NAME) => {
                Field::Name
            }
            Field::Sum { .. } => return false,
            Field::Comment if has(HAS_SUM) => Field::Sum { low: None },
            Field::Comment => return false,
            _ if has(HAS_COMMENT) => Field::Comment,
            _ if has(HAS_SUM) => Field::Sum { low: None },
            _ => return false,
        };
        true
    }
}
