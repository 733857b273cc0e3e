//! One spelling of a secret, and how it is read where each of its characters may be escaped in a way of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::Redactor;

/// Which characters stand for one another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// Each byte for itself.
    Plain,
    /// Each byte for itself, and none of them escaped: what is done for very short secrets.
    Exact,
    /// `+` and `-`, `/` and `_`; line breaks between characters.
    Base64,
    /// Both cases.
    Hexadecimal,
}

/// A secret as one encoder writes it.
pub(super) struct Form {
    units: Zeroizing<Vec<u8>>,
    alphabet: Alphabet,
}

/// What was read at one place.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    /// The secret stands there and ends here.
    pub(super) end: Option<usize>,
    /// It may stand there: the text ends before that is clear.
    pub(super) open: bool,
}

impl Form {
    /// All spellings of a secret.
    pub(super) fn all_of(secret: &[u8]) -> Vec<Self> {
        if secret.is_empty() {
            return Vec::new();
        }
        let form = |units: Vec<u8>, alphabet| Self {
            units: Zeroizing::new(units),
            alphabet,
        };
        if secret.len() < Redactor::MIN_SECRET {
            return vec![form(secret.to_vec(), Alphabet::Exact)];
        }
        vec![
            form(secret.to_vec(), Alphabet::Plain),
            form(base64_core(secret, 0), Alphabet::Base64),
            form(base64_core(secret, 1), Alphabet::Base64),
            form(base64_core(secret, 2), Alphabet::Base64),
            form(hexadecimal(secret), Alphabet::Hexadecimal),
        ]
    }

    /// Number of characters when none is escaped.
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// The bytes that stand for a character unescaped.
    pub(super) fn literals(&self, unit: usize) -> impl Iterator<Item = u8> {
        let byte = self.units[unit];
        let other = self.other(byte);
        [byte, other]
            .into_iter()
            .take(if byte == other { 1 } else { 2 })
    }

    #[inline]
    fn is_literal(&self, unit: usize, byte: u8) -> bool {
        let own = self.units[unit];
        byte == own || byte == self.other(own)
    }

    /// The byte that stands for the same as this one; this one itself if there is no other.
    #[inline]
    fn other(&self, byte: u8) -> u8 {
        match (self.alphabet, byte) {
            (Alphabet::Plain, b' ') => b'+',
            (Alphabet::Base64, b'+') => b'-',
            (Alphabet::Base64, b'/') => b'_',
            (Alphabet::Hexadecimal, byte) => byte.to_ascii_uppercase(),
            _ => byte,
        }
    }

    /// Whether its characters may be escaped.
    pub(super) fn escapable(&self) -> bool {
        self.alphabet != Alphabet::Exact
    }

    /// Whether it is the secret itself and not an encoded form of it.
    pub(super) fn is_plain(&self) -> bool {
        self.alphabet == Alphabet::Plain
    }

    /// Reads it in `text` at `at`.
    #[inline]
    pub(super) fn read(&self, text: &[u8], mut at: usize) -> Reading {
        for unit in 0..self.units.len() {
            // The usual case first: a character that is no escape and no line break.
            match text.get(at) {
                Some(&byte) if self.is_literal(unit, byte) && !is_special(byte) => at += 1,
                Some(&byte) if !is_special(byte) => return Reading::default(),
                _ => return self.read_on(unit, text, at),
            }
        }
        Reading {
            end: Some(at),
            open: false,
        }
    }

    /// Reads from one character on, along all ways it can be read.
    fn read_on(&self, unit: usize, text: &[u8], at: usize) -> Reading {
        let mut places = Ends::default();
        places.add(at);
        for unit in unit..self.units.len() {
            let mut next = Ends {
                open: places.open,
                ..Ends::default()
            };
            for &place in places.as_slice() {
                self.read_unit(unit, text, place, &mut next);
            }
            places = next;
            if places.count == 0 {
                break;
            }
        }
        Reading {
            end: places.as_slice().iter().max().copied(),
            open: places.open,
        }
    }

