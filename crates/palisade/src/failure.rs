//! What a person sees when palisade itself fails, and the exit codes, which are API.

use std::fmt::Display;
use std::process::ExitCode;

/// palisade itself failed; nothing of the agent ran, or its session had to be ended.
pub(crate) const FAILED: u8 = 125;
/// The agent's program exists and cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The agent's program was not found inside the boundary.
pub(crate) const NOT_FOUND: u8 = 127;
/// `palisade check` and `palisade log verify`: the answer is no.
pub(crate) const NO: u8 = 1;

/// A failure with what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure of palisade itself.
    pub(crate) fn new(message: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: None,
            code: FAILED,
        }
    }

    /// Adds what the person can do.
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Changes the exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What went wrong, without what to do about it.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints it and yields the exit code.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("palisade: error: {}", self.message);
        if let Some(hint) = self.hint {
            eprintln!("  help: {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}
