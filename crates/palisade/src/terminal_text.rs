//! Text for people: colours where they are wanted, and nothing an agent wrote that a terminal would obey.

use std::io::IsTerminal;

/// Makes text harmless to a terminal: control characters are shown, not sent. Host names and paths in the log come
/// from the agent.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let bidi = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || bidi {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
    }
    out
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
    }
}
