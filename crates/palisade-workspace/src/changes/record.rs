//! Small append-only files of ours beside an upper: records of fields, each ended by a zero byte.
//!
//! A record begins with its length, so that one that a crash cut short is told from a whole one, whatever comes behind it.
//! Words and numbers, then at most one path, which may hold any other byte.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// One record: words without blanks, then whatever is last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Adds a word or a number.
    pub(crate) fn add(mut self, word: impl std::fmt::Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(b' ');
        }
        // Writing to a vector cannot fail.
        let _ = write!(self.0, "{word}");
        self
    }

    /// Adds bytes at the end.
    pub(crate) fn path(mut self, path: &Path) -> Self {
        self.0.push(b' ');
        self.0.extend_from_slice(path.as_os_str().as_bytes());
        self
    }

    /// The record as it is written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.0.len()).into_bytes();
        bytes.extend_from_slice(&self.0);
        bytes.push(0);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let fields = &bytes[space + 1..];
        (fields.len() == length).then(|| Self(fields.to_vec()))
    }

    /// A word by its place.
    pub(crate) fn word(&self, place: usize) -> Option<&str> {
        let word = self.0.split(|byte| *byte == b' ').nth(place)?;
        std::str::from_utf8(word).ok()
    }

    /// A number by its place.
    pub(crate) fn number(&self, place: usize) -> Option<u64> {
        self.word(place)?.parse().ok()
    }

    /// A number that may be negative, by its place.
    pub(crate) fn signed(&self, place: usize) -> Option<i64> {
        self.word(place)?.parse().ok()
    }

    /// The bytes from a place on.
    pub(crate) fn rest(&self, place: usize) -> Option<&Path> {
        let rest = self.0.splitn(place + 1, |byte| *byte == b' ').nth(place)?;
        Some(Path::new(OsStr::from_bytes(rest)))
    }
}

/// The whole records of a file, none where there is no file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Fields>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The whole records in these bytes.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Fields> {
    let mut pieces = bytes.split(|byte| *byte == 0).collect::<Vec<_>>();
    // What is behind the last zero byte was never finished.
    pieces.pop();
    pieces.into_iter().filter_map(Fields::parse).collect()
}

/// Adds records to a file, durably.
pub(crate) fn append(path: &Path, records: &[Fields]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    // A torn record must not swallow the next one.
    let mut bytes = vec![0];
    for record in records {
        bytes.extend(record.bytes());
    }
    file.write_all(&bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        assert!(read(&path).unwrap().is_empty());
        let name = Path::new(OsStr::from_bytes(b"a b\n\xff c"));
        let record = Fields::default().add("done").add(-7).add(9).path(name);
        append(&path, std::slice::from_ref(&record)).unwrap();
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend(b"done 1 2 nev");
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(read(&path).unwrap(), std::slice::from_ref(&record));
        append(&path, std::slice::from_ref(&record)).unwrap();
        let twice = [record.clone(), record.clone()];
        assert_eq!(read(&path).unwrap(), twice, "and the torn one is none");
        assert_eq!(record.word(0), Some("done"));
        assert_eq!((record.signed(1), record.number(2)), (Some(-7), Some(9)));
        assert_eq!(record.rest(3), Some(name));
    }
}
