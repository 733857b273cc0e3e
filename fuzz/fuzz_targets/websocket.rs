//! WebSocket frames. The first byte says how large the pieces are in which they arrive. The rest is taken twice: as frames,
//! and as instructions that make some. In those, 0xff begins a frame with the next byte as its first one and the byte after
//! that as the form of its length, 0xfe stands for that many more bytes of a secret, and any other byte for itself.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use palisade_credential::{Credentials, Placeholders, Redactor};
use palisade_fuzz::one_credential;
use palisade_gate::fuzzing::{websocket_redaction, websocket_scan};

/// It begins with what could be a length.
const SECRET: &[u8] = b"8-secret-of-some-length";
/// So many frame heads may wait within one secret; a server that sends more says it on purpose.
const WAITING: usize = 64;
const MASK: [u8; 4] = [0x37, 0x00, 0xff, 0x2a];

static REDACTOR: LazyLock<Arc<Redactor>> = LazyLock::new(|| Arc::new(Redactor::new([SECRET])));

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| one_credential(SECRET));

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, rest)) = bytes.split_first() else {
        return;
    };
    let piece = usize::from(piece % 32);
    let placeholder = CREDENTIALS.inner_variables()[0].1.to_string();
    for sent in [rest, &made(rest, SECRET, None)] {
        of_a_server(sent, piece);
    }
    for sent in [rest, &made(rest, placeholder.as_bytes(), Some(MASK))] {
        of_a_client(CREDENTIALS.placeholders(), sent, piece);
    }
});

fn made(instructions: &[u8], secret: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut first, mut form, mut payload) = (0x82, 0, Vec::new());
    let mut said = secret.iter().cycle();
    let mut rest = instructions.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            0xff => {
                write(&mut out, first, form, mask, &payload);
                payload.clear();
                (first, form) = (rest.next().unwrap_or(0x80), rest.next().unwrap_or(0));
            }
            0xfe => {
                let count = usize::from(rest.next().unwrap_or(0));
                payload.extend(said.by_ref().take(count));
            }
            byte => payload.push(byte),
        }
    }
    write(&mut out, first, form, mask, &payload);
    out
}

fn write(out: &mut Vec<u8>, first: u8, form: u8, mask: Option<[u8; 4]>, payload: &[u8]) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    match (form % 4, payload.len()) {
        (0 | 1, short @ 0..126) => out.push(short as u8 | masked),
        (0..3, middle @ 0..0x1_0000) => {
            out.push(126 | masked);
            out.extend((middle as u16).to_be_bytes());
        }
        (_, long) => {
            out.push(127 | masked);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(
        mask.unwrap_or_default()
            .iter()
            .take(mask.map_or(0, |mask| mask.len())),
    );
    let mask = mask.unwrap_or_default().into_iter().cycle();
    out.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
}

/// One frame, as far as it came.
struct Frame<'a> {
    head: &'a [u8],
    /// How long its payload is to be.
    length: u64,
    payload: &'a [u8],
    /// Where the payload begins.
    at: usize,
}

impl Frame<'_> {
    fn is_control(&self) -> bool {
        self.head[0] & 8 != 0
    }

    fn is_whole(&self) -> bool {
        self.payload.len() as u64 == self.length
    }

    /// It ends a message.
    fn ends(&self) -> bool {
        !self.is_control() && self.head[0] & 0x80 != 0 && self.is_whole()
    }

    fn unmasked(&self) -> Vec<u8> {
        let mask = if self.head[1] & 0x80 == 0 {
            &[0; 4]
        } else {
            &self.head[self.head.len() - 4..]
        };
        let mask = mask.iter().cycle();
        let pairs = self.payload.iter().zip(mask);
        pairs.map(|(byte, mask)| byte ^ mask).collect()
    }
}

