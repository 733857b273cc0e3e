use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{RedactStream, Redactor};

const SECRET: &str = "sk-ant-api03-Zx+9/q\"w&R_t";

/// Encoders as servers have them.
fn spellings(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let each = |f: &dyn Fn(u8) -> String| bytes.iter().map(|&b| f(b)).collect::<String>();
    let special = |f: &dyn Fn(u8) -> String| {
        each(&|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                f(b)
            }
        })
    };
    let mut all = vec![
        ("plain", secret.to_owned()),
        ("percent", special(&|b| format!("%{b:02X}"))),
        ("percent, lower", special(&|b| format!("%{b:02x}"))),
        ("percent, all", each(&|b| format!("%{b:02X}"))),
        ("percent, twice", special(&|b| format!("%25{b:02X}"))),
        ("json", serde_json::to_string(secret).unwrap_or_default()),
        (
            "json, slash",
            secret.replace('"', "\\\"").replace('/', "\\/"),
        ),
        ("json, \\u", special(&|b| format!("\\u{b:04x}"))),
        ("json, \\U all", each(&|b| format!("\\u{b:04X}"))),
        ("json in json", special(&|b| format!("\\\\u{b:04x}"))),
        ("repr", special(&|b| format!("\\x{b:02x}"))),
        ("html", special(&|b| format!("&#{b};"))),
        ("html, padded", special(&|b| format!("&#{b:03};"))),
        ("html, hex", special(&|b| format!("&#x{b:X};"))),
        ("html, all", each(&|b| format!("&#x{b:x};"))),
        (
            "html, named",
            secret.replace('&', "&amp;").replace('"', "&quot;"),
        ),
        (
            "html, twice",
            secret.replace('&', "&amp;amp;").replace('"', "&amp;quot;"),
        ),
        ("hex", each(&|b| format!("{b:02x}"))),
        ("HEX", each(&|b| format!("{b:02X}"))),
    ];
    for neighbour in ["", "u", "us"] {
        let text = format!("{neighbour}{secret}");
        let standard = STANDARD.encode(&text);
        all.push((
            "base64, percent",
            standard.replace('+', "%2B").replace('/', "%2f"),
        ));
        all.push(("base64, json", standard.replace('/', "\\/")));
        let lines: Vec<&str> = (0..standard.len())
            .step_by(12)
            .map(|at| &standard[at..standard.len().min(at + 12)])
            .collect();
        all.push(("base64, lines", lines.join("\r\n")));
        all.push(("base64, lines in json", lines.join("\\n")));
        all.push(("base64", standard));
        all.push(("base64url", URL_SAFE_NO_PAD.encode(&text)));
    }
    all
}

/// The longest run of characters that are not stars.
fn longest_rest(text: &[u8]) -> usize {
    text.split(|&b| b == b'*')
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0)
}

fn streamed(redactor: &Arc<Redactor>, pieces: &[&[u8]]) -> (Vec<u8>, usize) {
    let (mut stream, mut out, mut count) = (redactor.stream(), Vec::new(), 0);
    for piece in pieces {
        count += stream.push(piece, &mut out);
    }
    count += stream.finish(&mut out);
    (out, count)
}

