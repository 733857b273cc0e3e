//! Paths and path patterns: the text before the first line feed is a path, the rest a pattern.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_policy::{PathPattern, RequestPath};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |b| *b == b'\n');
    let (sent, pattern) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    let path = RequestPath::parse(sent);
    if let Ok(canonical) = path.canonical() {
        unambiguous(sent, canonical, path.has_encoded_slash());
        if let Ok(pattern) = PathPattern::parse(&String::from_utf8_lossy(pattern)) {
            same_as_reference(&pattern, canonical);
        }
    }
});

fn unambiguous(sent: &[u8], canonical: &str, encoded_slash: bool) {
    let again = RequestPath::parse(canonical.as_bytes());
    assert_eq!(again.canonical(), Ok(canonical), "stable");
    assert!(canonical.starts_with('/') && canonical.is_ascii());
    assert!(
        !canonical
            .bytes()
            .any(|b| b.is_ascii_control() || b"\\;?#".contains(&b))
    );
    let end = sent.iter().position(|b| *b == b'?').unwrap_or(sent.len());
    assert_eq!(
        decoded(canonical.as_bytes()),
        decoded(&sent[..end]),
        "it means what was sent"
    );
    // However often a server decodes and wherever it splits, there is nothing to go up by.
    let mut text = canonical.as_bytes().to_vec();
    for _ in 0..3 {
        text = decoded(&text);
        assert!(std::str::from_utf8(&text).is_ok());
        let mut segments = text[1..].split(|b| matches!(b, b'/' | b'\\'));
        assert!(
            !segments.any(|segment| matches!(segment, b"." | b"..")),
            "{canonical}"
        );
    }
    assert_eq!(encoded_slash, canonical.contains("%2F"));
    assert!(encoded_slash || !canonical.contains("//"));
    assert!(!canonical.contains("%2f") && !canonical.contains("%25"));
    if !canonical.contains('*') {
        let own = PathPattern::parse(canonical).expect("a path is a pattern of itself");
        assert!(own.matches(canonical));
    }
    let all = PathPattern::parse("/**").expect("all paths");
    assert_eq!(all.matches(canonical), !encoded_slash, "{canonical}");
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text
            .get(at + 1..at + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) if text[at] == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// A slow matcher that follows the definition word for word.
fn same_as_reference(pattern: &PathPattern, path: &str) {
    let own = RequestPath::parse(pattern.as_str().as_bytes());
    let Ok(canonical) = own.canonical() else {
        return;
    };
    let wanted: Vec<&str> = canonical[1..].split('/').collect();
    let asked: Vec<&str> = path[1..].split('/').collect();
    // The reference is exponential.
    if wanted.len() > 6 || asked.len() > 8 || canonical.matches('*').count() > 6 || path.len() > 60
    {
        return;
    }
    assert_eq!(
        pattern.matches(path),
        segments(&wanted, &asked),
        "{pattern} on {path}"
    );
}

fn segments(wanted: &[&str], asked: &[&str]) -> bool {
    match (wanted, asked) {
        ([], []) => true,
        (["**", wanted @ ..], _) => {
            let before = |count: usize| !asked[..count].iter().any(|part| part.contains("%2F"));
            (0..=asked.len()).any(|count| before(count) && segments(wanted, &asked[count..]))
        }
        ([one, wanted @ ..], [first, asked @ ..]) => {
            characters(&units(one), &units(first)) && segments(wanted, asked)
        }
        _ => false,
    }
}

/// The characters of a segment; an escape is one.
fn units(segment: &str) -> Vec<&str> {
    let mut rest = segment;
    let mut units = Vec::new();
    while !rest.is_empty() {
        let (unit, after) = rest.split_at(if rest.starts_with('%') { 3 } else { 1 });
        units.push(unit);
        rest = after;
    }
    units
}

fn characters(wanted: &[&str], asked: &[&str]) -> bool {
    match (wanted, asked) {
        ([], []) => true,
        (["*", wanted @ ..], _) => (0..=asked.len())
            .any(|count| !asked[..count].contains(&"%2F") && characters(wanted, &asked[count..])),
        ([one, wanted @ ..], [first, asked @ ..]) => one == first && characters(wanted, asked),
        _ => false,
    }
}
