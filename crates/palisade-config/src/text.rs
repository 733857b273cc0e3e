//! A policy's text, and places in it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;
use std::path::PathBuf;

use palisade_policy::Source;

use crate::error::PolicyError;
use crate::spanned::Spanned;

/// The text of one policy file or profile.
#[derive(Debug)]
pub(crate) struct Text {
    /// What people call it: a short path, or `profile node`.
    pub name: String,
    /// The text.
    pub body: Cow<'static, str>,
    /// Where relative paths start. None for a profile, which names none.
    pub folder: Option<PathBuf>,
    newlines: OnceCell<Vec<usize>>,
    whole: OnceCell<Source>,
}

impl Text {
    pub(crate) fn new(name: String, body: Cow<'static, str>, folder: Option<PathBuf>) -> Self {
        Self {
            name,
            body,
            folder,
            newlines: OnceCell::new(),
            whole: OnceCell::new(),
        }
    }

    /// Whether this is a built-in profile.
    pub(crate) fn is_profile(&self) -> bool {
        self.folder.is_none()
    }

    /// How a rule at this place is named in decisions.
    pub(crate) fn source(&self, span: &Range<usize>) -> Source {
        if self.is_profile() {
            return self
                .whole
                .get_or_init(|| Source::new(self.name.as_str()))
                .clone();
        }
        Source::new(format!("{}:{}", self.name, self.line(span.start)))
    }

    /// The source of a spanned value.
    pub(crate) fn source_of<T>(&self, value: &Spanned<T>) -> Source {
        self.source(&value.span())
    }

    /// An error about this place.
    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self, span, message.into())
    }

    /// An error about a spanned value.
    pub(crate) fn wrong<T>(&self, value: &Spanned<T>, message: impl Into<String>) -> PolicyError {
        self.error(value.span(), message)
    }

    /// The line of an offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.newlines().partition_point(|newline| *newline < offset) + 1
    }

    /// Where a line starts, and its text.
    pub(crate) fn line_text(&self, line: usize) -> (usize, &str) {
        let newlines = self.newlines();
        let start = line
            .checked_sub(2)
            .and_then(|before| newlines.get(before))
            .map_or(0, |newline| newline + 1);
        let end = newlines.get(line - 1).copied().unwrap_or(self.body.len());
        let text = self.body.get(start..end).unwrap_or("");
        (start, text.strip_suffix('\r').unwrap_or(text))
    }

    fn newlines(&self) -> &[usize] {
        self.newlines
            .get_or_init(|| self.body.match_indices('\n').map(|(at, _)| at).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found() {
        let text = Text::new("t".into(), "a\nbc\r\n\nd".into(), Some("/".into()));
        let lines: Vec<_> = (1..=4).map(|line| text.line_text(line)).collect();
        assert_eq!(lines, [(0, "a"), (2, "bc"), (6, ""), (7, "d")]);
        assert_eq!(
            [0, 1, 2, 4, 6, 7, 8].map(|at| text.line(at)),
            [1, 1, 2, 2, 3, 4, 4]
        );
        assert_eq!(text.source(&(7..8)).as_str(), "t:4");
    }
}
