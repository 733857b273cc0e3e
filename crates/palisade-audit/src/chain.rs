//! The hash chain.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The hash of a line, or of what stands before the first one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What the first line of a session names as the line before it.
    pub fn genesis(session: &str) -> Self {
        Self(
            Sha256::new()
                .chain_update("palisade audit log 1\n")
                .chain_update(session)
                .finalize()
                .into(),
        )
    }

    /// SHA-256 of a text. For a line that is its text up to its own hash field, which holds the hash before it.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Appends 64 hexadecimal digits.
    pub(crate) fn push_hex(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
