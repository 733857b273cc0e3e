//! Rules of the network policy.

use std::fmt;
use std::sync::Arc;

use crate::pattern::HostPattern;

/// Where a rule was written, as shown to people: `palisade.toml:12`, `profile claude-code`, `--allow`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source(Arc<str>);

impl Source {
    /// A source with this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ports a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(PortSet);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PortSet {
    Web,
    Any,
    List(Arc<[u16]>),
}

impl Ports {
    /// 80 and 443, the default of an allow rule.
    pub const WEB: Self = Self(PortSet::Web);
    /// Every port, the default of a deny rule.
    pub const ANY: Self = Self(PortSet::Any);

    /// These ports.
    pub fn list(ports: impl Into<Arc<[u16]>>) -> Self {
        Self(PortSet::List(ports.into()))
    }

    /// Whether the port is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.as_slice().is_none_or(|ports| ports.contains(&port))
    }

    /// The ports, or none if every port is meant.
    pub fn as_slice(&self) -> Option<&[u16]> {
        match &self.0 {
            PortSet::Any => None,
            PortSet::Web => Some(&[80, 443]),
            PortSet::List(ports) => Some(ports),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ports) = self.as_slice() else {
            return f.write_str("any port");
        };
        f.write_str(if ports.len() == 1 { "port " } else { "ports " })?;
        for (at, port) in ports.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            port.fmt(f)?;
        }
        Ok(())
    }
}

/// What may be spoken on a permitted connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP in clear text, or TLS whose `ClientHello` names the decided host.
    #[default]
    Web,
    /// Any bytes, unread.
    Tcp,
}

/// The layer of a policy a rule stands in. A request has to be permitted by every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The operator's: policy file, profiles, command line.
    Operator,
    /// The workspace's own file, which may only tighten.
    Workspace,
}

/// A rule's name in decisions and in the audit log: `allow api.github.com (palisade.toml:12)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(Arc<str>);

impl RuleId {
    pub(crate) fn new(verb: &str, pattern: &HostPattern, source: &Source) -> Self {
        Self(format!("{verb} {pattern} ({source})").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `[[network.allow]]` or `[[network.deny]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which hosts.
    pub pattern: HostPattern,
    /// Which ports.
    pub ports: Ports,
    /// Whether the name may resolve to a private, loopback or link-local address.
    pub private: bool,
    /// What may be spoken.
    pub protocol: Protocol,
    /// Where it was written.
    pub source: Source,
}

impl Rule {
    /// A rule for public addresses and web protocols.
    pub fn new(pattern: HostPattern, ports: Ports, source: Source) -> Self {
        Self {
            pattern,
            ports,
            private: false,
            protocol: Protocol::Web,
            source,
        }
    }
}
