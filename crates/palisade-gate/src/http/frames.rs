//! WebSocket frames (RFC 6455 section 5): their payload is what is looked at, and a secret or a placeholder may be
//! spread over several of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use palisade_credential::{Part, PlaceholderScan, Redactor};
use palisade_policy::CredentialName;

use crate::http::redaction::BodyFilter;

/// Why a server's bytes are not frames that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// An extension is used that was not agreed upon; compression would hide what is said.
    Extension,
    /// A control frame is fragmented, long, or says its length in more than one byte.
    Control,
    /// The server masks.
    Mask,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extension => "a WebSocket frame uses an extension that was not agreed upon",
            Self::Control => "a WebSocket control frame is malformed",
            Self::Mask => "a WebSocket frame of the server is masked",
        })
    }
}

/// Longest payload of a control frame (section 5.5).
const CONTROL_MAX: u64 = 125;
/// Bytes of its head, of a server's: lengths are written as short as they can be (section 5.2).
const CONTROL_HEAD: usize = 2;
/// Frame heads that wait behind bytes which may be the beginning of a secret. A server that sends more of them than
/// this within one secret does it on purpose, and could say the secret in any other way.
const WAITING: usize = 64;

/// Where in a stream of frames we are.
#[derive(Default)]
struct Frames {
    /// The head of the next frame, as far as it came.
    head: Vec<u8>,
    kind: Kind,
    /// None where the payload is not masked.
    mask: Option<[u8; 4]>,
    at: usize,
    left: u64,
    /// The last frame of data ends its message.
    fin: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Data,
    Control,
}

/// What comes next in a stream of frames.
enum Piece {
    /// A complete frame head; it stands in `Frames::head`.
    Head,
    /// This many bytes of payload.
    Payload(usize),
    /// More bytes are needed.
    More,
}

