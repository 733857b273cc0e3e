//! Lines that a person can paste into a shell.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_oci::Line;

/// The line that starts a container: what tells the engine's program where to find the engine, the program, its words.
pub(in super::super) fn engine_line(of: &Line) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    for name in of.engine.variables() {
        if let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) {
            line.extend(name.as_bytes());
            line.push(b'=');
            line.extend(quoted(&value)?);
            line.push(b' ');
        }
    }
    let words = of.words.iter().map(OsStr::new);
    line.extend(joined(
        [of.engine.program().as_ref()].into_iter().chain(words),
    )?);
    line.push(b'\n');
    Ok(line)
}

/// The line that runs these words in a folder.
pub(in super::super) fn line_in<'a>(
    folder: &Path,
    words: impl IntoIterator<Item = &'a OsStr>,
) -> io::Result<Vec<u8>> {
    let mut line = b"cd ".to_vec();
    line.extend(quoted(folder.as_os_str())?);
    line.extend(b" && ");
    line.extend(joined(words)?);
    line.push(b'\n');
    Ok(line)
}

fn joined<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> io::Result<Vec<u8>> {
    let words: io::Result<Vec<Vec<u8>>> = words.into_iter().map(quoted).collect();
    Ok(words?.join(&b' '))
}

/// What a terminal would not take for text is refused, as a zero byte is. A line of its own it takes within quotes.
fn quoted(word: &OsStr) -> io::Result<Vec<u8>> {
    let bytes = word.as_bytes();
    let refused = || {
        let shown = crate::terminal_text::harmless_bytes(bytes);
        io::Error::other(format!(
            "`{shown}` holds a control character, and cannot be pasted"
        ))
    };
    if bytes.iter().any(|b| b.is_ascii_control() && *b != b'\n') {
        return Err(refused());
    }
    let quoted = shlex::bytes::try_quote(bytes).map_err(|_| refused())?;
    Ok(quoted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let words = [
            "a b",
            "it's",
            "two\nlines",
            "$(x) `y` \"z\" \\",
            "",
            "~",
            "!",
            "*",
        ];
        let line = joined(words.map(OsStr::new)).expect("printable");
        let line = String::from_utf8(line).expect("text");
        assert_eq!(shlex::split(&line).expect("words"), words);
        let refused = joined([OsStr::new("a\tb")]).expect_err("a key of its own");
        assert!(refused.to_string().contains("a\\tb"), "{refused}");
    }
}
