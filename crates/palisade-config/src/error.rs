//! What is wrong with a policy, and where.

use std::fmt;
use std::ops::Range;

use crate::secret_like::blank_secrets;
use crate::text::Text;

/// The longest line shown whole. A longer one is cut round the place in question: a terminal is no place for a minified file.
const EXCERPT_LIMIT: usize = 160;

/// One thing that is wrong with a policy.
///
/// `Display` renders it over several lines, as compilers do, with the line it stands in and a caret below. Control
/// characters of a file are replaced and credentials in URLs blanked, since the file may come from a stranger's
/// repository and the output goes to a terminal.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyError(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    message: String,
    hint: Option<String>,
    place: Place,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Text {
        file: String,
        line: usize,
        column: usize,
        /// The line, cleaned, and how many columns stand before the caret and how many it covers.
        excerpt: String,
        before: usize,
        width: usize,
    },
    /// An option or argument of the command line.
    Argument(String),
}

impl PolicyError {
    pub(crate) fn at(text: &Text, span: Range<usize>, message: String) -> Self {
        let start = span.start.min(text.body.len());
        let line = text.line(start);
        let (offset, content) = text.line_text(line);
        let from = floor_boundary(content, start.saturating_sub(offset));
        let to = floor_boundary(content, span.end.saturating_sub(offset)).max(from);
        let column = content[..from].chars().count();
        let width = content[from..to].chars().count().max(1);
        let shown: Vec<char> = visible(content).chars().collect();
        let first = column.saturating_sub(EXCERPT_LIMIT / 2);
        let first = if shown.len() > EXCERPT_LIMIT {
            first
        } else {
            0
        };
        let excerpt: String = shown.iter().skip(first).take(EXCERPT_LIMIT).collect();
        let room = excerpt.chars().count().saturating_sub(column - first);
        Self::new(
            message,
            Place::Text {
                file: text.name.clone(),
                line,
                column: column + 1,
                excerpt,
                before: column - first,
                width: width.min(room.max(1)),
            },
        )
    }

    pub(crate) fn argument(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(message.into(), Place::Argument(argument.into()))
    }

    fn new(message: String, place: Place) -> Self {
        Self(Box::new(Parts {
            message,
            hint: None,
            place,
        }))
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn hint_if(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same place with these words.
    #[must_use]
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> String {
        visible(&self.0.message)
    }

    /// What to do about it, where that is known.
    pub fn advice(&self) -> Option<String> {
        self.0.hint.as_deref().map(visible)
    }

    /// File, line and column (both from 1), where it stands in a file.
    pub fn position(&self) -> Option<(&str, usize, usize)> {
        match &self.0.place {
            Place::Text {
                file, line, column, ..
            } => Some((file, *line, *column)),
            Place::Argument(_) => None,
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", visible(&self.0.message))?;
        let gutter = match &self.0.place {
            Place::Argument(argument) => {
                write!(f, "  --> {}", visible(argument))?;
                2
            }
            Place::Text {
                file,
                line,
                column,
                excerpt,
                before,
                width,
            } => {
                let number = line.to_string();
                let gutter = number.len() + 1;
                let indent = "";
                let file = visible(file);
                writeln!(f, "{:>1$}> {file}:{line}:{column}", "--", gutter + 1)?;
                writeln!(f, "{indent:gutter$}|")?;
                writeln!(f, "{number} | {excerpt}")?;
                write!(
                    f,
                    "{indent:gutter$}| {indent:before$}{}",
                    "^".repeat(*width)
                )?;
                gutter
            }
        };
        if let Some(hint) = &self.0.hint {
            write!(f, "\n{:gutter$}= help: {}", "", visible(hint))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PolicyError {}

/// Text that is safe on a terminal: control and bidirectional formatting characters replaced, the user part of URLs and what
/// looks like a token blanked. The number of characters stays the same, so that columns stay right.
pub(crate) fn visible(text: &str) -> String {
    let clean = text.chars().map(|c| match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    blank_secrets(blank_user_parts(clean.collect()))
}

fn blank_user_parts(text: String) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/' | '`'))
            .unwrap_or(after.len());
        rest = after;
        if let Some(user) = after[..end].rfind('@') {
            shown.extend(after[..user].chars().map(|_| '*'));
            rest = &after[user..];
        }
    }
    shown.push_str(rest);
    shown
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &'static str) -> Text {
        Text::new("p.toml".into(), body.into(), Some("/".into()))
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = text("a = 1\nbb = \"\u{e4}x\"\n")
            .error(11..16, "too bad")
            .hint("do better");
        assert_eq!(
            error.to_string(),
            "too bad\n --> p.toml:2:6\n  |\n2 | bb = \"\u{e4}x\"\n  |      ^^^^\n  = help: do better"
        );
        assert_eq!(error.position(), Some(("p.toml", 2, 6)));
    }

    #[test]
    fn a_file_cannot_write_to_the_terminal() {
        let error = text("x = \"\u{1b}[2J\u{202e}\"\n").error(4..9, "\u{1b}]0;t\u{7}");
        assert!(!error.to_string().contains(['\u{1b}', '\u{7}', '\u{202e}']));
        assert!(error.to_string().contains("x = \"\u{fffd}[2J\u{fffd}\""));
    }

    #[test]
    fn credentials_in_urls_are_blanked() {
        assert_eq!(
            visible("p = \"http://u:p@h:1\" http://h/@"),
            "p = \"http://***@h:1\" http://h/@"
        );
        assert_eq!(visible("http://u:a@b@h"), "http://*****@h");
        assert_eq!(visible("a://b c://d@e"), "a://b c://*@e");
    }

    #[test]
    fn a_long_line_is_cut_round_the_place() {
        let body: &'static str =
            Box::leak(format!("{}X{}", "a".repeat(500), "b".repeat(500)).into_boxed_str());
        let error = text(body).error(500..501, "here").to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines[3].chars().count(), EXCERPT_LIMIT + 4);
        assert_eq!(lines[3].find('X'), lines[4].find('^'));
    }

    #[test]
    fn places_past_the_end_do_not_panic() {
        for span in [0..0, 5..9, 2..1000, 3..3] {
            let _ = text("a\n\u{e4}").error(span, "x").to_string();
        }
        let _ = text("").error(0..0, "x").to_string();
    }
}
