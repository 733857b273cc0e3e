//! The decision: request in, permit or denial out.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::address::{AddressClass, classify};
use crate::host::{Authority, DnsName, Host};
use crate::pattern::HostPattern;
use crate::rule::{Layer, Protocol, Rule, RuleId};

/// What a client asks for, after parsing and before any look-up.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The host it named.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
}

impl<'a> Request<'a> {
    /// A request for this destination.
    pub fn new(host: &'a Host, port: u16) -> Self {
        Self { host, port }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub enum Decision {
    /// It may go ahead.
    Permit(Permit),
    /// It may not.
    Deny(Denial),
}

/// The right to reach one destination. Only [`NetworkPolicy::decide`] makes one; forwarding takes it by move.
#[derive(Debug)]
pub struct Permit {
    authority: Authority,
    rule: RuleId,
    protocol: Protocol,
    private: bool,
    mapped: Option<SocketAddr>,
}

impl Permit {
    /// The destination.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The rule that permitted it.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// What may be spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The address the operator mapped this destination to; no look-up is made then.
    pub fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// Whether this resolved address may be dialled. The gate asks for each address before it connects, and
    /// connects to that very address.
    ///
    /// # Errors
    /// [`DenialReason::Address`] for an address class the rule does not open.
    pub fn admit(&self, ip: IpAddr) -> Result<(), Denial> {
        let class = classify(ip);
        let named =
            self.mapped.is_some_and(|to| to.ip() == ip) || self.authority.host == Host::from(ip);
        let open =
            class == AddressClass::Public || named || (self.private && class.opened_by_private());
        if open {
            return Ok(());
        }
        Err(Denial {
            reason: DenialReason::Address(class),
            rule: Some(self.rule.clone()),
            near: None,
        })
    }
}

/// A refusal, with what decided it.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The rule that refused, where one did.
    pub rule: Option<RuleId>,
    /// The rule that nearly permitted it.
    pub near: Option<NearMiss>,
}

impl Denial {
    /// A refusal that no rule of the policy made, such as a malformed request.
    pub fn without_rule(reason: DenialReason) -> Self {
        Self {
            reason,
            rule: None,
            near: None,
        }
    }
}

/// Why a request was refused. The codes are API (docs/denials.md): they stand in the `palisade-denied` header,
/// in the response body and in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// No allow rule names the destination.
    NotAllowed,
    /// A deny rule names it.
    DenyRule,
    /// A rule names the host, but not this port.
    Port,
    /// The operator permits it; the workspace's own policy does not.
    Workspace,
    /// The name resolved to an address of a class the rule does not open.
    Address(AddressClass),
    /// The destination is the inside's own loopback, or the gate itself.
    Loopback,
    /// The host or authority is malformed.
    BadHost,
    /// The request is malformed, ambiguous or over a limit.
    BadRequest,
    /// Target, `Host`, `ClientHello` or decision name different hosts.
    HostMismatch,
    /// TLS without a server name, or with an encrypted one.
    NoServerName,
    /// Not TLS on a tunnel that may carry only TLS, and not HTTP.
    NotTls,
    /// A scheme or protocol the gate does not carry.
    Protocol,
    /// Too many connections or too much waiting.
    Limit,
    /// The audit log cannot be written, so nothing passes.
    Audit,
}

impl DenialReason {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAllowed => "not-allowed",
            Self::DenyRule => "deny-rule",
            Self::Port => "port-not-allowed",
            Self::Workspace => "workspace-policy",
            Self::Address(AddressClass::Metadata) => "metadata-address",
            Self::Address(_) => "private-address",
            Self::Loopback => "loopback",
            Self::BadHost => "bad-host",
            Self::BadRequest => "bad-request",
            Self::HostMismatch => "host-mismatch",
            Self::NoServerName => "no-server-name",
            Self::NotTls => "not-tls",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Audit => "audit-unavailable",
        }
    }
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("no rule allows it"),
            Self::DenyRule => f.write_str("a deny rule names it"),
            Self::Port => f.write_str("the host is allowed, but not on this port"),
            Self::Workspace => f.write_str("the policy file of the workspace does not allow it"),
            Self::Address(class) => write!(f, "it resolves to a {} address", class.as_str()),
            Self::Loopback => f.write_str(
                "localhost means the inside; connect to it directly, not through the gate",
            ),
            Self::BadHost => f.write_str("the host is malformed"),
            Self::BadRequest => f.write_str("the request is malformed"),
            Self::HostMismatch => f.write_str("the request names two different hosts"),
            Self::NoServerName => f.write_str("the TLS handshake names no server"),
            Self::NotTls => f.write_str(
                "the connection is neither TLS nor HTTP, and the rule permits no other protocol",
            ),
            Self::Protocol => f.write_str("the gate does not carry this protocol"),
            Self::Limit => f.write_str("a limit of the gate is reached"),
            Self::Audit => f.write_str("the audit log cannot be written"),
        }
    }
}

