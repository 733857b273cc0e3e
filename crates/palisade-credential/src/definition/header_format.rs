//! The text of a header field around a secret.

use std::fmt;

use zeroize::Zeroizing;

/// The text of a header field around the secret: `Bearer {secret}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFormat {
    before: String,
    after: String,
}

impl HeaderFormat {
    /// Where the secret stands.
    pub const MARK: &'static str = "{secret}";

    /// Parses a format.
    ///
    /// # Errors
    /// It has to hold [`HeaderFormat::MARK`] exactly once, be visible ASCII and spaces, and neither begin
    /// nor end with a space (a server strips it, so what arrives would not be what was written).
    pub fn parse(text: &str) -> Result<Self, HeaderFormatError> {
        if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(HeaderFormatError::Byte);
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err(HeaderFormatError::Space);
        }
        let (before, after) = text
            .split_once(Self::MARK)
            .ok_or(HeaderFormatError::NoSecret)?;
        if after.contains(Self::MARK) {
            return Err(HeaderFormatError::TwoSecrets);
        }
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    /// The secret alone.
    pub const fn bare() -> Self {
        Self {
            before: String::new(),
            after: String::new(),
        }
    }

    /// The text before the secret.
    pub fn before(&self) -> &str {
        &self.before
    }

    /// The text after it.
    pub fn after(&self) -> &str {
        &self.after
    }

    /// The field's value with this secret. Allocated once, at its final size.
    pub fn render(&self, secret: &[u8]) -> Zeroizing<Vec<u8>> {
        let length = self.before.len() + secret.len() + self.after.len();
        let mut value = Zeroizing::new(Vec::with_capacity(length));
        value.extend_from_slice(self.before.as_bytes());
        value.extend_from_slice(secret);
        value.extend_from_slice(self.after.as_bytes());
        value
    }
}

impl fmt::Display for HeaderFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, Self::MARK, self.after)
    }
}

/// Why a text is no [`HeaderFormat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFormatError {
    /// The mark is missing.
    #[error("there is no {} in it", HeaderFormat::MARK)]
    NoSecret,
    /// The mark stands there more than once.
    #[error("there is more than one {} in it", HeaderFormat::MARK)]
    TwoSecrets,
    /// A byte that is neither visible ASCII nor a space.
    #[error("it may hold visible ASCII and spaces only")]
    Byte,
    /// A space at an end.
    #[error("it begins or ends with a space")]
    Space,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_holds_the_secret_once() {
        for (text, rendered) in [
            ("{secret}", "s3cr3t"),
            ("Bearer {secret}", "Bearer s3cr3t"),
            ("token=\"{secret}\", v={1}", "token=\"s3cr3t\", v={1}"),
        ] {
            let format = HeaderFormat::parse(text).expect("fine");
            assert_eq!(format.render(b"s3cr3t").as_slice(), rendered.as_bytes());
            assert_eq!(format.to_string(), text);
        }
        assert_eq!(HeaderFormat::parse("{secret}"), Ok(HeaderFormat::bare()));
    }

    #[test]
    fn what_is_no_format_is_named() {
        for (text, error) in [
            ("Bearer", HeaderFormatError::NoSecret),
            ("Bearer {Secret}", HeaderFormatError::NoSecret),
            ("", HeaderFormatError::NoSecret),
            ("{secret}{secret}", HeaderFormatError::TwoSecrets),
            ("Bearer {secret}\r\nx: y", HeaderFormatError::Byte),
            ("Bearer\t{secret}", HeaderFormatError::Byte),
            ("B\u{e9}arer {secret}", HeaderFormatError::Byte),
            (" {secret}", HeaderFormatError::Space),
            ("{secret} ", HeaderFormatError::Space),
        ] {
            assert_eq!(HeaderFormat::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_rendered_value_has_its_final_size_from_the_start() {
        let value = HeaderFormat::parse("Bearer {secret}!").expect("fine");
        let value = value.render(&[b'a'; 100]);
        assert_eq!((value.len(), value.capacity()), (108, 108));
    }
}
