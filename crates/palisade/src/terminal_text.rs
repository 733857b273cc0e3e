//! Text for people: colours where they are wanted, and nothing an agent wrote that a terminal would obey.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use palisade_workspace::review::is_hidden;

/// Makes text harmless to a terminal: control characters are shown, not sent. Host names and paths in the log come
/// from the agent.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_harmless(text, false, &mut out);
    out
}

/// The same for bytes: those that are no UTF-8 are shown as `\xff`.
pub(crate) fn harmless_bytes(bytes: &[u8]) -> String {
    shown(bytes, false)
}

/// A line of a file: a tab stays what it is.
pub(crate) fn harmless_line(line: &[u8]) -> String {
    shown(line, true)
}

/// Paths named in one line.
const MOST_NAMED: usize = 5;

/// A path as people read it.
pub(crate) fn harmless_path(path: &Path) -> String {
    harmless_bytes(path.as_os_str().as_bytes())
}

/// The first of some paths, and how many more there are.
pub(crate) fn first_paths(paths: &[impl AsRef<Path>]) -> String {
    let named = paths.iter().take(MOST_NAMED);
    let mut names: Vec<String> = named.map(|path| harmless_path(path.as_ref())).collect();
    if let more @ 1.. = paths.len().saturating_sub(MOST_NAMED) {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

fn shown(bytes: &[u8], tabs: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_harmless(chunk.valid(), tabs, &mut out);
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn push_harmless(text: &str, tabs: bool, out: &mut String) {
    for c in text.chars() {
        if (c.is_control() && !(tabs && c == '\t')) || is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// Colours, or none where the output is no terminal or the person said `NO_COLOR`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette(bool);

impl Palette {
    /// For standard output.
    pub(crate) fn for_stdout() -> Self {
        Self(
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        )
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn place(self, text: &str) -> String {
        self.wrap("36", text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a01_what_an_agent_wrote_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[31mb\r\n\u{202e}c"),
            "a\\u{1b}[31mb\\r\\n\\u{202e}c"
        );
        assert_eq!(harmless("b\u{fc}cher.example"), "b\u{fc}cher.example");
        assert_eq!(
            harmless_line(b"\ta\x1b]0;x\x07\xff\r"),
            "\ta\\u{1b}]0;x\\u{7}\\xff\\r"
        );
        assert_eq!(
            harmless_bytes("a\tb\u{e0041}".as_bytes()),
            "a\\tb\\u{e0041}"
        );
    }
}