impl Frames {
    /// Takes a frame head from the front of `data`, or says how much of a payload stands there.
    fn next(&mut self, data: &mut &[u8]) -> Piece {
        if self.left > 0 {
            let count = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
            return if count == 0 {
                Piece::More
            } else {
                Piece::Payload(count)
            };
        }
        while let Some((byte, rest)) = data.split_first() {
            *data = rest;
            self.head.push(*byte);
            if self.head.len() >= 2 && self.head.len() == self.head_length() {
                self.begin();
                return Piece::Head;
            }
        }
        Piece::More
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn begin(&mut self) {
        let [first, second, rest @ ..] = self.head.as_slice() else {
            return;
        };
        let masked = second & 0x80 != 0;
        let (length, mask) = rest.split_at(rest.len() - if masked { 4 } else { 0 });
        self.left = match length {
            [] => u64::from(second & 0x7f),
            length => length.iter().fold(0, |sum, b| (sum << 8) | u64::from(*b)),
        };
        self.mask = mask.try_into().ok();
        self.at = 0;
        self.kind = if first & 0x08 == 0 {
            Kind::Data
        } else {
            Kind::Control
        };
        if self.kind == Kind::Data {
            self.fin = first & 0x80 != 0;
        }
    }

    /// Whether a frame of a server, whose head was just read, is one that can be searched.
    fn check(&self) -> Result<(), FrameError> {
        let first = self.head.first().copied().unwrap_or_default();
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        if self.mask.is_some() {
            return Err(FrameError::Mask);
        }
        let whole = first & 0x80 != 0 && self.head.len() == CONTROL_HEAD;
        if self.kind == Kind::Control && (!whole || self.left > CONTROL_MAX) {
            return Err(FrameError::Control);
        }
        Ok(())
    }

    fn took(&mut self, count: usize) {
        self.left -= count as u64;
        self.at += count;
    }
}

/// Looks for placeholders in what a client sends. It only looks, so bytes that are no good frames are no error here.
pub(crate) struct FrameScan {
    frames: Frames,
    data: PlaceholderScan,
    /// Control frames may stand within a message, and are no part of it.
    control: PlaceholderScan,
    plain: Vec<u8>,
}

impl FrameScan {
    /// Two scans that have not begun.
    pub(crate) fn new(data: PlaceholderScan, control: PlaceholderScan) -> Self {
        Self {
            frames: Frames::default(),
            data,
            control,
            plain: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) -> Option<(CredentialName, Part)> {
        loop {
            match self.frames.next(&mut data) {
                Piece::More => return None,
                Piece::Head => self.frames.head.clear(),
                Piece::Payload(count) => {
                    let (payload, rest) = data.split_at(count);
                    let (mask, at) = (self.frames.mask.unwrap_or_default(), self.frames.at);
                    self.plain.clear();
                    let unmasked = payload.iter().zip(at..);
                    let unmasked = unmasked.map(|(byte, at)| byte ^ mask[at % 4]);
                    self.plain.extend(unmasked);
                    let found = match self.frames.kind {
                        Kind::Data => self.data.push(&self.plain),
                        Kind::Control => self.control.push(&self.plain),
                    };
                    if found.is_some() {
                        return found;
                    }
                    self.frames.took(count);
                    data = rest;
                }
            }
        }
    }
}

/// Redacts what a server sends. Frame heads keep their places: redaction does not change lengths.
pub(crate) struct FrameRedaction {
    frames: Frames,
    filter: BodyFilter,
    made: Vec<u8>,
    control: Vec<u8>,
    /// Bytes of payload that were given out.
    passed: u64,
    /// Bytes of payload that came.
    came: u64,
    /// Heads and control frames, and after how many bytes of payload they stand.
    waiting: VecDeque<(u64, Vec<u8>)>,
}

impl FrameRedaction {
    pub(crate) fn new(redactor: &Arc<Redactor>) -> Self {
        Self {
            frames: Frames::default(),
            filter: BodyFilter::plain(redactor),
            made: Vec::new(),
            control: Vec::new(),
            passed: 0,
            came: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        loop {
            match self.frames.next(&mut data) {
                Piece::More => return Ok(()),
                Piece::Head => {
                    self.frames.check()?;
                    self.head(out);
                }
                Piece::Payload(count) => {
                    let (payload, rest) = data.split_at(count);
                    self.frames.took(count);
                    data = rest;
                    self.payload(payload, out);
                }
            }
            self.end_of_message(out);
        }
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.filter.is_holding() || !self.waiting.is_empty()
    }

    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        let mut made = std::mem::take(&mut self.made);
        self.filter.release(&mut made);
        self.emit(&made, out);
        made.clear();
        self.made = made;
    }

    pub(crate) fn take_found(&mut self) -> u64 {
        self.filter.take_found()
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        let head = std::mem::take(&mut self.frames.head);
        match self.frames.kind {
            Kind::Data => self.put(&head, out),
            // A control frame stands between two others and is passed on as a whole.
            Kind::Control if self.frames.left == 0 => self.put(&head, out),
            Kind::Control => self.control.extend_from_slice(&head),
        }
        self.frames.head = head;
        self.frames.head.clear();
    }

    fn payload(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if self.frames.kind == Kind::Control {
            self.control.extend_from_slice(payload);
            if self.frames.left == 0 {
                let mut control = std::mem::take(&mut self.control);
                self.filter.whole(&mut control[CONTROL_HEAD..]);
                self.put(&control, out);
            }
            return;
        }
        self.came += payload.len() as u64;
        let mut made = std::mem::take(&mut self.made);
        // It fails for codings alone, and there is none here.
        let _ = self.filter.push(&mut &*payload, &mut made);
        self.emit(&made, out);
        made.clear();
        self.made = made;
    }

    /// Nothing of a later message belongs to this one.
    fn end_of_message(&mut self, out: &mut Vec<u8>) {
        let over = self.frames.kind == Kind::Data && self.frames.fin && self.frames.left == 0;
        if (over && self.filter.is_holding()) || self.waiting.len() > WAITING {
            self.release(out);
        }
    }

