//! Why a credential cannot be put into a request.

use palisade_policy::CredentialName;

use crate::{Part, Redactor, SignError};

/// Why a credential cannot be put into a request. It holds no secret and nothing the agent sent but the name of an
/// algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The material lacks a part.
    #[error("credential {credential} has no {part}, which its injection needs")]
    Part {
        /// Which credential.
        credential: CredentialName,
        /// Which part.
        part: Part,
    },
    /// A part is too short to be kept secret.
    #[error(
        "{part} of credential {credential} is shorter than {} bytes, so responses that show it could not be redacted",
        Redactor::MIN_SECRET
    )]
    Short {
        /// Which credential.
        credential: CredentialName,
        /// Which part.
        part: Part,
    },
    /// A part holds characters that it cannot have.
    #[error("{part} of credential {credential} holds characters that no such value has")]
    Characters {
        /// Which credential.
        credential: CredentialName,
        /// Which part.
        part: Part,
    },
    /// The field is not one to inject into.
    #[error("credential {credential} cannot be put into the header field `{field}`")]
    Field {
        /// Which credential.
        credential: CredentialName,
        /// Which field.
        field: String,
    },
    /// The user name cannot be part of a Basic login.
    #[error("the user name of credential {credential} holds a colon or a control byte")]
    Username {
        /// Which credential.
        credential: CredentialName,
    },
    /// The request has no query to put it into.
    #[error("credential {credential} goes into the query, and this request can have none")]
    Target {
        /// Which credential.
        credential: CredentialName,
    },
    /// The request cannot be signed.
    #[error("the request cannot be signed with credential {credential}: {reason}")]
    Sign {
        /// Which credential.
        credential: CredentialName,
        /// Why.
        reason: SignError,
    },
}
