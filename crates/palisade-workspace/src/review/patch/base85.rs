//! Base 85 as git's binary patches have it: lines of at most 52 bytes, each with its length in front.

use std::io::{self, Write};

/// Git's alphabet (`base85.c`), that of RFC 1924.
const ALPHABET: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/// Bytes in a line; the length is one letter, `A` to `Z` for 1 to 26 and `a` to `z` for 27 to 52.
const LINE: usize = 52;

/// Writes what it is given in such lines.
pub(super) struct Encoder<'w> {
    out: &'w mut dyn Write,
    pending: Vec<u8>,
}

impl<'w> Encoder<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self {
            out,
            pending: Vec::with_capacity(LINE),
        }
    }

    /// Writes the last line.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.line()
    }

    fn line(&mut self) -> io::Result<()> {
        let Some(last) = self.pending.len().checked_sub(1) else {
            return Ok(());
        };
        let first = if last < 26 { b'A' } else { b'a' - 26 };
        let mut line = vec![first + last as u8];
        for chunk in self.pending.chunks(4) {
            let mut bytes = [0; 4];
            bytes[..chunk.len()].copy_from_slice(chunk);
            let mut number = u32::from_be_bytes(bytes);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = ALPHABET[(number % 85) as usize];
                number /= 85;
            }
            line.extend_from_slice(&digits);
        }
        line.push(b'\n');
        self.pending.clear();
        self.out.write_all(&line)
    }
}

impl Write for Encoder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(LINE - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == LINE {
            self.line()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_52_bytes_and_start_with_their_length() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out);
        encoder.write_all(&[0; 53]).unwrap();
        encoder.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = format!("z{}\nA{}\n", "0".repeat(65), "0".repeat(5));
        assert_eq!(text, expected);
    }
}