/// A rule that came close, and what was missing.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleId,
    /// What did not fit, in plain words.
    pub because: String,
}

/// The network half of a policy, compiled. Look-up cost depends on the number of labels in the name, not on
/// the number of rules.
#[derive(Clone, Debug, Default)]
pub struct NetworkPolicy {
    operator: RuleIndex,
    workspace: Option<RuleIndex>,
    deny: RuleIndex,
    resolve: HashMap<Authority, SocketAddr>,
}

impl NetworkPolicy {
    /// An empty policy under construction. Empty means: nothing is permitted.
    pub fn builder() -> NetworkPolicyBuilder {
        NetworkPolicyBuilder::default()
    }

    /// The one decision function.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        match self.permit(request) {
            Ok(permit) => Decision::Permit(permit),
            Err(denial) => Decision::Deny(denial),
        }
    }

    /// Whether any port of this name is permitted: what the audit log says of a DNS query.
    pub fn names(&self, name: &DnsName) -> bool {
        let host = Host::Name(name.clone());
        self.operator.of_host(&host).next().is_some()
            && !self
                .deny
                .of_host(&host)
                .any(|rule| rule.ports.as_slice().is_none())
    }

    /// Allow rules of a layer in the order they were written.
    pub fn allow_rules(&self, layer: Layer) -> &[Rule] {
        match layer {
            Layer::Operator => &self.operator.rules,
            Layer::Workspace => self.workspace.as_ref().map_or(&[], |index| &index.rules),
        }
    }

    /// Whether the workspace's own file narrows the allow list.
    pub fn workspace_narrows(&self) -> bool {
        self.workspace.is_some()
    }

    /// Deny rules in the order they were written.
    pub fn deny_rules(&self) -> &[Rule] {
        &self.deny.rules
    }

    /// The operator's own mappings of destinations to addresses.
    pub fn mappings(&self) -> impl Iterator<Item = (&Authority, SocketAddr)> {
        self.resolve.iter().map(|(from, to)| (from, *to))
    }

    fn permit(&self, request: &Request<'_>) -> Result<Permit, Denial> {
        if is_inner_loopback(request.host) {
            return Err(Denial::without_rule(DenialReason::Loopback));
        }
        if let Some(rule) = self.deny.find(request) {
            return Err(Denial {
                reason: DenialReason::DenyRule,
                rule: Some(rule.id("deny")),
                near: None,
            });
        }
        let Some(rule) = self.operator.find(request) else {
            return Err(self.operator.miss(request));
        };
        if let Some(workspace) = &self.workspace
            && workspace.find(request).is_none()
        {
            let near = workspace.miss(request).near;
            return Err(Denial {
                reason: DenialReason::Workspace,
                rule: None,
                near,
            });
        }
        let authority = Authority {
            host: request.host.clone(),
            port: request.port,
        };
        let mapped = self.resolve.get(&authority).copied();
        Ok(Permit {
            rule: rule.id("allow"),
            protocol: rule.protocol,
            private: rule.private,
            mapped,
            authority,
        })
    }
}

/// Collects rules into a [`NetworkPolicy`].
#[derive(Debug, Default)]
pub struct NetworkPolicyBuilder(NetworkPolicy);

impl NetworkPolicyBuilder {
    /// Adds an allow rule of the operator.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.0.operator.push(rule);
        self
    }

    /// Adds a deny rule. A deny rule wins over any allow rule, whichever layer it stands in.
    #[must_use]
    pub fn deny(mut self, rule: Rule) -> Self {
        self.0.deny.push(rule);
        self
    }

    /// Narrows the policy to what the workspace's own file also allows.
    #[must_use]
    pub fn narrow(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        let index = self.0.workspace.get_or_insert_default();
        rules.into_iter().for_each(|rule| index.push(rule));
        self
    }

    /// Maps a destination to an address, as `curl --resolve` does. It permits that address, not the destination.
    #[must_use]
    pub fn resolve(mut self, from: Authority, to: SocketAddr) -> Self {
        self.0.resolve.insert(from, to);
        self
    }

    /// The finished policy.
    pub fn build(self) -> NetworkPolicy {
        self.0
    }
}

/// Rules, found by host without a scan: exact hosts by hash, wildcards by a walk over the name's parents.
#[derive(Clone, Debug, Default)]
struct RuleIndex {
    rules: Vec<Rule>,
    ids: Vec<(RuleId, RuleId)>,
    exact: HashMap<Host, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
}