    /// Puts bytes that are no payload at their place.
    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.passed == self.came {
            out.extend_from_slice(bytes);
        } else {
            self.waiting.push_back((self.came, bytes.to_vec()));
        }
    }

    fn emit(&mut self, mut made: &[u8], out: &mut Vec<u8>) {
        while let Some((place, _)) = self.waiting.front() {
            let before = usize::try_from(place - self.passed).unwrap_or(usize::MAX);
            if before > made.len() {
                break;
            }
            out.extend_from_slice(&made[..before]);
            self.passed += before as u64;
            made = &made[before..];
            if let Some((_, bytes)) = self.waiting.pop_front() {
                out.extend_from_slice(&bytes);
            }
        }
        out.extend_from_slice(made);
        self.passed += made.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"a-secret-of-some-length";

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(short as u8),
            long => {
                out.push(126);
                out.extend((long as u16).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    fn redact(bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool), FrameError> {
        let redactor = Arc::new(Redactor::new([SECRET]));
        let mut redaction = FrameRedaction::new(&redactor);
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            redaction.push(piece, &mut out)?;
        }
        let holding = redaction.is_holding();
        redaction.release(&mut out);
        Ok((out, holding))
    }

    #[test]
    fn f17_a_secret_over_several_frames() {
        let (one, two) = SECRET.split_at(9);
        let stars = [b'*'; 23];
        let make = |one: &[u8], two: &[u8]| {
            [
                frame(0x01, b"x"),
                frame(0x00, one),
                frame(0x89, b"ping"),
                frame(0x00, b""),
                frame(0x80, two),
                frame(0x82, &[7; 300]),
                frame(0x81, b"a-sec"),
            ]
            .concat()
        };
        let sent = make(one, two);
        let expected = make(&stars[..9], &stars[9..]);
        for step in 1..sent.len() {
            assert_eq!(redact(&sent, step), Ok((expected.clone(), false)), "{step}");
        }
    }

    #[test]
    fn f17_frames_that_cannot_be_searched_are_refused() {
        let mut masked = frame(0x81, b"");
        masked[1] |= 0x80;
        masked.extend([0; 4]);
        // The last byte of its length would be taken for the first one of the secret.
        let mut long_head = vec![0x89, 126, 0];
        long_head.extend(SECRET);
        long_head.resize(4 + usize::from(SECRET[0]), b'x');
        for (frame, error) in [
            (frame(0xc1, b"x"), FrameError::Extension),
            (frame(0x09, b"x"), FrameError::Control),
            (frame(0x89, &[0; 126]), FrameError::Control),
            (long_head, FrameError::Control),
            (masked, FrameError::Mask),
        ] {
            assert_eq!(redact(&frame, 1), Err(error));
        }
    }

    #[test]
    fn f26_frames_without_end_are_not_kept() {
        let mut bytes = frame(0x01, b"a-sec");
        for _ in 0..10_000 {
            bytes.extend(frame(0x00, b""));
        }
        let redactor = Arc::new(Redactor::new([SECRET]));
        let mut redaction = FrameRedaction::new(&redactor);
        let mut out = Vec::new();
        redaction.push(&bytes, &mut out).unwrap();
        assert!(redaction.waiting.len() <= WAITING);
        assert!(out.len() > 19_000);
    }

    proptest! {
        /// Whatever comes, and however it is cut, comes out in the same length and at the same places.
        #[test]
        fn any_bytes_keep_their_places(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            step in 1usize..50,
        ) {
            let whole = redact(&bytes, bytes.len().max(1));
            let cut = redact(&bytes, step);
            prop_assert_eq!(whole.is_ok(), cut.is_ok());
            if let (Ok((whole, _)), Ok((cut, _))) = (whole, cut) {
                prop_assert_eq!(whole, cut);
            }
        }
    }
}
