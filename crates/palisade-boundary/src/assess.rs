//! The enforceability report: one answer per control.

use std::fmt;

/// How well a backend holds one control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Held, by this mechanism.
    Enforced(String),
    /// Held less well than the words of the policy promise, and why.
    Weaker(String),
    /// Not held, and why.
    Unenforceable(String),
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced(by) => write!(f, "enforced by {by}"),
            Self::Weaker(why) => write!(f, "weaker: {why}"),
            Self::Unenforceable(why) => write!(f, "cannot be enforced: {why}"),
        }
    }
}

/// The answer for one control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The control's stable name: `filesystem`, `network`, `identity`, `system-calls`, `landlock`, `limits.memory`,
    /// `limits.cpus`, `limits.processes`, `lifetime`.
    pub control: &'static str,
    /// How well it is held.
    pub enforcement: Enforcement,
}