    /// Reads one character at a place: as itself, or in any of its escapes.
    fn read_unit(&self, unit: usize, text: &[u8], mut at: usize, ends: &mut Ends) {
        if unit > 0 && self.alphabet == Alphabet::Base64 {
            match line_break(&text[at..]) {
                Some(length) => at += length,
                None => ends.open = true,
            }
        }
        let Some(&first) = text.get(at) else {
            ends.open = true;
            return;
        };
        if self.is_literal(unit, first) {
            ends.add(at + 1);
        }
        if !self.escapable() {
            return;
        }
        let rest = &text[at + 1..];
        let is_unit = |byte: u8| self.is_literal(unit, byte);
        let mut escaped = Ends::default();
        match first {
            b'%' => percent(rest, is_unit, &mut escaped),
            b'\\' => backslash(rest, is_unit, &mut escaped),
            b'&' => reference(rest, is_unit, &mut escaped),
            _ => return,
        }
        ends.open |= escaped.open;
        for &length in escaped.as_slice() {
            ends.add(at + 1 + length);
        }
    }
}

/// Whether an escape or a line break begins with this byte.
#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&' | b'\r' | b'\n')
}

/// How many levels of the same escape are seen through (`%252573`, `\\\\u0073`).
const NESTED: usize = 3;

/// Most digits of a character reference, leading zeroes included.
const DIGITS: usize = 6;

/// A byte such as `%` can be read as itself and as the start of an escape; this many ways are followed side by side.
/// Nearly all of them end at the next character.
const WAYS: usize = 16;

/// The places where a character may end.
#[derive(Default)]
struct Ends {
    places: [usize; WAYS],
    count: usize,
    open: bool,
}

