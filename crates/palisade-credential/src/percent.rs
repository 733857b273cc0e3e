//! Percent-encoding (RFC 3986, section 2.1).

/// Appends bytes, all encoded but letters, digits, `-`, `.`, `_`, `~` and those in `also`.
pub(crate) fn encode_into(text: &mut String, bytes: &[u8], also: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The bytes a part of a query stands for: `+` is a space, an escape that is none stands for itself.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    decode_escapes(text, true)
}

/// The bytes a part of a path stands for: `+` is a plus.
pub(crate) fn decode_path(text: &str) -> Vec<u8> {
    decode_escapes(text, false)
}

fn decode_escapes(text: &str, plus_is_space: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => hexadecimal(*high)
                .zip(hexadecimal(*low))
                .map(|(high, low)| high << 4 | low),
            _ => None,
        };
        match escape {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None if first == b'+' && plus_is_space => bytes.push(b' '),
            None => bytes.push(first),
        }
    }
    bytes
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
