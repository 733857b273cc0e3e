//! What can go wrong with a source. No text in here ever holds a value of one.

use std::fmt;

use palisade_policy::CredentialName;

use crate::definition::Part;
use crate::secret::SecretError;

/// The kind of a failure, fit for the agent's eyes and for deciding when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There is nothing where the source points: no variable, file, program, entry, field.
    Missing,
    /// The source refused us: permissions, a wrong token, a locked keyring. Asking again soon cannot help
    /// and may lock the account out.
    Refused,
    /// The source could not be reached, or ended in an error of its own.
    Unavailable,
    /// It did not answer in time.
    TimedOut,
    /// It answered with something that cannot be a secret.
    Malformed,
}

impl Failure {
    /// A stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
            Self::Malformed => "malformed",
        }
    }
}

/// A source that did not yield a credential: which credential, which source, what happened, what to do.
/// For the person; the agent is told the credential's name and the [`Failure`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    pub(super) credential: CredentialName,
    pub(super) source: String,
    pub(super) failure: Failure,
    pub(super) what: String,
}

impl SourceError {
    /// The credential that was to be fetched.
    pub fn credential(&self) -> &CredentialName {
        &self.credential
    }

    /// The kind of failure.
    pub fn failure(&self) -> Failure {
        self.failure
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            credential,
            source,
            what,
            ..
        } = self;
        write!(f, "credential {credential}: {source} {what}")
    }
}

impl std::error::Error for SourceError {}

/// Why the credentials of a session cannot be prepared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A variable outside holds something that cannot be a secret.
    #[error("credential {credential}: environment variable {variable} cannot be used: {reason}")]
    Variable {
        /// The credential.
        credential: CredentialName,
        /// The variable.
        variable: String,
        /// Why.
        reason: SecretError,
    },
    /// Two definitions have one name.
    #[error("credential {0} is defined twice")]
    Twice(CredentialName),
    /// Two placeholders are meant for one variable inside.
    #[error("variable {variable} inside is to hold the placeholders of both {first} and {second}")]
    VariableTwice {
        /// The variable inside.
        variable: String,
        /// The one that has it.
        first: CredentialName,
        /// The other one.
        second: CredentialName,
    },
    /// A definition that cannot work.
    #[error("credential {credential}: {reason}")]
    Definition {
        /// The credential.
        credential: CredentialName,
        /// Why.
        reason: String,
    },
    /// A part that the source does not yield.
    #[error("credential {credential}: its source yields no {part}, which its injection needs")]
    Part {
        /// The credential.
        credential: CredentialName,
        /// The part.
        part: Part,
    },
    /// The placeholders could not be made.
    #[error("making placeholders: {0}")]
    Placeholders(String),
}
