//! Finding a secret without having it.
//!
//! A secret never crosses the boundary, not even for this suite. What crosses is its length and one value of the polynomial
//! whose coefficients are its bytes, at a point drawn for this run, modulo the prime 2^61 - 1 (Karp and Rabin 1987). Text
//! of another content has the same value with a chance of its length in 2^61.

use serde::{Deserialize, Serialize};

const PRIME: u64 = (1 << 61) - 1;

/// What is told of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    length: usize,
    point: u64,
    value: u64,
}

impl Fingerprint {
    /// The fingerprint at a random point. None for what is too short to tell from other text by chance.
    pub fn of(secret: &[u8], point: u64) -> Option<Self> {
        /// Shorter values, such as user names, stand in many files.
        const SHORTEST: usize = 8;
        let point = point % (PRIME - 256) + 256;
        let value = secret
            .iter()
            .fold(0, |value, byte| step(value, point, *byte));
        (secret.len() >= SHORTEST).then_some(Self {
            length: secret.len(),
            point,
            value,
        })
    }

    /// Whether the secret is in there, in plain.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let Some(first) = bytes.get(..self.length) else {
            return false;
        };
        let highest = (1..self.length).fold(1, |power, _| multiply(power, self.point));
        let mut value = first
            .iter()
            .fold(0, |value, byte| step(value, self.point, *byte));
        let pairs = bytes.iter().zip(&bytes[self.length..]);
        for (gone, come) in pairs {
            if value == self.value {
                return true;
            }
            let without = value + PRIME - multiply(highest, u64::from(*gone));
            value = step(without % PRIME, self.point, *come);
        }
        value == self.value
    }

    /// How many bytes have to overlap where a text is looked through in parts.
    pub fn overlap(&self) -> usize {
        self.length - 1
    }
}

fn step(value: u64, point: u64, byte: u8) -> u64 {
    (multiply(value, point) + u64::from(byte)) % PRIME
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // The remainder of division by a Mersenne number is the sum of the halves.
    let sum = (product & u128::from(PRIME)) + (product >> 61);
    u64::try_from(sum).unwrap_or(0) % PRIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_stands_and_nowhere_else() {
        for point in [0, 1, 12_345_678_901, u64::MAX] {
            let found = Fingerprint::of(b"s3cret-value", point).expect("long enough");
            for text in [
                "s3cret-value",
                "xs3cret-value",
                "s3cret-valuex",
                "as3s3cret-valueb",
            ] {
                assert!(found.is_in(text.as_bytes()), "{text}");
            }
            for text in [
                "",
                "s3cret-valu",
                "s3cret-valuf",
                "xs3cret_valuex",
                "3cret-values",
            ] {
                assert!(!found.is_in(text.as_bytes()), "{text}");
            }
        }
        assert!(Fingerprint::of(b"short", 7).is_none());
    }
}