/// The frames that stand in these bytes; a head that is cut off is none.
fn frames(bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some([_, second]) = bytes.get(at..at + 2) {
        let digits = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let end = at + 2 + digits + if second & 0x80 == 0 { 0 } else { 4 };
        let Some(head) = bytes.get(at..end) else {
            break;
        };
        let length = match digits {
            0 => u64::from(second & 0x7f),
            2 => u64::from(u16::from_be_bytes(head[2..4].try_into().expect("two"))),
            _ => u64::from_be_bytes(head[2..10].try_into().expect("eight")),
        };
        let left = &bytes[end..];
        let there = usize::try_from(length).map_or(left.len(), |length| length.min(left.len()));
        frames.push(Frame {
            head,
            length,
            payload: &left[..there],
            at: end,
        });
        at = end + there;
    }
    frames
}

/// A server's frame that is to end the connection.
fn is_bad(frame: &Frame<'_>) -> bool {
    let [first, second] = [frame.head[0], frame.head[1]];
    let control = frame.is_control() && (first & 0x80 == 0 || second & 0x7f > 125);
    first & 0x70 != 0 || second & 0x80 != 0 || control
}

fn of_a_server(sent: &[u8], piece: usize) {
    let seen = websocket_redaction(&REDACTOR, sent, piece);
    let mut frames = frames(sent);
    let good = frames.iter().position(is_bad).unwrap_or(frames.len());
    assert_eq!(seen.refused, good < frames.len());
    frames.truncate(good);
    // Of a control frame that is cut off, nothing is passed on.
    if frames
        .last()
        .is_some_and(|last| last.is_control() && !last.is_whole())
    {
        frames.pop();
    }
    let length: usize = frames.iter().map(|f| f.head.len() + f.payload.len()).sum();
    if seen.refused {
        assert!(seen.out.len() <= length);
    } else {
        assert_eq!(seen.out.len(), length);
    }

    let expected = redacted(&frames);
    let most = frames.split(Frame::ends).map(<[_]>::len).max();
    if most.is_none_or(|most| most < WAITING) {
        assert_eq!(seen.out, expected[..seen.out.len()]);
        return;
    }
    let stays = |(before, after): (&u8, &u8)| before == after || *after == b'*';
    assert!(sent.iter().zip(&seen.out).all(stays));
    for (before, after) in frames.iter().zip(self::frames(&seen.out)) {
        assert_eq!(before.head, after.head);
    }
}

/// The same frames without the secret: a message is what all of its frames say together, and ends with the last of them;
/// a control frame is one of its own.
fn redacted(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut messages = vec![Vec::new()];
    for frame in frames.iter().filter(|frame| !frame.is_control()) {
        let last = messages.last_mut().expect("there is one");
        last.extend_from_slice(frame.payload);
        if frame.ends() {
            messages.push(Vec::new());
        }
    }
    for message in &mut messages {
        REDACTOR.redact(message);
        assert!(!message.windows(SECRET.len()).any(|part| part == SECRET));
    }
    let mut said = messages.concat().into_iter();
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(frame.head);
        if frame.is_control() {
            let mut payload = frame.payload.to_vec();
            REDACTOR.redact(&mut payload);
            out.extend(payload);
        } else {
            out.extend(said.by_ref().take(frame.payload.len()));
        }
    }
    out
}

/// A placeholder is found with the byte that completes it, among all that data frames say or all that control frames say.
fn of_a_client(placeholders: &Arc<Placeholders>, sent: &[u8], piece: usize) {
    let frames = frames(sent);
    let first = [true, false].into_iter().filter_map(|control| {
        let (mut said, mut places) = (Vec::new(), Vec::new());
        for frame in frames.iter().filter(|frame| frame.is_control() == control) {
            said.extend(frame.unmasked());
            places.extend(frame.at + 1..=frame.at + frame.payload.len());
        }
        placeholders.find(&said)?;
        // However much follows, what is there is there.
        let (mut without, mut with) = (0, said.len());
        while with - without > 1 {
            let middle = (with + without) / 2;
            match placeholders.find(&said[..middle]) {
                Some(_) => with = middle,
                None => without = middle,
            }
        }
        Some(places[with - 1])
    });
    assert_eq!(websocket_scan(placeholders, sent, piece), first.min());
}
