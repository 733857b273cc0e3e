//! What a machine can do.

/// Whether a capability is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapabilityState {
    /// There, with a detail such as a version.
    Present(String),
    /// Missing, but the boundary stands without it; `fix` says how to get it.
    Degraded {
        /// What is missing.
        cause: String,
        /// The sysctl, profile or package that gives it.
        fix: String,
    },
    /// Missing, and without it there is no boundary; `fix` says how to get it.
    Missing {
        /// What is missing.
        cause: String,
        /// The sysctl, profile or package that gives it.
        fix: String,
    },
}

/// One thing a backend needs or can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Stable name, such as `user-namespaces`.
    pub name: &'static str,
    /// Whether it is there.
    pub state: CapabilityState,
}

/// A backend's answer about this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Each capability, the necessary ones first.
    pub capabilities: Vec<Capability>,
}

impl Probe {
    /// Whether a boundary can be made here.
    pub fn usable(&self) -> bool {
        !self
            .capabilities
            .iter()
            .any(|c| matches!(c.state, CapabilityState::Missing { .. }))
    }
}
