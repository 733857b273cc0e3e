//! The few bytes a spelling can begin with, and the search for them.
//!
//! An encoder either leaves letters and digits alone or escapes them all. So a spelling begins with letters and
//! digits as they are up to the first other character, or with an escape.

use aho_corasick::packed::{self, MatchKind};
use aho_corasick::{AhoCorasick, Input, Span};

use super::form::Form;

/// Finds places where a secret may begin.
pub(super) struct Starts {
    searches: Vec<Search>,
    /// By first byte, the forms that can begin with it (their indices).
    first: Vec<Vec<usize>>,
    longest: usize,
}

enum Search {
    /// Teddy: a few dozen short needles at a time.
    Packed(packed::Searcher),
    /// A processor without the instructions.
    Automaton(AhoCorasick),
}

/// How many needles are searched for at a time. Teddy takes 64, but is faster over a text twice with half of them.
const GROUP: usize = 32;

impl Starts {
    pub(super) fn new(forms: &[Form]) -> Self {
        let mut needles = Vec::new();
        let mut first = vec![Vec::new(); 256];
        for (index, form) in forms.iter().enumerate() {
            for needle in starts_of(form) {
                let own: &mut Vec<usize> = &mut first[usize::from(needle[0])];
                if own.last() != Some(&index) {
                    own.push(index);
                }
                needles.push(needle);
            }
        }
        needles.sort();
        // A needle that begins with another one finds nothing more.
        needles.dedup_by(|next, kept| next.starts_with(kept));
        let groups = needles.len().div_ceil(GROUP).max(1);
        Self {
            searches: needles
                .chunks(needles.len().div_ceil(groups).max(1))
                .map(search)
                .collect(),
            first,
            longest: needles.iter().map(Vec::len).max().unwrap_or(0),
        }
    }

    /// Calls `at` with each place, some of them twice, in no order.
    #[inline]
    pub(super) fn each(&self, text: &[u8], mut at: impl FnMut(usize)) {
        for search in &self.searches {
            let mut from = 0;
            while let Some(start) = search.find(text, from) {
                at(start);
                from = start + 1;
            }
        }
    }

    /// The places at the end of a text that are too close to it for [`Starts::find`] to find them.
    pub(super) fn cut_off(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let first = (text.len() + 1).saturating_sub(self.longest.max(1));
        (first..text.len()).filter(|&at| !self.forms_at(text[at]).is_empty())
    }

    /// The indices of the forms that can begin with a byte.
    #[inline]
    pub(super) fn forms_at(&self, byte: u8) -> &[usize] {
        &self.first[usize::from(byte)]
    }
}

impl Search {
    #[inline]
    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        if from >= text.len() {
            return None;
        }
        let span = Span {
            start: from,
            end: text.len(),
        };
        match self {
            Self::Packed(searcher) => searcher.find_in(text, span).map(|m| m.start()),
            Self::Automaton(automaton) => automaton
                .find(Input::new(text).span(span))
                .map(|m| m.start()),
        }
    }
}

fn search(needles: &[Vec<u8>]) -> Search {
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

/// How many bytes of an unescaped start are searched for: as many as Teddy looks at.
const NEEDLE: usize = 4;

/// How many bytes of an escaped one: there are many escapes and they begin alike, so fewer bytes mean fewer needles.
const ESCAPED_NEEDLE: usize = 3;

fn starts_of(form: &Form) -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    literal_starts(form, &mut Vec::new(), &mut needles);
    for byte in form.literals(0) {
        // Nothing escapes the letters and digits of what is encoded already.
        if form.escapable() && (form.is_plain() || !byte.is_ascii_alphanumeric()) {
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
    let length = ESCAPED_NEEDLE.max(prefix.len() + 1);
    let mut add = |escape: &[u8]| {
        needles.push(prefix.iter().chain(escape).take(length).copied().collect());
    };
    for deeper in [&b"%25"[..], b"&amp;", br"\\\", br"\\u", br"\\x", br"\u00"] {
        add(deeper);
    }
    for number in [b"&#0", b"&#x", b"&#X"] {
        add(number);
    }
    add(format!("&#{byte}").as_bytes());
    add(br"\u00");
    for (high, low) in hex_spellings(byte) {
        add(&[b'%', high, low]);
        add(&[b'\\', b'x', high]);
    }
    if !byte.is_ascii_alphanumeric() {
        add(&[b'\\', byte]);
        add(&[b'\\', b'\\', byte]);
    }
    match byte {
        b'<' => add(b"&lt"),
        b'>' => add(b"&gt"),
        b'"' => add(b"&quot"),
        b'\'' => add(b"&apos"),
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
