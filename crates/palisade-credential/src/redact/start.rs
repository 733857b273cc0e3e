//! The few bytes a spelling can begin with, and the search for them.
//!
//! An encoder either leaves letters and digits alone or escapes them all. So a spelling begins with letters and
//! digits as they are up to the first other character, or with an escape.

use aho_corasick::packed::{self, MatchKind};
use aho_corasick::{AhoCorasick, Input, Span};

use super::form::Form;

/// Finds places where a secret may begin.
pub(super) struct Starts {
    search: Search,
    first: [bool; 256],
}

enum Search {
    Nothing,
    /// Teddy: a few dozen short needles at a time.
    Packed(packed::Searcher),
    /// More needles than that, or a processor without the instructions.
    Automaton(AhoCorasick),
}

impl Starts {
    pub(super) fn new(forms: &[Form]) -> Self {
        let mut needles: Vec<Vec<u8>> = forms.iter().flat_map(starts_of).collect();
        needles.sort();
        // A needle that begins with another one finds nothing more.
        needles.dedup_by(|next, kept| next.starts_with(kept));
        let mut first = [false; 256];
        for needle in &needles {
            first[usize::from(needle[0])] = true;
        }
        Self {
            search: search(&needles),
            first,
        }
    }

    /// The next place at or after `at`.
    #[inline]
    pub(super) fn find(&self, text: &[u8], at: usize) -> Option<usize> {
        if at >= text.len() {
            return None;
        }
        let span = Span {
            start: at,
            end: text.len(),
        };
        match &self.search {
            Search::Nothing => None,
            Search::Packed(searcher) => searcher.find_in(text, span).map(|m| m.start()),
            Search::Automaton(automaton) => automaton
                .find(Input::new(text).span(span))
                .map(|m| m.start()),
        }
    }

    /// Whether a spelling can begin with this byte.
    pub(super) fn may_begin_with(&self, byte: u8) -> bool {
        self.first[usize::from(byte)]
    }
}

fn search(needles: &[Vec<u8>]) -> Search {
    if needles.is_empty() {
        return Search::Nothing;
    }
    let packed = packed::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .builder()
        .extend(needles)
        .build();
    if let Some(searcher) = packed {
        return Search::Packed(searcher);
    }
    match AhoCorasick::new(needles) {
        Ok(automaton) => Search::Automaton(automaton),
        // It fails only beyond 2³¹ states; these are a few hundred.
        Err(error) => unreachable!("a few short needles: {error}"),
    }
}

/// How many bytes of a spelling are searched for: as many as Teddy looks at.
const NEEDLE: usize = 4;

fn starts_of(form: &Form) -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    literal_starts(form, &mut Vec::new(), &mut needles);
    if form.escapable() {
        for byte in form.literals(0) {
            escapes_of(byte, &[], &mut needles);
        }
    }
    needles
}

/// The starts that are not escaped from the first character on.
fn literal_starts(form: &Form, prefix: &mut Vec<u8>, needles: &mut Vec<Vec<u8>>) {
    let unit = prefix.len();
    if unit == NEEDLE || unit == form.len() {
        needles.push(prefix.clone());
        return;
    }
    for byte in form.literals(unit) {
        if unit > 0 && form.escapable() && !byte.is_ascii_alphanumeric() {
            escapes_of(byte, prefix, needles);
        }
        prefix.push(byte);
        literal_starts(form, prefix, needles);
        prefix.pop();
    }
}

/// The starts of all escapes of a byte, behind a prefix.
fn escapes_of(byte: u8, prefix: &[u8], needles: &mut Vec<Vec<u8>>) {
    let mut add = |escape: &[u8]| {
        needles.push(prefix.iter().chain(escape).copied().collect());
    };
    add(b"%25");
    add(b"&amp;");
    add(b"\\\\");
    add(b"&#0");
    add(b"&#x0");
    add(b"&#X0");
    for (high, low) in hex_spellings(byte) {
        add(&[b'%', high, low]);
        add(&[b'\\', b'u', b'0', b'0', high, low]);
        add(&[b'\\', b'x', high, low]);
        add(&[b'&', b'#', b'x', high]);
        add(&[b'&', b'#', b'X', high]);
    }
    add(format!("&#{byte}").as_bytes());
    if !byte.is_ascii_alphanumeric() {
        add(&[b'\\', byte]);
    }
    match byte {
        b'<' => add(b"&lt"),
        b'>' => add(b"&gt"),
        b'"' => add(b"&qu"),
        b'\'' => add(b"&ap"),
        _ => {}
    }
}

/// The two hexadecimal digits of a byte in each mixture of cases.
fn hex_spellings(byte: u8) -> Vec<(u8, u8)> {
    let cases = |value: u8| {
        let digit = b"0123456789abcdef"[usize::from(value)];
        let upper = digit.to_ascii_uppercase();
        if upper == digit {
            vec![digit]
        } else {
            vec![digit, upper]
        }
    };
    let mut spellings = Vec::new();
    for high in cases(byte >> 4) {
        for low in cases(byte & 15) {
            spellings.push((high, low));
        }
    }
    spellings
}
