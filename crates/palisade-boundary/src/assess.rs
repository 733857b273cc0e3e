//! The enforceability report: one answer per control.

use std::fmt;

use crate::spec::BoundarySpec;
use palisade_protocol::TreeEntry;

/// Something that a session promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// What is not shown is not there.
    Filesystem,
    /// What is shown is used as the policy says: read, written, or changed apart from the host.
    Access,
    /// Secrets within what is shown read as empty.
    Masks,
    /// What the host would execute later is not the agent's to write.
    Protect,
    /// Folders that are kept between sessions.
    Volumes,
    /// File systems in memory.
    Tmpfs,
    /// There is no way out but the gate.
    Network,
    /// Programs that know no proxy reach the gate as well.
    Capture,
    /// Names are answered by the gate alone.
    Dns,
    /// TLS is ended at the gate where a rule has to look inside.
    Interception,
    /// Secrets are added outside and never seen inside.
    Credentials,
    /// The agent is an unprivileged user.
    Identity,
    /// Risky system calls are refused.
    SystemCalls,
    /// A second wall behind the tree.
    Landlock,
    /// Memory of the whole session.
    Memory,
    /// Processor time of the whole session.
    Cpus,
    /// Processes and threads of the whole session.
    Processes,
    /// Nothing inside outlives palisade.
    Lifetime,
}

impl Control {
    /// All, in the order of reports.
    pub const ALL: [Self; 18] = [
        Self::Filesystem,
        Self::Access,
        Self::Masks,
        Self::Protect,
        Self::Volumes,
        Self::Tmpfs,
        Self::Network,
        Self::Capture,
        Self::Dns,
        Self::Interception,
        Self::Credentials,
        Self::Identity,
        Self::SystemCalls,
        Self::Landlock,
        Self::Memory,
        Self::Cpus,
        Self::Processes,
        Self::Lifetime,
    ];

    /// Its stable name, as reports show it and as `accept_weaker` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Access => "access",
            Self::Masks => "masks",
            Self::Protect => "protect",
            Self::Volumes => "volumes",
            Self::Tmpfs => "tmpfs",
            Self::Network => "network",
            Self::Capture => "network.capture",
            Self::Dns => "dns",
            Self::Interception => "interception",
            Self::Credentials => "credentials",
            Self::Identity => "identity",
            Self::SystemCalls => "system-calls",
            Self::Landlock => "landlock",
            Self::Memory => "limits.memory",
            Self::Cpus => "limits.cpus",
            Self::Processes => "limits.processes",
            Self::Lifetime => "lifetime",
        }
    }

    /// The control of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.name() == name)
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How well one control is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Held, by this mechanism.
    Enforced(String),
    /// Held less well here than the words of the policy promise.
    Weaker(Weakness),
    /// Not held here.
    Unenforceable(Weakness),
    /// Held as well as any boundary can hold what the policy asks for, which is less than its words. It is the person's
    /// choice and no lack of this boundary.
    WeakerEverywhere(String),
}

/// What is less than promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    /// Why, and what holds instead.
    pub why: String,
    /// What would give the whole control, where that is known.
    pub fix: Option<String>,
}

impl Enforcement {
    /// What this boundary holds less well than another one may.
    pub fn weakness(&self) -> Option<&Weakness> {
        match self {
            Self::Weaker(weakness) | Self::Unenforceable(weakness) => Some(weakness),
            Self::Enforced(_) | Self::WeakerEverywhere(_) => None,
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced(by) => write!(f, "enforced by {by}"),
            Self::Weaker(Weakness { why, .. }) => write!(f, "weaker: {why}"),
            Self::Unenforceable(Weakness { why, .. }) => write!(f, "cannot be enforced: {why}"),
            Self::WeakerEverywhere(why) => write!(f, "weaker on every boundary: {why}"),
        }
    }
}

/// The answer for one control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Which.
    pub control: Control,
    /// How well it is held.
    pub enforcement: Enforcement,
}

impl Assessment {
    /// A control that is held by this mechanism.
    pub fn enforced(control: Control, by: impl Into<String>) -> Self {
        Self {
            control,
            enforcement: Enforcement::Enforced(by.into()),
        }
    }
}

impl BoundarySpec {
    /// The controls that a backend has to answer for, so that forgetting one is no way to hold it. It may answer for others
    /// of its own.
    pub fn controls(&self) -> Vec<Control> {
        let has = |wanted: fn(&TreeEntry) -> bool| self.tree.iter().any(wanted);
        let masks = has(|entry| matches!(entry, TreeEntry::Mask { .. }));
        let tmpfs = has(|entry| matches!(entry, TreeEntry::Tmpfs { .. }));
        let asked = [
            (Control::Filesystem, true),
            (Control::Access, true),
            (Control::Masks, self.late_masks || masks),
            (Control::Tmpfs, tmpfs),
            (Control::Network, true),
            (Control::Capture, true),
            (Control::Dns, true),
            (Control::Identity, true),
            (Control::SystemCalls, true),
            (Control::Memory, self.limits.memory.is_some()),
            (Control::Cpus, self.limits.cpus.is_some()),
            (Control::Processes, true),
            (Control::Lifetime, true),
        ];
        let asked = asked.into_iter();
        asked
            .filter_map(|(control, asked)| asked.then_some(control))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_has_a_name_of_its_own_that_leads_back_to_it() {
        for control in Control::ALL {
            assert_eq!(Control::parse(control.name()), Some(control));
        }
        assert_eq!(Control::parse("limits"), None);
        assert_eq!(Control::parse("Landlock"), None);
    }

    #[test]
    fn only_a_lack_of_the_boundary_is_a_weakness_of_it() {
        let weakness = || Weakness {
            why: "no".into(),
            fix: None,
        };
        let lacks = |enforcement: Enforcement| enforcement.weakness().is_some();
        assert!(lacks(Enforcement::Weaker(weakness())));
        assert!(lacks(Enforcement::Unenforceable(weakness())));
        assert!(!lacks(Enforcement::Enforced("walls".into())));
        assert!(!lacks(Enforcement::WeakerEverywhere("time".into())));
    }
}
