//! Session names: short, sortable by time, safe in a path and in a shell.

use std::fmt;
use std::time::SystemTime;

use palisade_audit::rfc3339;

/// The name of one session: `20261123-031502-k3f9c`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// A name for a session that starts at `now` (UTC). The random part keeps two sessions of one second apart.
    pub fn new(now: SystemTime, random: u32) -> Self {
        // No letters that read as digits, so that a name can be typed from a screen.
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let tail: String = (0..5)
            .map(|at| char::from(ALPHABET[(random >> (5 * at)) as usize % ALPHABET.len()]))
            .collect();
        let time = rfc3339(now);
        let digits: String = time.chars().filter(char::is_ascii_digit).collect();
        let (date, clock) = digits.split_at(8);
        Self(format!("{date}-{}-{tail}", &clock[..6]))
    }

    /// Reads a name a person typed. Anything but letters, digits and hyphens is refused, so that a name can never
    /// lead out of the state directory.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (plain && !text.is_empty() && text.len() <= 64).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_sort_by_time() {
        let at = |secs: u64| SessionId::new(UNIX_EPOCH + Duration::from_secs(secs), 12_345);
        assert!(at(951_782_400).as_str().starts_with("20000229-000000-"));
        assert_eq!(at(0).as_str().len(), "19700101-000000-xxxxx".len());
        assert!(at(951_782_399) < at(951_782_400));
    }

    #[test]
    fn typed_names_cannot_leave_the_state_directory() {
        for bad in ["", "..", "../x", "a/b", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(SessionId::parse(bad), None, "{bad:?}");
        }
        assert!(SessionId::parse("20261123-031502-k3f9c").is_some());
    }
}
