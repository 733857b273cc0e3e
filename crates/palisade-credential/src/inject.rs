//! Putting a credential into a request.

use std::sync::Arc;
use std::time::SystemTime;

use crate::{Definition, Material, OutgoingHead, Redactor};

/// What has to be known of a request's body before its head can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: head and body stream.
    None,
    /// Its SHA-256. So the body is read first, and one longer than `max` bytes is refused (413).
    Hash {
        /// Longest body, in bytes.
        max: usize,
    },
}

/// One credential with its secrets, ready to be put into requests.
pub struct Prepared {
    bound_fields: Vec<String>,
    bound_parameters: Vec<String>,
    redactor: Arc<Redactor>,
}

/// Why a credential cannot be put into a request. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// to be filled
    #[error("not yet")]
    Unready,
}

impl Prepared {
    /// Readies a credential.
    ///
    /// # Errors
    /// A part is missing, or too short to be redacted.
    pub fn new(definition: &Definition, material: Material) -> Result<Self, InjectError> {
        let _ = (definition, material);
        Err(InjectError::Unready)
    }

    /// What has to be known of the body.
    pub fn payload(&self, head: &OutgoingHead) -> Payload {
        let _ = head;
        Payload::None
    }

    /// Puts the credential in.
    ///
    /// # Errors
    /// The request cannot carry it.
    pub fn inject(
        &self,
        head: &mut OutgoingHead,
        payload_sha256: Option<[u8; 32]>,
        now: SystemTime,
    ) -> Result<(), InjectError> {
        let _ = (head, payload_sha256, now);
        Err(InjectError::Unready)
    }

    /// The header fields an injection removes and writes, lower case: a placeholder is expected there.
    pub fn bound_fields(&self) -> &[String] {
        &self.bound_fields
    }

    /// The query parameters it removes and writes.
    pub fn bound_parameters(&self) -> &[String] {
        &self.bound_parameters
    }

    /// What takes the credential's secrets out of responses.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }
}