impl Ends {
    fn add(&mut self, place: usize) {
        if !self.as_slice().contains(&place) && self.count < self.places.len() {
            self.places[self.count] = place;
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[usize] {
        &self.places[..self.count]
    }
}

/// `73` or, a level deeper, `2573`: what follows a percent sign.
fn percent(rest: &[u8], is_unit: impl Fn(u8) -> bool, ends: &mut Ends) {
    for level in 0..=NESTED {
        let at = 2 * level;
        if rest.len() < at + 2 {
            // What is there of it has to fit, else nothing is held back for it.
            ends.open |= rest[at..]
                .first()
                .is_none_or(|&digit| digit == b'2' || spells_one(digit, &is_unit));
            return;
        }
        if hex_byte(rest[at], rest[at + 1]).is_some_and(&is_unit) {
            ends.add(at + 2);
        }
        if &rest[at..at + 2] != b"25" {
            return;
        }
    }
}

/// Whether a byte that fits can begin with this hexadecimal digit.
fn spells_one(digit: u8, is_unit: impl Fn(u8) -> bool) -> bool {
    (b'0'..=b'9')
        .chain(b'a'..=b'f')
        .filter_map(|low| hex_byte(digit, low))
        .any(is_unit)
}

/// `u0073`, `x73` or `/`, behind more backslashes on deeper levels: what follows a backslash.
fn backslash(rest: &[u8], is_unit: impl Fn(u8) -> bool, ends: &mut Ends) {
    // No further than that, or a long run of them would be counted anew from each of its places.
    let near = rest.iter().take(MOST_BACKSLASHES + 1);
    let more = near.take_while(|&&b| b == b'\\').count();
    if is_unit(b'\\') {
        // A backslash itself, written as two, four or eight.
        for count in [1, 3, 7] {
            if more >= count {
                ends.add(count);
            } else {
                ends.open |= more == rest.len();
            }
        }
    }
    if more > MOST_BACKSLASHES {
        return;
    }
    let Some(&kind) = rest.get(more) else {
        ends.open = true;
        return;
    };
    let after = &rest[more + 1..];
    let digits = match kind {
        b'u' => match after {
            [b'0', b'0', digits @ ..] => (3, digits),
            [] | [b'0'] => {
                ends.open = true;
                return;
            }
            _ => return,
        },
        b'x' => (1, after),
        kind if !kind.is_ascii_alphanumeric() && kind != b'\\' && is_unit(kind) => {
            ends.add(more + 1);
            return;
        }
        _ => return,
    };
    match digits {
        (head, [high, low, ..]) if hex_byte(*high, *low).is_some_and(&is_unit) => {
            ends.add(more + head + 2);
        }
        (_, []) => ends.open = true,
        (_, [high]) => ends.open |= spells_one(*high, is_unit),
        _ => {}
    }
}

/// Three levels of JSON in JSON: seven backslashes before the one character.
const MOST_BACKSLASHES: usize = 7;

/// `#115;`, `#x73;` or `lt;`, behind `amp;` on deeper levels: what follows an ampersand.
fn reference(rest: &[u8], is_unit: impl Fn(u8) -> bool, ends: &mut Ends) {
    let mut at = 0;
    for _ in 0..=NESTED {
        let here = &rest[at..];
        for (name, byte) in NAMED {
            if here.starts_with(name) && is_unit(byte) {
                ends.add(at + name.len());
            } else if name.starts_with(here) && (is_unit(byte) || byte == b'&') {
                ends.open = true;
            }
        }
        if let Some(number) = here.strip_prefix(b"#") {
            match numbered(number) {
                Some((length, byte)) if byte.is_some_and(&is_unit) => ends.add(at + 1 + length),
                Some(_) => {}
                None => ends.open = true,
            }
        }
        if !here.starts_with(b"amp;") {
            return;
        }
        at += 4;
    }
}

/// The five names every HTML encoder writes, without `&`.
const NAMED: [(&[u8], u8); 5] = [
    (b"amp;", b'&'),
    (b"lt;", b'<'),
    (b"gt;", b'>'),
    (b"quot;", b'"'),
    (b"apos;", b'\''),
];

/// The length and the byte of a numbered reference behind `&#`. None: it goes on behind the end of the text.
fn numbered(text: &[u8]) -> Option<(usize, Option<u8>)> {
    let (radix, head) = match text.first()? {
        b'x' | b'X' => (16, 1),
        _ => (10, 0),
    };
    let mut value: u32 = 0;
    for (index, &byte) in text[head..].iter().enumerate() {
        if byte == b';' {
            let byte = u8::try_from(value).ok().filter(|_| index > 0);
            return Some((head + index + 1, byte));
        }
        let Some(digit) = char::from(byte).to_digit(radix) else {
            return Some((0, None));
        };
        value = value * radix + digit;
        if index == DIGITS {
            return Some((0, None));
        }
    }
    None
}

/// The length of a line break at the start, 0 if there is none. None: the text ends before that is clear.
fn line_break(text: &[u8]) -> Option<usize> {
    let whole: [&[u8]; 4] = [b"\r\n", b"\n", b"\\r\\n", b"\\n"];
    if !matches!(text.first(), Some(b'\r' | b'\n' | b'\\')) {
        return Some(0);
    }
    if let Some(found) = whole.iter().find(|form| text.starts_with(form)) {
        return Some(found.len());
    }
    if whole.iter().any(|form| form.starts_with(text)) {
        return None;
    }
    Some(0)
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The characters of the base64 of `before` unknown bytes and the secret that depend on the secret alone. One that
/// it shares with a neighbour stays: it tells at most four bits of the secret's first and last byte.
fn base64_core(secret: &[u8], before: usize) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.reserve_exact(secret.len());
    padded.extend_from_slice(secret);
    let mut text = STANDARD_NO_PAD.encode(&*padded).into_bytes();
    text.truncate(padded.len() * 8 / 6);
    text.drain(..(before * 8).div_ceil(6));
    text
}

fn hexadecimal(secret: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    secret
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
