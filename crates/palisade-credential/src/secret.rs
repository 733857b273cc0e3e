//! The value of a credential: bytes that cannot be printed, compared or copied, and are wiped on drop.

use zeroize::Zeroizing;

/// A secret value. It has no `Debug`, `Display`, `Clone`, `PartialEq` and no serialisation, so it cannot end
/// up in a log by accident; its memory is overwritten with zeroes when it is dropped.
///
/// ```compile_fail,E0277
/// let secret = palisade_credential::Secret::new(b"s3cr3t-value".to_vec()).ok().unwrap();
/// println!("{secret}");
/// ```
/// ```compile_fail,E0277
/// let secret = palisade_credential::Secret::new(b"s3cr3t-value".to_vec()).ok().unwrap();
/// println!("{secret:?}");
/// ```
/// ```compile_fail,E0599
/// let secret = palisade_credential::Secret::new(b"s3cr3t-value".to_vec()).ok().unwrap();
/// let _copy = secret.clone();
/// ```
/// ```compile_fail,E0369
/// let secret = palisade_credential::Secret::new(b"s3cr3t-value".to_vec()).ok().unwrap();
/// let _same = secret == secret;
/// ```
/// The same lines with [`Secret::expose`] compile, so it is the missing trait that fails above:
/// ```
/// let secret = palisade_credential::Secret::new(b"s3cr3t-value".to_vec()).ok().unwrap();
/// assert_eq!(secret.expose().len(), 12);
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Longest secret: session tokens of clouds reach some 4 KiB, and servers take 8 to 16 KiB a header.
    pub const MAX: usize = 16 * 1024;

    /// Takes the bytes over. The vector is kept as it is (shrinking it could leave a copy behind); when it
    /// is refused it is wiped.
    ///
    /// # Errors
    /// Nothing at all, more than [`Secret::MAX`], and control bytes: a line break in a secret would let
    /// whoever chose it write header fields of its own (CWE-113).
    pub fn new(bytes: Vec<u8>) -> Result<Self, SecretError> {
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        if bytes.len() > Self::MAX {
            return Err(SecretError::TooLong);
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(SecretError::ControlByte);
        }
        Ok(Self(bytes))
    }

    /// The bytes, for the one who writes them into a request or looks for them in a response.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second copy, inside this crate only: a secret handed in once is needed for every renewal.
    pub(crate) fn duplicate(&self) -> Self {
        Self(Zeroizing::new(self.0.to_vec()))
    }
}

/// Why bytes cannot be a secret. It never holds any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No byte at all.
    #[error("it is empty")]
    Empty,
    /// More than [`Secret::MAX`].
    #[error("it is longer than {} bytes", Secret::MAX)]
    TooLong,
    /// A line break, NUL or another control byte, which no header value may hold.
    #[error("it holds a control byte (a line break, for example)")]
    ControlByte,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f23_control_bytes_are_refused_at_load() {
        assert!(Secret::new(b"fine value \x80".to_vec()).is_ok());
        for bad in [
            &b"a\r\nb"[..],
            b"a\n",
            b"a\0b",
            b"\x7f",
            b"a\tb",
            b"\x1b[0m",
        ] {
            assert!(matches!(
                Secret::new(bad.to_vec()),
                Err(SecretError::ControlByte)
            ));
        }
        assert!(matches!(Secret::new(Vec::new()), Err(SecretError::Empty)));
        assert!(Secret::new(vec![b'a'; Secret::MAX]).is_ok());
        let long = Secret::new(vec![b'a'; Secret::MAX + 1]);
        assert!(matches!(long, Err(SecretError::TooLong)));
    }

    #[test]
    fn the_buffer_is_taken_over_and_not_copied() {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(b"some-secret-value");
        let before = bytes.as_ptr();
        let secret = Secret::new(bytes).unwrap_or_else(|_| unreachable!());
        assert_eq!(secret.expose().as_ptr(), before);
    }
}