#[test]
fn c07_every_spelling_of_a_secret_is_found() {
    let redactor = Redactor::new([SECRET.as_bytes()]);
    for (name, spelling) in spellings(SECRET) {
        let mut text = spelling.clone().into_bytes();
        assert_eq!(redactor.redact(&mut text), 1, "{name}: {spelling}");
        assert_eq!(text.len(), spelling.len());
        // Quotes around JSON, and up to three edge characters of base64 with its padding.
        assert!(
            longest_rest(&text) <= 5,
            "{name}: {}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn text_without_the_secret_stays_as_it_is() {
    let redactor = Redactor::new([SECRET.as_bytes()]);
    let near =
        "sk-ant-api03-Zx sk-ant sk%2Dant \\u0073k c2st &#115;k &amp; % \\ & %2 \\u0 %25%25%25";
    let mut text = near.as_bytes().to_vec();
    assert_eq!(redactor.redact(&mut text), 0);
    assert_eq!(text, near.as_bytes());
    let mut nothing = near.as_bytes().to_vec();
    assert_eq!(Redactor::new([]).redact(&mut nothing), 0);
}

#[test]
fn a_short_secret_is_found_as_it_is_only() {
    let redactor = Redactor::new([&b"abc1"[..], b""]);
    let mut text = b"abc1 %61bc1 YWJjMQ== 61626331".to_vec();
    assert_eq!(redactor.redact(&mut text), 1);
    assert_eq!(text, b"**** %61bc1 YWJjMQ== 61626331");
}

#[test]
fn overlapping_secrets_leave_nothing_of_either() {
    let redactor = Arc::new(Redactor::new([
        &b"aaaa-shared-part"[..],
        b"shared-part-bbbb",
    ]));
    let text = b"<aaaa-shared-part-bbbb>";
    let mut whole = text.to_vec();
    assert_eq!(redactor.redact(&mut whole), 1);
    let inside = &whole[1..whole.len() - 1];
    assert!(whole.starts_with(b"<") && whole.ends_with(b">") && inside.iter().all(|&b| b == b'*'));
    for split in 0..text.len() {
        let out = streamed(&redactor, &[&text[..split], &text[split..]]);
        assert_eq!(out, (whole.clone(), 1), "split at {split}");
    }
}

#[test]
fn c07_only_the_possible_start_of_a_secret_is_held_back() {
    let redactor = Arc::new(Redactor::new([SECRET.as_bytes()]));
    let held = |text: &str| {
        let (mut stream, mut out) = (redactor.stream(), Vec::new());
        stream.push(text.as_bytes(), &mut out);
        assert_eq!(out.len() + stream.held(), text.len());
        stream.held()
    };
    assert_eq!(held("event: ping\ndata: {\"type\": \"ping\"}\n\n"), 0);
    assert_eq!(held("an ask"), 2);
    assert_eq!(held("an ask-"), 3);
    assert_eq!(held("an ask-x"), 0);
    assert_eq!(held("100%"), 1);
    assert_eq!(held("100%9"), 0);
    assert_eq!(held("a\\"), 1);
    assert_eq!(held("a\\n"), 0);
    assert_eq!(
        held(&format!("x{}", &SECRET[..SECRET.len() - 1])),
        SECRET.len() - 1
    );
    assert_eq!(held(SECRET), 0);
}

#[test]
fn c07_a_body_split_anywhere_comes_out_as_if_it_were_whole() {
    let redactor = Arc::new(Redactor::new([SECRET.as_bytes()]));
    for (name, spelling) in spellings(SECRET) {
        let text = format!("before={spelling}&after {spelling}").into_bytes();
        let mut whole = text.clone();
        let found = redactor.redact(&mut whole);
        assert_eq!(found, 2, "{name}");
        for split in 0..=text.len() {
            let pieces = [&text[..split], &text[split..]];
            assert_eq!(
                streamed(&redactor, &pieces),
                (whole.clone(), found),
                "{name} at {split}"
            );
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(
            streamed(&redactor, &bytes),
            (whole, found),
            "{name} byte by byte"
        );
    }
}

/// Work that grew with the square of the length would take minutes here.
#[test]
fn floods_of_beginnings_are_read_in_linear_time() {
    let redactor = Arc::new(Redactor::new([SECRET.as_bytes(), b"\\\\\\%%%&&&"]));
    for piece in [
        "\\", "%25", "&amp;", "&#0", "%", "&", "s", "c2st", "\\u00", "\\n", "\n",
    ] {
        let text = piece.repeat(48 * 1024 / piece.len());
        let (mut stream, mut out) = (redactor.stream(), Vec::new());
        for part in text.as_bytes().chunks(4096) {
            stream.push(part, &mut out);
            assert!(stream.held() < 512, "{piece}");
        }
        stream.finish(&mut out);
        assert_eq!(out, text.as_bytes(), "{piece}");
    }
}

/// A stream wipes what it held: the type is the promise.
#[test]
fn what_is_held_is_wiped_on_drop() {
    fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
    let stream: RedactStream = Arc::new(Redactor::new([SECRET.as_bytes()])).stream();
    wiped(&stream.held);
}

fn secrets() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9_-]{8,40}", "[ -~]{8,24}", "[%&\\\\\"/+=]{8,12}"]
}

/// How one character may be written; each of a secret's is written in a way of its own.
fn escape(byte: u8, way: u8) -> String {
    match way % 6 {
        0 if !byte.is_ascii_alphanumeric() => format!("%{byte:02X}"),
        1 if !byte.is_ascii_alphanumeric() => format!("\\u{byte:04x}"),
        2 if !byte.is_ascii_alphanumeric() => format!("&#{byte};"),
        3 if !byte.is_ascii_alphanumeric() => format!("&#x{byte:x};"),
        4 if !byte.is_ascii_alphanumeric() => format!("\\x{byte:02X}"),
        _ => char::from(byte).to_string(),
    }
}

proptest! {
    #[test]
    fn c07_any_mixture_of_escapes_is_found(
        secret in secrets(),
        ways in proptest::collection::vec(any::<u8>(), 40),
        (before, after) in ("[ -~]{0,20}", "[ -~]{0,20}"),
    ) {
        let redactor = Redactor::new([secret.as_bytes()]);
        let spelled: String = secret.bytes().zip(&ways).map(|(b, way)| escape(b, *way)).collect();
        let mut text = format!("{before}{spelled}{after}").into_bytes();
        let length = text.len();
        prop_assert!(redactor.redact(&mut text) >= 1, "{spelled}");
        prop_assert_eq!(text.len(), length);
        let inside = &text[before.len()..before.len() + spelled.len()];
        prop_assert!(inside.iter().all(|&b| b == b'*'), "{:?}", String::from_utf8_lossy(inside));
    }

    #[test]
    fn c07_any_split_gives_the_same(
        secret in secrets(),
        which in any::<prop::sample::Index>(),
        (before, after) in ("[ -~\n]{0,30}", "[ -~\n]{0,30}"),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let redactor = Arc::new(Redactor::new([secret.as_bytes()]));
        let all = spellings(&secret);
        let (name, spelling) = &all[which.index(all.len())];
        let text = format!("{before}{spelling}\n{after}{spelling}").into_bytes();
        let mut whole = text.clone();
        let found = redactor.redact(&mut whole);
        let applies = *name != "html, named" || !secret.contains(['<', '>']);
        let shown = String::from_utf8_lossy(&whole).contains(spelling.as_str());
        prop_assert!(!applies || found >= 1 && !shown, "{}: {}", name, spelling);

        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &text[w[0]..w[1]]).collect();
        let (out, count) = streamed(&redactor, &pieces);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole));
        prop_assert_eq!(count, found);
    }

    #[test]
    fn text_without_a_secret_passes_unchanged(text in proptest::collection::vec(any::<u8>(), 0..400), cut in any::<prop::sample::Index>()) {
        let redactor = Arc::new(Redactor::new([&b"0123456789-no-such-thing"[..], SECRET.as_bytes()]));
        let cut = cut.index(text.len() + 1);
        prop_assert_eq!(streamed(&redactor, &[&text[..cut], &text[cut..]]), (text, 0));
    }
}
