//! What a change set means to the person who has to decide about it. Pure: nothing here reads the environment, prints, or
//! changes a file.
//!
//! ```text
//!   TextDiff   two texts ──▶ edits ──▶ hunks ──▶ the file with some of them taken
//!   patch      two versions of a path ──▶ what `git apply` takes
//!   flags      a change ──▶ what the host would run or trust later, and what deceives
//!   renames    added and removed files of equal contents
//! ```

mod diff;
mod except;
mod flags;
mod patch;
mod renames;

use std::io::{self, Read};

pub use diff::{CONTEXT, Form, Hunk, LineKind, TextDiff, hunk_header};
pub use except::{Except, ExceptError};
pub use flags::{Flag, Flagged, LARGE, Sight, flags_of, is_hidden};
pub use patch::{GitMode, ObjectFormat, Version, in_patch, write_patch};
pub use renames::{Open, renames};

/// Above this a file is not compared by lines. Twice the largest file of source in Chromium and Linux together; a
/// difference of that size is read by nobody.
pub const LARGEST_TEXT: u64 = 32 << 20;

/// Something that can be read from its beginning, more than once.
pub trait Contents {
    /// How long it is.
    fn size(&self) -> u64;

    /// Opens it.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl Contents for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self))
    }
}

impl Contents for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// The whole of it, and no more than it said it is.
pub fn read_all(contents: &dyn Contents) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    contents
        .open()?
        .take(contents.size())
        .read_to_end(&mut out)?;
    Ok(out)
}
