//! Stand-ins for secrets: what the agent sees, worthless, and found wherever it turns up again.
//!
//! A tool that insists on a token gets one of the right shape; the gate writes the real one where it
//! belongs. A placeholder that is seen anywhere else is a sign that something tried to carry the token away,
//! so it is looked for in everything that leaves, in the forms that tools and scripts give to text
//! ([`forms`]). It cannot be found in compressed or encrypted bodies, which costs a signal and no secret.

mod forms;
mod search;
mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use palisade_policy::CredentialName;

use crate::definition::Part;
use forms::WINDOW;
use search::Search;
use shape::{CORE, Shape};

/// What the agent sees in place of one secret: random, one a session, shaped like the real thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    text: Arc<str>,
    /// Where the random part begins.
    random: usize,
}

impl Placeholder {
    /// The text: letters, digits, `-`, `_` and `.`, which no encoding of URLs, JSON or HTML touches.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The random characters that are looked for.
    fn core(&self) -> &[u8] {
        &self.text.as_bytes()[self.random..self.random + CORE]
    }

    /// Makes the placeholder that fits a variable inside.
    fn new(
        variable: &str,
        part: Part,
        temporary: bool,
        random: impl FnMut(&mut [u8]) -> Result<(), String>,
    ) -> Result<Self, String> {
        let shape = Shape::of(variable, part, temporary);
        Ok(Self {
            text: shape.fill(random)?.into(),
            random: shape.prefix.len(),
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All placeholders of a session, ready to be looked for.
pub struct Placeholders {
    /// None if there is nothing to look for.
    search: Option<Search>,
}

impl Placeholders {
    /// No placeholders: nothing is ever found, at no cost.
    pub fn none() -> Self {
        Self { search: None }
    }

    /// Makes one placeholder for each part a credential shows inside, and the search for all of them.
    pub(crate) fn make(
        wanted: &[(CredentialName, &BTreeMap<Part, String>)],
    ) -> Result<(Self, Vec<(String, Placeholder)>), String> {
        Self::make_with(wanted, kernel_random)
    }

    fn make_with(
        wanted: &[(CredentialName, &BTreeMap<Part, String>)],
        mut random: impl FnMut(&mut [u8]) -> Result<(), String>,
    ) -> Result<(Self, Vec<(String, Placeholder)>), String> {
        let mut inner = Vec::new();
        let mut owners = Vec::new();
        for (name, variables) in wanted {
            let temporary = variables.contains_key(&Part::SessionToken);
            for (part, variable) in *variables {
                let placeholder = Placeholder::new(variable, *part, temporary, &mut random)?;
                inner.push((variable.clone(), placeholder));
                owners.push((name.clone(), *part));
            }
        }
        if inner.is_empty() {
            return Ok((Self::none(), inner));
        }
        let search = Search::new(owners, inner.iter().map(|(_, placeholder)| placeholder))
            .map_err(|error| error.to_string())?;
        let search = Some(search);
        Ok((Self { search }, inner))
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.search.is_none()
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
        let (name, part) = self.search.as_ref()?.find(bytes, own)?;
        Some((name, *part))
    }

    /// Begins to look through a stream.
    pub fn scan(self: &Arc<Self>) -> PlaceholderScan {
        self.scan_other(None)
    }

    /// Begins to look through a stream for those that are not `own`'s.
    pub fn scan_other(self: &Arc<Self>, own: Option<CredentialName>) -> PlaceholderScan {
        PlaceholderScan {
            placeholders: Arc::clone(self),
            own,
            tail: Vec::new(),
            found: None,
        }
    }
}

/// Looks for placeholders in a stream, across the borders of its pieces.
pub struct PlaceholderScan {
    placeholders: Arc<Placeholders>,
    own: Option<CredentialName>,
    /// The end of what has been seen, at most [`WINDOW`] bytes.
    tail: Vec<u8>,
    found: Option<(CredentialName, Part)>,
}

impl PlaceholderScan {
    /// Looks at the next piece. What was found once stays found: later pushes give it again.
    pub fn push(&mut self, data: &[u8]) -> Option<(CredentialName, Part)> {
        let search = self.placeholders.search.as_ref()?;
        if self.found.is_none() {
            // The piece on its own, unless it is so small that the look across the border covers it.
            let border = data.len().min(WINDOW);
            self.tail.extend_from_slice(&data[..border]);
            let mut found = search.find(&self.tail, self.own.as_ref());
            if found.is_none() && data.len() > WINDOW {
                found = search.find(data, self.own.as_ref());
                self.tail.clear();
                self.tail.extend_from_slice(&data[data.len() - WINDOW..]);
            }
            self.found = found.cloned();
            let excess = self.tail.len().saturating_sub(WINDOW);
            self.tail.drain(..excess);
        }
        self.found.clone()
    }
}

/// Fills a buffer from the kernel's generator.
fn kernel_random(mut buffer: &mut [u8]) -> Result<(), String> {
    while !buffer.is_empty() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut *buffer, flags) {
            Ok(filled) => buffer = &mut buffer[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