impl RuleIndex {
    fn push(&mut self, rule: Rule) {
        let at = self.rules.len();
        match &rule.pattern {
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default().push(at),
            HostPattern::Below(name) => {
                self.below.entry(name.as_str().into()).or_default().push(at)
            }
        }
        let id = |verb| RuleId::new(verb, &rule.pattern, &rule.source);
        self.ids.push((id("allow"), id("deny")));
        self.rules.push(rule);
    }

    /// Indices of the rules whose host matches, most specific first.
    fn indices(&self, host: &Host) -> impl Iterator<Item = usize> {
        let exact = self.exact.get(host).into_iter().flatten().copied();
        let name = match host {
            Host::Name(name) => name.as_str(),
            Host::Ip(_) => "",
        };
        let parents = std::iter::successors(parent_of(name), |name| parent_of(name));
        exact.chain(
            parents
                .filter_map(|parent| self.below.get(parent))
                .flatten()
                .copied(),
        )
    }

    fn of_host(&self, host: &Host) -> impl Iterator<Item = &Rule> {
        self.indices(host).map(|at| &self.rules[at])
    }

    fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let at = self
            .indices(request.host)
            .find(|at| self.rules[*at].ports.contains(request.port))?;
        Some(Found {
            rule: &self.rules[at],
            ids: &self.ids[at],
        })
    }

    fn miss(&self, request: &Request<'_>) -> Denial {
        if let Some(at) = self.indices(request.host).next() {
            let because = format!("it covers {}, not {}", self.rules[at].ports, request.port);
            let near = Some(NearMiss {
                rule: self.ids[at].0.clone(),
                because,
            });
            return Denial {
                reason: DenialReason::Port,
                rule: None,
                near,
            };
        }
        Denial {
            reason: DenialReason::NotAllowed,
            rule: None,
            near: self.nearest(request.host),
        }
    }

    /// The rule a person most likely had in mind: the apex of a wildcard, the wildcard's sibling, one typo away.
    /// Refusals are rare next to requests and this runs after one, yet an agent can cause many: it stays linear
    /// in the rules up to a cap.
    fn nearest(&self, host: &Host) -> Option<NearMiss> {
        const SCANNED: usize = 256;
        let Host::Name(name) = host else { return None };
        let apex = self
            .below
            .get(name.as_str())
            .and_then(|found| found.first());
        let by_relation = self
            .rules
            .iter()
            .take(SCANNED)
            .position(|rule| relation(rule, name).is_some());
        let at = apex.copied().or(by_relation)?;
        let because = if apex.is_some() {
            format!("it covers names below {name}, not {name} itself")
        } else {
            relation(&self.rules[at], name)?
        };
        Some(NearMiss {
            rule: self.ids[at].0.clone(),
            because,
        })
    }
}

struct Found<'a> {
    rule: &'a Rule,
    ids: &'a (RuleId, RuleId),
}

impl Found<'_> {
    fn id(&self, verb: &str) -> RuleId {
        if verb == "deny" {
            self.ids.1.clone()
        } else {
            self.ids.0.clone()
        }
    }
}

impl std::ops::Deref for Found<'_> {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        self.rule
    }
}

fn parent_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// Why a rule that does not match may yet have been meant for this name.
fn relation(rule: &Rule, name: &DnsName) -> Option<String> {
    let HostPattern::Exact(Host::Name(own)) = &rule.pattern else {
        return None;
    };
    let (own, asked) = (own.as_str(), name.as_str());
    if asked
        .strip_suffix(own)
        .is_some_and(|rest| rest.ends_with('.'))
    {
        return Some(format!("it covers {own} alone, not the names below it"));
    }
    if own
        .strip_suffix(asked)
        .is_some_and(|rest| rest.ends_with('.'))
    {
        return Some(format!("it covers {own}, not {asked}"));
    }
    let same_zone = parent_of(own).is_some()
        && parent_of(own) == parent_of(asked)
        && parent_of(own)?.contains('.');
    same_zone.then(|| format!("it covers {own}, a sibling of {asked}"))
}

