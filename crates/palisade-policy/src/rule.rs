//! Rules of the network policy.

use std::fmt;
use std::sync::Arc;

use crate::path::PathPattern;
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
    /// HTTP in clear text, or TLS whose `ClientHello` names the decided host. Where the gate looks inside for another
    /// reason, a WebSocket needs a rule of its own: it would carry anything around method and path.
    #[default]
    Web,
    /// WebSocket handshakes, and what follows them.
    WebSocket,
    /// gRPC: HTTP requests of an `application/grpc` content type.
    Grpc,
    /// Any bytes, unread.
    Tcp,
}

impl Protocol {
    /// As a policy file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "http",
            Self::WebSocket => "websocket",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// The name of a credential, as `[credentials.NAME]` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialName(Arc<str>);

impl CredentialName {
    /// Longest name. It stands in audit lines and error messages.
    pub const MAX: usize = 64;

    /// A name of letters, digits, `-` and `_`; none if it is anything else.
    pub fn new(text: &str) -> Option<Self> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let good = !text.is_empty() && text.len() <= Self::MAX && text.bytes().all(fine);
        good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
    /// Which methods, exactly as they are sent; none means every one.
    pub methods: Option<Arc<[Box<str>]>>,
    /// Which paths; none means every one.
    pub paths: Option<Arc<[PathPattern]>>,
    /// Whether TLS is ended at the gate. Without a word it is where the rule needs it; `false` asks for a tunnel, for
    /// clients that trust no roots but their own.
    pub intercept: Option<bool>,
    /// The credential that the gate adds.
    pub credential: Option<CredentialName>,
    /// Whether the credential may be added to a request in clear text.
    pub dangerous_plaintext: bool,
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
            methods: None,
            paths: None,
            intercept: None,
            credential: None,
            dangerous_plaintext: false,
            source,
        }
    }

    /// Whether the gate has to see requests to follow this rule.
    pub fn looks_inside(&self) -> bool {
        self.intercept == Some(true)
            || self.methods.is_some()
            || self.paths.is_some()
            || self.credential.is_some()
            || matches!(self.protocol, Protocol::WebSocket | Protocol::Grpc)
    }

    /// Whether it covers every request to its hosts and ports, so that no later rule is asked.
    pub(crate) fn is_unconditional(&self) -> bool {
        let any = matches!(self.protocol, Protocol::Web | Protocol::Tcp);
        any && self.methods.is_none() && self.paths.is_none()
    }

    /// How closely it says what it covers. Of the rules for one host the closest is asked first, and of equals the one
    /// that was written first.
    pub(crate) fn closeness(&self) -> impl Ord + use<> {
        (
            self.paths.is_some(),
            self.methods.is_some(),
            matches!(self.protocol, Protocol::WebSocket | Protocol::Grpc),
            self.credential.is_some(),
        )
    }
}
