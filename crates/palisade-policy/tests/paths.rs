//! Paths and globs: whatever a client sends, there is one form of it or an error, and a rule never permits more than it says.

use palisade_policy::{PathPattern, RequestPath};
use proptest::prelude::*;

fn canonical(path: &str) -> Option<String> {
    let parsed = RequestPath::parse(path.as_bytes());
    parsed.canonical().ok().map(str::to_owned)
}

/// Pieces that paths and attacks on them are made of.
const PIECES: [&str; 22] = [
    "/", "/", "/", "a", "b", "admin", "pub", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";x",
    "%00", "%25", "%41", "é", "%c3%a9", " ", "?q=1",
];

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..10)
            .prop_map(|pieces| format!("/{}", pieces.concat())),
        "(?s)/.{0,24}",
        "(?s).{0,24}",
    ]
}

/// How a server that decodes everything, and takes `..` and `\` as some do, would read a path.
fn as_a_lenient_server(path: &str) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits: Vec<u8> = rest.clone().take(2).collect();
        let hex = |b: &u8| char::from(*b).to_digit(16);
        match (byte, digits.as_slice()) {
            (b'%', [high, low]) if hex(high).is_some() && hex(low).is_some() => {
                let value = hex(high).unwrap() * 16 + hex(low).unwrap();
                bytes.push(u8::try_from(value).unwrap());
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut stack: Vec<String> = Vec::new();
    for part in text.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(stack.pop()),
            other => stack.push(other.to_owned()),
        }
    }
    stack
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn p01_the_canonical_form_is_its_own(path in path()) {
        if let Some(first) = canonical(&path) {
            prop_assert_eq!(canonical(&first), Some(first.clone()));
            prop_assert!(first.starts_with('/') && first.is_ascii());
        }
    }

    #[test]
    fn p01_a_judged_path_holds_nothing_that_servers_read_differently(path in path()) {
        if let Some(path) = canonical(&path) {
            let lower = path.to_ascii_lowercase();
            for bad in ["//", "\\", "%5c", ";", "%3b", "%00", "%2e", "%25", "?", "#"] {
                prop_assert!(!lower.contains(bad), "{path} holds {bad}");
            }
            let mut segments = path.split('/').flat_map(|segment| segment.split("%2F"));
            prop_assert!(segments.all(|segment| segment != "." && segment != ".."), "{path}");
        }
    }

    /// The end of it all: what a rule for `/pub/**` lets by is below `/pub` to the most lenient server as well.
    #[test]
    fn p01_no_path_leads_out_of_what_a_rule_permits(path in path()) {
        let permitted = PathPattern::parse("/pub/**").unwrap();
        let sent = format!("/pub{path}");
        for sent in [path, sent] {
            let Some(judged) = canonical(&sent) else { continue };
            if permitted.matches(&judged) {
                let read = as_a_lenient_server(&judged);
                prop_assert_eq!(read.first().map(String::as_str), Some("pub"), "{} as {}", sent, judged);
            }
        }
    }

    /// Patterns of a few segments against paths of a few segments, by the words of the definition.
    #[test]
    fn globs_are_what_they_say(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**", "a*", "*b"]), 1..5),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "aab", "c%2Fd"]), 1..5),
    ) {
        let parsed = PathPattern::parse(&format!("/{}", pattern.join("/"))).unwrap();
        let asked = format!("/{}", path.join("/"));
        prop_assert_eq!(parsed.matches(&asked), by_definition(&pattern, &path), "{} {}", parsed, asked);
    }
}

fn by_definition(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            by_definition(rest, path)
                || matches!(path, [first, more @ ..] if !first.contains("%2F") && by_definition(pattern, more))
        }
        ([glob, rest @ ..], [segment, more @ ..]) => {
            one_segment(glob, segment) && by_definition(rest, more)
        }
        _ => false,
    }
}

fn one_segment(glob: &str, segment: &str) -> bool {
    let Some((before, after)) = glob.split_once('*') else {
        return glob == segment;
    };
    !segment.contains("%2F")
        && segment.len() >= before.len() + after.len()
        && segment.starts_with(before)
        && segment.ends_with(after)
}
