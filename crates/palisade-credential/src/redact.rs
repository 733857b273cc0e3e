//! Taking secrets out of what comes back.
//!
//! A server that echoes a request (a debug endpoint, an error page, `TRACE`) would hand the agent the very secret it
//! must not see. A [`Redactor`] finds a secret in the spellings that encoders give it and writes as many `*` over
//! it, so no length field has to change.
//!
//! Found are: the bytes themselves, base64 (standard and URL alphabet, at any of the three alignments, wrapped in
//! lines or not) and hexadecimal; each of these again with any character percent-encoded, JSON-escaped or written as an
//! HTML reference, also a few levels deep. Not found is what no honest encoder does (a reversed or encrypted echo): a
//! server that means to betray a credential it was given can do so.
//!
//! How: a SIMD search finds the few bytes a spelling can begin with, then a matcher reads on from there. The search
//! holds four bytes of a secret at most; the secret itself lives in wiped memory only.

mod form;
mod start;

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use form::Form;
use start::Starts;

/// Finds the secrets of one credential in bytes and replaces them by as many `*`.
pub struct Redactor {
    forms: Vec<Form>,
    starts: Starts,
}

impl Redactor {
    /// Fewest bytes of a secret that is looked for in all its spellings. A shorter one is looked for as it is: its
    /// encoded forms are so short that they would be found in honest content. (A credential with so short a secret
    /// is refused, see [`Prepared::new`](crate::Prepared::new).)
    pub const MIN_SECRET: usize = 8;

    /// A redactor of these secrets. An empty one is passed over.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            forms.extend(Form::all_of(secret));
        }
        Self {
            starts: Starts::new(&forms),
            forms,
        }
    }

    /// Redacts bytes that are complete (the value of a header field). Returns how many times a secret was found;
    /// what overlaps (a secret that is part of another) counts as one.
    pub fn redact(&self, bytes: &mut [u8]) -> usize {
        let found = self.find(bytes).secrets;
        let (mut count, mut covered) = (0, 0);
        for range in found {
            count += usize::from(range.start >= covered);
            covered = covered.max(range.end);
            bytes[range].fill(STAR);
        }
        count
    }

    /// A redaction of a body that comes in pieces.
    pub fn stream(self: &Arc<Self>) -> RedactStream {
        RedactStream {
            redactor: Arc::clone(self),
            held: Zeroizing::new(Vec::new()),
            covered: 0,
        }
    }

    /// Reads the text through.
    fn find(&self, text: &[u8]) -> Found {
        let mut found = Found {
            secrets: Vec::new(),
            open: text.len(),
        };
        self.starts
            .each(text, |start| self.read(text, start, &mut found));
        found.secrets.sort_by_key(|range| (range.start, range.end));
        for start in self.starts.cut_off(text) {
            self.read_open(text, start, &mut found);
        }
        found
    }

    /// Reads at a place.
    fn read(&self, text: &[u8], start: usize, found: &mut Found) {
        let mut end = None;
        for &form in self.starts.forms_at(text[start]) {
            let reading = self.forms[form].read(text, start);
            end = end.max(reading.end);
            if reading.open {
                found.open = found.open.min(start);
            }
        }
        if let Some(end) = end {
            found.secrets.push(start..end);
        }
    }

    fn read_open(&self, text: &[u8], start: usize, found: &mut Found) {
        let mut forms = self.starts.forms_at(text[start]).iter();
        if start < found.open && forms.any(|&form| self.forms[form].read(text, start).open) {
            found.open = start;
        }
    }
}

/// What was found in a text.
struct Found {
    /// Where secrets stand, by their starts. They may overlap.
    secrets: Vec<Range<usize>>,
    /// Where the first one begins that may go on behind the end of the text.
    open: usize,
}

/// What stands where a secret stood.
const STAR: u8 = b'*';

/// The redaction of one body. It holds back only what may be the beginning of a secret: text that cannot be one (the
/// blank line after a server-sent event, for example) passes at once.
pub struct RedactStream {
    redactor: Arc<Redactor>,
    held: Zeroizing<Vec<u8>>,
    /// How many of the held bytes belong to a secret that began before them.
    covered: usize,
}

impl RedactStream {
    /// Takes the next piece and appends to `out` what is settled. Returns how many secrets were found in that.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> usize {
        self.take(data, out, false)
    }

    /// The end of the body: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> usize {
        self.take(&[], out, true)
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn take(&mut self, data: &[u8], out: &mut Vec<u8>, last: bool) -> usize {
        let from = out.len();
        out.extend_from_slice(&self.held);
        out.extend_from_slice(data);
        let text = &mut out[from..];

        let found = self.redactor.find(text);
        let open = if last { text.len() } else { found.open };
        self.held = Zeroizing::new(text[open..].to_vec());
        text[..self.covered].fill(STAR);
        let mut covered = self.covered;
        let mut count = 0;
        for range in found.secrets {
            // One that begins in the held part will be found again with what follows.
            if range.start < open {
                count += usize::from(range.start >= covered);
                covered = covered.max(range.end);
                text[range].fill(STAR);
            }
        }
        self.covered = covered.saturating_sub(open);
        // What is held back is wiped here, for it may be half a secret and the buffer is not ours.
        text[open..].fill(0);
        out.truncate(from + open);
        count
    }
}

#[cfg(test)]
mod tests;
