//! Redaction. The input is cut at its first byte 0xff into a secret and a text; in the text, 0xfe stands for the secret in a
//! spelling that the byte after it chooses, and 0xfd for the end of a piece.
#![no_main]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use palisade_credential::Redactor;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |b| *b == 0xff);
    let (secret, rest) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    // A secret is visible text by the time it gets here, and one with a star is found in its own redaction.
    let is_secret = secret.iter().all(|b| b.is_ascii_graphic() && *b != b'*');
    if !is_secret || !(Redactor::MIN_SECRET..64).contains(&secret.len()) {
        return;
    }
    let (text, cuts) = text(secret, rest);
    let redactor = Arc::new(Redactor::new([secret]));

    let mut whole = text.clone();
    redactor.redact(&mut whole);
    changed_to_stars(&text, &whole);
    for spelling in 0..SPELLINGS {
        let form = spell(secret, spelling);
        assert!(
            !contains(&whole, &form),
            "{}",
            String::from_utf8_lossy(&form)
        );
    }

    let (mut stream, mut out, mut from) = (redactor.stream(), Vec::new(), 0);
    for cut in cuts.into_iter().chain([text.len()]) {
        stream.push(&text[from..cut], &mut out);
        assert_eq!(out.len() + stream.held(), cut);
        from = cut;
    }
    stream.finish(&mut out);
    assert_eq!(out, whole, "pieces are redacted as the whole is");
});

fn text(secret: &[u8], rest: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut text, mut cuts) = (Vec::new(), Vec::new());
    let mut rest = rest.iter();
    while let Some(byte) = rest.next() {
        match byte {
            0xfe => text.extend(spell(secret, rest.next().copied().unwrap_or(0))),
            0xfd => cuts.push(text.len()),
            byte => text.push(*byte),
        }
    }
    (text, cuts)
}

const SPELLINGS: u8 = 8;

fn spell(secret: &[u8], spelling: u8) -> Vec<u8> {
    let each = |f: &dyn Fn(u8) -> String| {
        secret
            .iter()
            .map(|b| f(*b))
            .collect::<String>()
            .into_bytes()
    };
    match spelling % SPELLINGS {
        0 => secret.to_vec(),
        1 => STANDARD.encode(secret).into_bytes(),
        2 => URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        3 => each(&|b| format!("{b:02x}")),
        4 => each(&|b| format!("{b:02X}")),
        5 => each(&|b| format!("%{b:02X}")),
        6 => each(&|b| format!("\\u{b:04x}")),
        _ => each(&|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02x}")
            }
        }),
    }
}

fn changed_to_stars(before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    assert!(
        before
            .iter()
            .zip(after)
            .all(|(before, after)| before == after || *after == b'*')
    );
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
