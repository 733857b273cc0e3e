//! Names and characters that deceive.

use std::ffi::OsStr;
use std::path::Path;

/// Why the last part of a path reads as something else, if it does.
pub(super) fn deceives(path: &Path, other_spelling: Option<&OsStr>) -> Option<String> {
    let name = path.file_name()?;
    if let Some(other) = other_spelling {
        let other = other.to_string_lossy();
        return Some(format!(
            "differs from {other} in upper and lower case alone"
        ));
    }
    let Some(text) = name.to_str() else {
        return Some("the name is not UTF-8".into());
    };
    if text.chars().any(|c| c.is_control() || is_hidden(c)) {
        return Some("the name holds characters that are not seen".into());
    }
    if text.trim() != text {
        return Some("the name begins or ends with a space".into());
    }
    if text.ends_with('.') {
        return Some("the name ends with a dot".into());
    }
    mixes_scripts(text).then(|| "the name mixes letters of scripts that look alike".into())
}

/// The first line with a character that is not seen and that the old text has not.
pub(super) fn hidden_text(old: &[u8], new: &[u8]) -> Option<usize> {
    // All of them lie beyond ASCII.
    if new.is_ascii() || memchr::memchr(0, new).is_some() {
        return None;
    }
    let hidden = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        text.chars().filter(|c| reorders(*c)).count()
    };
    if hidden(new) <= hidden(old) {
        return None;
    }
    let mut lines = new.split(|byte| *byte == b'\n');
    lines.position(|line| hidden(line) > 0).map(|at| at + 1)
}

/// Characters that show nothing: marks of direction, joiners, tags, spaces without width.
pub fn is_hidden(c: char) -> bool {
    reorders(c)
        || matches!(
            c,
            '\u{200b}'
                ..='\u{200d}'
                    | '\u{2028}'
                    | '\u{2029}'
                    | '\u{115f}'
                    | '\u{1160}'
                    | '\u{3164}'
                    | '\u{feff}'
                    | '\u{ffa0}'
        )
}

/// Those that have no place in a source file: they reorder it (CVE-2021-42574), or hide text in it (tag characters).
/// Joiners are part of emoji and of several scripts, a byte order mark begins a file.
fn reorders(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

fn mixes_scripts(text: &str) -> bool {
    let latin = text.chars().any(|c| c.is_ascii_alphabetic());
    // Greek, Cyrillic, Armenian, Cherokee, and Latin in full width.
    let alike = |c: char| matches!(c, '\u{370}'..='\u{52f}' | '\u{531}'..='\u{587}' | '\u{13a0}'..='\u{13ff}' | '\u{ff21}'..='\u{ff5a}');
    latin && text.chars().any(alike)
}
