//! Names in a patch, as git writes and reads them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `a/src/main.rs`, or in C's quotes if a byte of it would not survive (git's `core.quotePath`).
pub(super) fn quoted(prefix: &str, path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let mut out = String::with_capacity(prefix.len() + bytes.len() + 2);
    if bytes.iter().all(plain) {
        out.push_str(prefix);
        bytes.iter().for_each(|byte| out.push(char::from(*byte)));
        return out;
    }
    out.push('"');
    out.push_str(prefix);
    bytes.iter().for_each(|byte| escape(*byte, &mut out));
    out.push('"');
    out
}

/// In the lines `---` and `+++`: a name with a space is ended by a tab, or readers would take what follows for a date.
pub(super) fn in_header(prefix: &str, path: &Path) -> String {
    let mut name = quoted(prefix, path);
    if name.contains(' ') && !name.starts_with('"') {
        name.push('\t');
    }
    name
}

fn escape(byte: u8, out: &mut String) {
    let short = match byte {
        0x07 => 'a',
        0x08 => 'b',
        b'\t' => 't',
        b'\n' => 'n',
        0x0b => 'v',
        0x0c => 'f',
        b'\r' => 'r',
        b'"' => '"',
        b'\\' => '\\',
        b' '..=b'~' => return out.push(char::from(byte)),
        _ => {
            // Writing to a string does not fail.
            let _ = write!(out, "\\{byte:03o}");
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn names_are_quoted_as_git_does() {
        for (name, expected) in [
            (&b"src/main.rs"[..], "a/src/main.rs"),
            (b"with space", "a/with space"),
            (b"tab\there", "\"a/tab\\there\""),
            (b"line\nend", "\"a/line\\nend\""),
            (b"quote\"back\\slash", "\"a/quote\\\"back\\\\slash\""),
            (b"\xff\x01", "\"a/\\377\\001\""),
            ("\u{fc}".as_bytes(), "\"a/\\303\\274\""),
        ] {
            assert_eq!(quoted("a/", Path::new(OsStr::from_bytes(name))), expected);
        }
        assert_eq!(in_header("b/", Path::new("with space")), "b/with space\t");
    }
}
