//! Bytes of sources, made fit for a secret or for an error message.

/// Longest piece of somebody else's text in an error: one line of a terminal, twice.
const MAX_QUOTED: usize = 160;

/// Takes off one line end, which editors and `echo` add. In place, so that no copy is left.
pub(super) fn without_line_end(mut bytes: zeroize::Zeroizing<Vec<u8>>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    std::mem::take(&mut *bytes)
}

/// The first line of what a program or a library said, fit for a terminal and a log; empty if there is none.
pub(super) fn first_line(text: &[u8]) -> String {
    let line = text
        .split(|b| matches!(b, b'\n' | b'\r'))
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    let mut line: String = String::from_utf8_lossy(line.trim_ascii())
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(MAX_QUOTED + 1)
        .collect();
    if line.chars().count() > MAX_QUOTED {
        line.pop();
        line.push('…');
    }
    line
}

/// Whether a message repeats something of an output: then it is not fit to be shown.
pub(super) fn repeats(message: &[u8], output: &[u8]) -> bool {
    /// Shorter words are met by chance.
    const WORD: usize = 6;
    output
        .split(u8::is_ascii_whitespace)
        .filter(|word| word.len() >= WORD)
        .any(|word| message.windows(word.len()).any(|part| part == word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    fn one_line_end_is_cut() {
        let cut = |text: &str| without_line_end(Zeroizing::new(text.as_bytes().to_vec()));
        assert_eq!(cut("a\n"), b"a");
        assert_eq!(cut("a\r\n"), b"a");
        assert_eq!(cut("a"), b"a");
        assert_eq!(cut("a\n\n"), b"a\n");
        assert_eq!(cut(""), b"");
    }

    #[test]
    fn a_quoted_line_is_short_and_harmless() {
        assert_eq!(
            first_line(b"\n  gpg: \x1b[31mno key\nmore"),
            "gpg: ?[31mno key"
        );
        assert_eq!(first_line(b""), "");
        let long = first_line(&[b'x'; 1000]);
        assert_eq!(long.chars().count(), MAX_QUOTED + 1);
    }

    #[test]
    fn a_message_that_repeats_output_is_seen() {
        assert!(repeats(b"bad token hunter2hunter2!", b"hunter2hunter2\n"));
        assert!(!repeats(b"no such entry", b"hunter2hunter2\n"));
        assert!(!repeats(b"no such entry", b"no"));
    }
}
