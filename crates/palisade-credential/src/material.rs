//! The parts of one credential as they were fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::definition::Part;
use crate::secret::Secret;

/// The parts of one credential as fetched, and for how long they are good.
pub struct Material {
    parts: BTreeMap<Part, Secret>,
    good_for: Option<Duration>,
}

impl Material {
    /// Puts parts together. `good_for` counts from now; none means until the session ends.
    pub fn new(parts: BTreeMap<Part, Secret>, good_for: Option<Duration>) -> Self {
        Self { parts, good_for }
    }

    /// A part, if the credential has it.
    pub fn part(&self, part: Part) -> Option<&Secret> {
        self.parts.get(&part)
    }

    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &Secret)> {
        self.parts.iter().map(|(part, secret)| (*part, secret))
    }

    /// For how long it is good, counted from when it was fetched; none means until the session ends.
    pub fn good_for(&self) -> Option<Duration> {
        self.good_for
    }

    /// The same parts, good for no longer than `limit`.
    #[must_use]
    pub(crate) fn bounded(mut self, limit: Option<Duration>) -> Self {
        self.good_for = match (self.good_for, limit) {
            (Some(own), Some(limit)) => Some(own.min(limit)),
            (own, limit) => own.or(limit),
        };
        self
    }

    pub(crate) fn into_parts(self) -> BTreeMap<Part, Secret> {
        self.parts
    }
}