/// `localhost` and the loopback addresses mean the inside, which the gate cannot reach and must not confuse with
/// the host's own loopback.
fn is_inner_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Name(name) => name.as_str() == "localhost" || name.as_str().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Ports, Source};

    fn rule(pattern: &str, ports: Ports) -> Rule {
        Rule::new(
            HostPattern::parse(pattern).unwrap(),
            ports,
            Source::new("test"),
        )
    }

    fn decide(policy: &NetworkPolicy, host: &str, port: u16) -> Result<Permit, Denial> {
        let host = Host::parse(host.as_bytes()).unwrap();
        match policy.decide(&Request::new(&host, port)) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Deny(denial) => Err(denial),
        }
    }

    fn reason(policy: &NetworkPolicy, host: &str, port: u16) -> DenialReason {
        decide(policy, host, port).unwrap_err().reason
    }

    #[test]
    fn nothing_is_permitted_by_default() {
        assert_eq!(
            reason(&NetworkPolicy::default(), "example.com", 443),
            DenialReason::NotAllowed
        );
    }

    #[test]
    fn the_most_specific_rule_decides_and_is_named() {
        let policy = NetworkPolicy::builder()
            .allow(rule("*.example.com", Ports::WEB))
            .allow(rule("api.example.com", Ports::WEB))
            .build();
        assert_eq!(
            decide(&policy, "api.example.com", 443)
                .unwrap()
                .rule()
                .as_str(),
            "allow api.example.com (test)"
        );
        assert_eq!(
            decide(&policy, "a.b.example.com", 80)
                .unwrap()
                .rule()
                .as_str(),
            "allow *.example.com (test)"
        );
    }

    #[test]
    fn d04_deny_wins_in_any_spelling() {
        let policy = NetworkPolicy::builder()
            .allow(rule("*.example.com", Ports::WEB))
            .deny(rule("bad.example.com", Ports::ANY))
            .build();
        for spelling in ["bad.example.com", "BAD.example.COM", "bad.example.com."] {
            assert_eq!(reason(&policy, spelling, 443), DenialReason::DenyRule);
        }
        assert!(decide(&policy, "good.example.com", 443).is_ok());
    }

    #[test]
    fn near_misses_are_named() {
        let policy = NetworkPolicy::builder()
            .allow(rule("api.example.com", Ports::list([443])))
            .allow(rule("*.example.org", Ports::WEB))
            .build();
        let near = |host, port| {
            decide(&policy, host, port)
                .unwrap_err()
                .near
                .unwrap()
                .because
        };
        assert_eq!(near("api.example.com", 80), "it covers port 443, not 80");
        assert_eq!(
            near("example.org", 443),
            "it covers names below example.org, not example.org itself"
        );
        assert_eq!(
            near("v2.api.example.com", 443),
            "it covers api.example.com alone, not the names below it"
        );
        assert_eq!(
            near("www.example.com", 443),
            "it covers api.example.com, a sibling of www.example.com"
        );
    }

    #[test]
    fn the_workspace_layer_only_tightens() {
        let operator = || {
            NetworkPolicy::builder()
                .allow(rule("a.example.com", Ports::WEB))
                .allow(rule("b.example.com", Ports::WEB))
        };
        let policy = operator()
            .narrow([
                rule("a.example.com", Ports::WEB),
                rule("c.example.com", Ports::WEB),
            ])
            .build();
        assert!(decide(&policy, "a.example.com", 443).is_ok());
        assert_eq!(
            reason(&policy, "b.example.com", 443),
            DenialReason::Workspace
        );
        assert_eq!(
            reason(&policy, "c.example.com", 443),
            DenialReason::NotAllowed
        );
    }

    #[test]
    fn d13_addresses_are_admitted_by_class() {
        let mut private = rule("private.example.com", Ports::WEB);
        private.private = true;
        let policy = NetworkPolicy::builder()
            .allow(rule("public.example.com", Ports::WEB))
            .allow(private)
            .allow(rule("10.1.2.3", Ports::WEB))
            .allow(rule("mapped.example.com", Ports::WEB))
            .resolve(
                Authority::parse(b"mapped.example.com:443", None).unwrap(),
                "127.0.0.1:8443".parse().unwrap(),
            )
            .build();
        let admits = |host: &str, ip: &str| {
            decide(&policy, host, 443)
                .unwrap()
                .admit(ip.parse().unwrap())
                .is_ok()
        };
        assert!(admits("public.example.com", "8.8.8.8"));
        assert!(!admits("public.example.com", "10.0.0.1"));
        assert!(!admits("public.example.com", "::ffff:127.0.0.1"));
        assert!(admits("private.example.com", "10.0.0.1"));
        assert!(!admits("private.example.com", "169.254.169.254"));
        assert!(admits("10.1.2.3", "10.1.2.3"));
        assert!(admits("mapped.example.com", "127.0.0.1"));
        assert!(!admits("mapped.example.com", "127.0.0.2"));
    }

    #[test]
    fn d41_loopback_means_the_inside() {
        let policy = NetworkPolicy::builder()
            .allow(rule("localhost", Ports::ANY))
            .allow(rule("127.0.0.1", Ports::ANY))
            .build();
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(reason(&policy, host, 80), DenialReason::Loopback, "{host}");
        }
    }
}
