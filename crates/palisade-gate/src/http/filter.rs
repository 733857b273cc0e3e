//! What a body meets on its way: nothing, a look for placeholders, or the removal of secrets.

use palisade_credential::PlaceholderScan;

use crate::http::frames::{FrameRedaction, FrameScan};
use crate::http::pump::PumpError;
use crate::http::redaction::BodyFilter;

/// What one body goes through.
pub(crate) enum Filter {
    None,
    /// Bytes are looked at and pass unchanged.
    Scan {
        scan: PlaceholderScan,
        /// Bytes at the front of the input that were looked at already.
        seen: usize,
    },
    /// The same of WebSocket frames, whose payload a client masks.
    ScanFrames {
        scan: Box<FrameScan>,
        seen: usize,
    },
    /// Bytes are decoded and redacted.
    Redact(Box<BodyFilter>),
    /// The payload of WebSocket frames is redacted.
    RedactFrames(Box<FrameRedaction>),
}

impl Filter {
    pub(crate) fn scan(scan: PlaceholderScan) -> Self {
        Self::Scan { scan, seen: 0 }
    }

    pub(crate) fn scan_frames(data: PlaceholderScan, control: PlaceholderScan) -> Self {
        let scan = Box::new(FrameScan::new(data, control));
        Self::ScanFrames { scan, seen: 0 }
    }

    /// Whether what comes out differs from what went in.
    pub(crate) fn changes(&self) -> bool {
        matches!(self, Self::Redact(_) | Self::RedactFrames(_))
    }

    /// Looks at the bytes at the front of the input, each of them once.
    pub(crate) fn look(&mut self, data: &[u8]) -> Result<(), PumpError> {
        let found = match self {
            Self::Scan { scan, seen } if *seen < data.len() => {
                let found = scan.push(&data[*seen..]);
                *seen = data.len();
                found
            }
            Self::ScanFrames { scan, seen } if *seen < data.len() => {
                let found = scan.push(&data[*seen..]);
                *seen = data.len();
                found
            }
            _ => None,
        };
        match found {
            Some((name, _)) => Err(PumpError::Placeholder(name)),
            None => Ok(()),
        }
    }

    /// Bytes at the front of the input are gone.
    pub(crate) fn took(&mut self, count: usize) {
        if let Self::Scan { seen, .. } | Self::ScanFrames { seen, .. } = self {
            *seen = seen.saturating_sub(count);
        }
    }

    pub(crate) fn push(&mut self, data: &mut &[u8], out: &mut Vec<u8>) -> Result<(), PumpError> {
        match self {
            Self::Redact(body) => body.push(data, out).map_err(PumpError::Coding),
            Self::RedactFrames(frames) => frames
                .push(std::mem::take(data), out)
                .map_err(PumpError::Frame),
            Self::None | Self::Scan { .. } | Self::ScanFrames { .. } => {
                out.extend_from_slice(std::mem::take(data));
                Ok(())
            }
        }
    }

    pub(crate) fn has_more(&self) -> bool {
        matches!(self, Self::Redact(body) if body.has_more())
    }

    pub(crate) fn is_holding(&self) -> bool {
        match self {
            Self::Redact(body) => body.is_holding(),
            Self::RedactFrames(frames) => frames.is_holding(),
            _ => false,
        }
    }

    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Redact(body) => body.release(out),
            Self::RedactFrames(frames) => frames.release(out),
            _ => {}
        }
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), PumpError> {
        match self {
            Self::Redact(body) => body.finish(out).map_err(PumpError::Coding),
            other => {
                other.release(out);
                Ok(())
            }
        }
    }

    /// Redacts a value that is complete, as trailers are.
    pub(crate) fn whole(&mut self, value: &mut [u8]) {
        if let Self::Redact(body) = self {
            body.whole(value);
        }
    }

    pub(crate) fn take_found(&mut self) -> u64 {
        match self {
            Self::Redact(body) => body.take_found(),
            Self::RedactFrames(frames) => frames.take_found(),
            _ => 0,
        }
    }
}
