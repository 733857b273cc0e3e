//! `zstd`: frames, one after the other; skippable ones among them.
//!
//! The frames are taken apart here, so the library sees one whole block at a time: it would decode all it is given, and
//! four bytes can stand for 128 KiB.

use std::io::Read as _;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::deflate::ROOM;
use super::{Coding, Decode, DecodeError, Progress};

/// The largest window: what RFC 8878 (section 3.1.1.1.2) recommends every decoder to support, and the most that
/// RFC 9659 allows for the content coding.
const LARGEST_WINDOW: u64 = 8 * 1024 * 1024;

/// The largest block (RFC 8878, section 3.1.1.2.4).
const LARGEST_BLOCK: usize = 128 * 1024;

const INVALID: DecodeError = DecodeError::Invalid(Coding::Zstd);

/// The coding `zstd`.
pub(super) struct Zstd {
    frame: FrameDecoder,
    state: State,
    /// The piece that is being collected: a head or a block.
    piece: Vec<u8>,
    /// The frame ends with a checksum.
    sum: bool,
    /// At least one frame ended: what is no head then is something that should not be there.
    complete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Collecting the head of a frame.
    Head,
    /// Passing over a skippable frame.
    Skip { left: u32 },
    /// Collecting a block.
    Block,
    /// All blocks are decoded, their text is being given out.
    Rest,
}

impl Zstd {
    pub(super) fn new() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(LARGEST_WINDOW);
        Self {
            frame,
            state: State::Head,
            piece: Vec::new(),
            sum: false,
            complete: false,
        }
    }

    /// Collects `length` bytes. False: the input is used up before.
    fn collect(&mut self, input: &mut &[u8], length: usize) -> bool {
        let missing = length.saturating_sub(self.piece.len());
        let (now, later) = input.split_at(input.len().min(missing));
        self.piece.extend_from_slice(now);
        *input = later;
        self.piece.len() >= length
    }

    /// Gives out what the window does not need any more. True: that was all of it.
    fn give_out(&mut self, out: &mut Vec<u8>, full: usize) -> Result<bool, DecodeError> {
        while self.frame.can_collect() > 0 {
            if out.len() >= full {
                return Ok(false);
            }
            let from = out.len();
            out.resize(full.min(from + ROOM), 0);
            let wrote = self.frame.read(&mut out[from..]).map_err(|_| INVALID)?;
            out.truncate(from + wrote);
        }
        Ok(true)
    }

    /// One more byte of a head at a time, for its length depends on what is in it.
    fn head(&mut self, input: &mut &[u8]) -> Result<bool, DecodeError> {
        while let Some(length) = head_length(&self.piece) {
            if !self.collect(input, length) {
                return Ok(false);
            }
        }
        let mut head = self.piece.as_slice();
        match self.frame.reset(&mut head) {
            Ok(()) => {
                // The descriptor's bit 2.
                self.sum = self.piece[4] & 4 != 0;
                self.state = State::Block;
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => self.state = State::Skip { left: length },
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                return Err(DecodeError::Window(Coding::Zstd));
            }
            Err(FrameDecoderError::DictNotProvided { .. }) => {
                return Err(DecodeError::Dictionary(Coding::Zstd));
            }
            Err(_) if self.complete => return Err(DecodeError::Trailing(Coding::Zstd)),
            Err(_) => return Err(INVALID),
        }
        self.piece.clear();
        Ok(true)
    }

    fn block(&mut self, input: &mut &[u8]) -> Result<bool, DecodeError> {
        if !self.collect(input, 3) {
            return Ok(false);
        }
        let head = u32::from_le_bytes([self.piece[0], self.piece[1], self.piece[2], 0]);
        let (last, kind) = (head & 1 == 1, head >> 1 & 3);
        let size = usize::try_from(head >> 3).unwrap_or(usize::MAX);
        if size > LARGEST_BLOCK {
            return Err(INVALID);
        }
        let size = match kind {
            // Run length: one byte, whatever the size says.
            1 => 1,
            _ => size,
        };
        let sum = if last && self.sum { 4 } else { 0 };
        if !self.collect(input, 3 + size + sum) {
            return Ok(false);
        }
        let mut block = self.piece.as_slice();
        self.frame
            .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| INVALID)?;
        self.piece.clear();
        if last {
            self.state = State::Rest;
        }
        Ok(true)
    }
}

impl Decode for Zstd {
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Progress, DecodeError> {
        let full = out.len() + limit;
        loop {
            let goes_on = match self.state {
                State::Head => self.head(input)?,
                State::Skip { left: 0 } => {
                    self.state = State::Head;
                    true
                }
                State::Skip { left } => {
                    let skipped = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    *input = &input[skipped..];
                    let left = left - u32::try_from(skipped).unwrap_or(left);
                    self.state = State::Skip { left };
                    left == 0
                }
                State::Block => {
                    if !self.give_out(out, full)? {
                        return Ok(Progress::More);
                    }
                    self.block(input)?
                }
                State::Rest => {
                    if !self.give_out(out, full)? {
                        return Ok(Progress::More);
                    }
                    let wanted = self.frame.get_checksum_from_data();
                    if self.sum && wanted != self.frame.get_calculated_checksum() {
                        return Err(DecodeError::Checksum(Coding::Zstd));
                    }
                    self.complete = true;
                    self.state = State::Head;
                    true
                }
            };
            if !goes_on {
                return Ok(Progress::Hungry);
            }
        }
    }

    fn finish(&self) -> Result<(), DecodeError> {
        if self.state == State::Head && self.piece.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Truncated(Coding::Zstd))
        }
    }
}

/// How many bytes of a head are needed before more can be said. None: it is complete.
fn head_length(head: &[u8]) -> Option<usize> {
    let needed = match head {
        [_, 0x2a, 0x4d, 0x18, ..] if head[0] & 0xf0 == 0x50 => 8,
        [_, _, _, _, descriptor, ..] => {
            let single_segment = descriptor & 0x20 != 0;
            let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
            let size = match descriptor >> 6 {
                0 => usize::from(single_segment),
                1 => 2,
                2 => 4,
                _ => 8,
            };
            5 + usize::from(!single_segment) + dictionary + size
        }
        [_, _, _, _] if head != [0x28, 0xb5, 0x2f, 0xfd] => return None,
        [_, _, _, _] => 5,
        _ => 4,
    };
    (head.len() < needed).then_some(needed)
}
