//! `br`: one Brotli stream.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::deflate::ROOM;
use super::{Coding, Decode, DecodeError, Progress};

/// The coding `br`.
pub(super) struct Brotli {
    /// Some 2 KiB, and a window that grows as it is needed.
    stream: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    begun: bool,
    ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        // Strict: without the extension to windows of up to 1 GiB, which is not part of the coding `br`.
        let stream = BrotliState::new_strict(
            StandardAlloc::default(),
            StandardAlloc::default(),
            StandardAlloc::default(),
        );
        Self {
            stream: Box::new(stream),
            begun: false,
            ended: false,
        }
    }
}

impl Decode for Brotli {
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Progress, DecodeError> {
        self.begun |= !input.is_empty();
        let full = out.len() + limit;
        while !self.ended {
            if out.len() >= full {
                return Ok(Progress::More);
            }
            let from = out.len();
            out.resize(full.min(from + ROOM), 0);
            let (mut available_in, mut read) = (input.len(), 0);
            let (mut available_out, mut wrote, mut total) = (out.len() - from, 0, 0);
            let result = BrotliDecompressStream(
                &mut available_in,
                &mut read,
                input,
                &mut available_out,
                &mut wrote,
                &mut out[from..],
                &mut total,
                &mut self.stream,
            );
            out.truncate(from + wrote);
            *input = &input[read..];
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreInput => return Ok(Progress::Hungry),
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => return Err(DecodeError::Invalid(Coding::Brotli)),
            }
        }
        if input.is_empty() {
            Ok(Progress::Hungry)
        } else {
            Err(DecodeError::Trailing(Coding::Brotli))
        }
    }

    fn finish(&self) -> Result<(), DecodeError> {
        if self.ended || !self.begun {
            Ok(())
        } else {
            Err(DecodeError::Truncated(Coding::Brotli))
        }
    }
}
