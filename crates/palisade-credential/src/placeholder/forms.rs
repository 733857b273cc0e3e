//! The forms a placeholder is looked for in.
//!
//! As patterns: itself, hexadecimal, and base64 in both alphabets at each of the three alignments, cut to
//! the characters that do not depend on what stands around it. Escapes are undone instead of listed, since
//! any of the characters may be escaped or not: `%41`, `\u0041`, `\/`, and line breaks (base64 is wrapped at
//! 64 or 76 columns). Undoing them twice covers double encoding, and each pattern inside each escape.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::shape::CORE;

/// How far a form can reach: the longest pattern (hexadecimal, two characters a byte), each character
/// written as `\u0041`, each character of that written so again; and some line breaks.
pub(super) const WINDOW: usize = CORE * 2 * 6 * 6 + 128;

/// Everything to look for, without regard to case.
pub(super) fn patterns(core: &[u8]) -> Vec<Vec<u8>> {
    let mut patterns = vec![core.to_vec(), hexadecimal(core)];
    for offset in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            patterns.push(base64_core(engine, core, offset));
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The characters of base64 that these bytes alone decide, when `offset` bytes stand before them in their
/// group of three.
fn base64_core(engine: &impl Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(bytes);
    let text = engine.encode(&padded).into_bytes();
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text[first..last].to_vec()
}

/// The bytes with percent and JSON escapes undone and line breaks left out; none if that changes nothing.
pub(super) fn unescape(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = memchr::memchr3(b'%', b'\\', b'\n', rest) {
        if out.is_empty() {
            out.reserve_exact(bytes.len());
        }
        out.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match rest[at] {
            b'%' => undo_percent(after, &mut out),
            b'\\' => undo_backslash(after, &mut out),
            _ => {
                if out.last() == Some(&b'\r') {
                    out.pop();
                }
                after
            }
        };
    }
    (out.len() + rest.len() != bytes.len()).then(|| {
        out.extend_from_slice(rest);
        out
    })
}

/// Undoes one percent escape of which `after` follows the sign. Gives what follows the escape.
fn undo_percent<'a>(after: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match hex_value(after) {
        Some(value) => {
            out.push(value);
            &after[2..]
        }
        None => {
            out.push(b'%');
            after
        }
    }
}

/// Undoes one JSON escape of which `after` follows the backslash. Gives what follows the escape.
fn undo_backslash<'a>(after: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    match after {
        [b'u', b'0', b'0', digits @ ..] => {
            if let Some(value) = hex_value(digits) {
                out.push(value);
                return &digits[2..];
            }
        }
        // A line break in a JSON string.
        [b'n' | b'r', rest @ ..] => return rest,
        [byte @ (b'/' | b'\\' | b'"'), rest @ ..] => {
            out.push(*byte);
            return rest;
        }
        _ => {}
    }
    out.push(b'\\');
    after
}

/// The value of the first two hexadecimal digits.
fn hex_value(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let [first, second, ..] = bytes else {
        return None;
    };
    u8::try_from(digit(first)? << 4 | digit(second)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_the_rest_is_left() {
        let undone = |text: &str| unescape(text.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(undone("plain text"), None);
        assert_eq!(undone("100%"), None);
        assert_eq!(undone("a%41%4a%2f").as_deref(), Some("aAJ/"));
        assert_eq!(undone("%2541").as_deref(), Some("%41"));
        assert_eq!(undone("%4").as_deref(), None);
        assert_eq!(undone("%%41").as_deref(), Some("%A"));
        assert_eq!(undone(r"\u0041\u004A\/\\").as_deref(), Some(r"AJ/\"));
        assert_eq!(undone(r"\u1141").as_deref(), None);
        assert_eq!(undone(r"\u00").as_deref(), None);
        assert_eq!(undone("a\r\nb\\nc").as_deref(), Some("abc"));
        assert_eq!(undone("\\").as_deref(), None);
    }

    #[test]
    fn base64_cores_stand_in_the_encoding_at_every_alignment() {
        let core = b"Ab3dEfGh1jKlMn0p";
        for before in 0..9 {
            let mut text = vec![b'~'; before];
            text.extend_from_slice(core);
            text.extend_from_slice(b"?>~~");
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&text);
                let pattern = base64_core(engine, core, before % 3);
                let pattern = String::from_utf8(pattern).expect("ASCII");
                assert!(pattern.len() >= 20, "{pattern}");
                assert!(encoded.contains(&pattern), "{encoded} {pattern}");
            }
        }
    }
}
