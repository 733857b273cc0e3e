//! The search for all placeholders of a session at once.
//!
//! Everything a client sends goes through it, and next to nothing of that is a placeholder, so most bytes
//! are not looked at: of each pattern, which has [`SHORTEST`] bytes or more, some block of [`BLOCK`] bytes
//! stands at a multiple of [`STRIDE`]. Only those blocks are looked up, in a table of the blocks that occur
//! in patterns. Around a block that is in it, an automaton has a close look.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};
use palisade_policy::CredentialName;

use super::Placeholder;
use super::forms::{patterns, unescape};
use super::shape::CORE;
use crate::definition::Part;

/// The shortest pattern is a placeholder's core as it is.
const SHORTEST: usize = CORE;
/// The longest is the same in hexadecimal.
const LONGEST: usize = CORE * 2;
/// Bytes looked up at once.
const BLOCK: usize = size_of::<u32>();
const STRIDE: usize = SHORTEST - BLOCK + 1;

/// Whose placeholder was found.
pub(super) type Owner = (CredentialName, Part);

pub(super) struct Search {
    blocks: Blocks,
    automaton: AhoCorasick,
    /// Whose placeholder a pattern is of, by pattern number.
    owners: Vec<usize>,
    placeholders: Vec<Owner>,
}

impl Search {
    pub(super) fn new<'a>(
        placeholders: Vec<Owner>,
        texts: impl Iterator<Item = &'a Placeholder>,
    ) -> Result<Self, BuildError> {
        let mut needles = Vec::new();
        let mut owners = Vec::new();
        for (owner, placeholder) in texts.enumerate() {
            for pattern in patterns(placeholder.core()) {
                needles.push(pattern);
                owners.push(owner);
            }
        }
        // Case is not looked at: host names and HTTP/2 field names arrive in lower case. The kind is the
        // one that takes least memory, since little is searched.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(true)
            .build(&needles)?;
        Ok(Self {
            blocks: Blocks::of(&needles),
            automaton,
            owners,
            placeholders,
        })
    }

    /// Looks through bytes as they are, then with escapes undone, then with the escapes in that undone.
    pub(super) fn find(&self, bytes: &[u8], own: Option<&CredentialName>) -> Option<&Owner> {
        if let Some(found) = self.find_plain(bytes, own) {
            return Some(found);
        }
        let once = unescape(bytes)?;
        if let Some(found) = self.find_plain(&once, own) {
            return Some(found);
        }
        self.find_plain(&unescape(&once)?, own)
    }

    fn find_plain(&self, bytes: &[u8], own: Option<&CredentialName>) -> Option<&Owner> {
        let mut at = 0;
        while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            if self.blocks.contain(block) {
                let from = at.saturating_sub(LONGEST - BLOCK);
                let to = bytes.len().min(at + LONGEST);
                if let found @ Some(_) = self.find_around(&bytes[from..to], own) {
                    return found;
                }
            }
            at += STRIDE;
        }
        None
    }

    fn find_around(&self, bytes: &[u8], own: Option<&CredentialName>) -> Option<&Owner> {
        self.automaton
            .find_iter(bytes)
            .map(|found| &self.placeholders[self.owners[found.pattern().as_usize()]])
            .find(|(name, _)| Some(name) != own)
    }
}

/// The blocks that occur in patterns, hashed: a bit each. With twenty placeholders one in thirty is set, and
/// the table fits the first-level cache.
struct Blocks(Box<[u64; 1 << (HASH_BITS - 6)]>);

const HASH_BITS: u32 = 16;

impl Blocks {
    fn of(patterns: &[Vec<u8>]) -> Self {
        let mut blocks = Self(Box::new([0; _]));
        for pattern in patterns {
            debug_assert!((SHORTEST..=LONGEST).contains(&pattern.len()));
            for block in pattern.windows(BLOCK) {
                if let Some(block) = block.first_chunk() {
                    let (word, bit) = Self::place(block);
                    blocks.0[word] |= bit;
                }
            }
        }
        blocks
    }

    fn contain(&self, block: &[u8; BLOCK]) -> bool {
        let (word, bit) = Self::place(block);
        self.0[word] & bit != 0
    }

    /// Fibonacci hashing of the block in lower case (this moves other bytes too, on both sides alike).
    fn place(block: &[u8; BLOCK]) -> (usize, u64) {
        let lower = u32::from_le_bytes(*block) | 0x2020_2020;
        let hash = lower.wrapping_mul(0x9E37_79B1) >> (u32::BITS - HASH_BITS);
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
}
