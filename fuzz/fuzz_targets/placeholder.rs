//! Placeholders in what leaves. In the text, 0xfe stands for a placeholder in a spelling that the byte after it chooses, and
//! 0xfd for the end of a piece.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use palisade_credential::Credentials;
use palisade_fuzz::one_credential;

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| one_credential(b"never-seen-in-here"));

fuzz_target!(|bytes: &[u8]| {
    let placeholder = CREDENTIALS.inner_variables()[0].1.to_string();
    let (mut text, mut cuts, mut present) = (Vec::new(), Vec::new(), false);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            0xfe => {
                present = true;
                text.extend(spell(&placeholder, rest.next().copied().unwrap_or(0)));
            }
            0xfd => cuts.push(text.len()),
            byte => text.push(*byte),
        }
    }
    let placeholders = CREDENTIALS.placeholders();
    // It may stand in the input itself: the fuzzer sees what is compared.
    let there = placeholders.find(&text).is_some();
    assert!(there || !present);
    let (mut scan, mut found, mut from) = (placeholders.scan(), false, 0);
    for cut in cuts.into_iter().chain([text.len()]) {
        found |= scan.push(&text[from..cut]).is_some();
        from = cut;
    }
    assert_eq!(found, there, "pieces are searched as the whole is");
});

fn spell(placeholder: &str, spelling: u8) -> Vec<u8> {
    let each = |f: &dyn Fn(u8) -> String| placeholder.bytes().map(f).collect::<String>();
    let text = match spelling % 8 {
        0 => placeholder.to_owned(),
        1 => STANDARD.encode(placeholder),
        2 => STANDARD.encode(format!("a{placeholder}b")),
        3 => URL_SAFE_NO_PAD.encode(format!("ab{placeholder}")),
        4 => each(&|b| format!("%{b:02X}")),
        5 => each(&|b| format!("\\u{b:04x}")),
        6 => each(&|b| format!("%25{b:02x}")),
        _ => each(&|b| format!("{b:02x}")),
    };
    text.into_bytes()
}
