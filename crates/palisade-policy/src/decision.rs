//! The decision: request in, permit or denial out.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::address::{AddressClass, classify};
use crate::denial::{Denial, DenialReason};
use crate::host::{Authority, DnsName, Host};
use crate::index::{RuleIndex, Wants};
use crate::path::{PathError, RequestPath};
use crate::pattern::{HostPattern, PatternSet};
use crate::rule::{CredentialName, Layer, Protocol, Rule, RuleId};

/// What a client asks for, after parsing and before any look-up.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The host it named.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
    /// The HTTP request, where one was seen. Without it the question is whether a connection may be made at all.
    pub http: Option<HttpRequest<'a>>,
}

/// What the gate saw of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The path.
    pub path: &'a RequestPath,
    /// What is spoken.
    pub kind: HttpKind,
    /// Whether it came within TLS.
    pub secure: bool,
}

/// What an HTTP request is the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpKind {
    /// A request and its response.
    Plain,
    /// A WebSocket handshake.
    WebSocket,
    /// A gRPC call.
    Grpc,
}

impl<'a> Request<'a> {
    /// The question whether a connection may be made to this destination.
    pub fn new(host: &'a Host, port: u16) -> Self {
        Self {
            host,
            port,
            http: None,
        }
    }

    /// This HTTP request to this destination.
    pub fn with_http(host: &'a Host, port: u16, http: HttpRequest<'a>) -> Self {
        Self {
            host,
            port,
            http: Some(http),
        }
    }
}

/// What the gate does with the bytes of a permitted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// They pass unread, whatever they are.
    Raw,
    /// TLS passes unread once its `ClientHello` names the decided host; HTTP in clear text is judged request by request.
    Tunnel,
    /// TLS is ended at the gate, and each request is judged.
    Intercept,
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
    inspection: Inspection,
    credential: Option<CredentialName>,
    path: Option<String>,
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

    /// What to do with the connection's bytes.
    pub fn inspection(&self) -> Inspection {
        self.inspection
    }

    /// The credential to add to this request.
    pub fn credential(&self) -> Option<&CredentialName> {
        self.credential.as_ref()
    }

    /// The path that was judged, in canonical form; it has to be sent in place of what came. None where no rule judges
    /// paths.
    pub fn judged_path(&self) -> Option<&str> {
        self.path.as_deref()
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
                .any(|rule| rule.ports.as_slice().is_none() && rule.is_unconditional())
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

    /// Patterns of hosts whose TLS may be ended at the gate: what a session's certificate authority may sign for.
    pub fn intercepted(&self) -> Vec<&HostPattern> {
        let layers = [
            Some(&self.operator),
            self.workspace.as_ref(),
            Some(&self.deny),
        ];
        let looking = layers
            .into_iter()
            .flatten()
            .flat_map(|index| &index.rules)
            .filter(|rule| rule.looks_inside())
            .map(|rule| &rule.pattern);
        let looking = PatternSet::new(looking);
        let mut listed = HashSet::new();
        let patterns = self.operator.rules.iter().map(|rule| &rule.pattern);
        patterns
            .filter(|pattern| looking.overlaps(pattern) && listed.insert(*pattern))
            .collect()
    }

    fn permit(&self, request: &Request<'_>) -> Result<Permit, Denial> {
        if is_inner_loopback(request.host) {
            return Err(Denial::without_rule(DenialReason::Loopback));
        }
        self.refuse_denied(request)?;
        let Some(rule) = self.operator.find(request).map_err(ambiguous)? else {
            return Err(self.operator.miss(request));
        };
        if let Some(workspace) = &self.workspace
            && workspace.find(request).map_err(ambiguous)?.is_none()
        {
            let near = workspace.miss(request).near;
            return Err(Denial {
                reason: DenialReason::Workspace,
                rule: None,
                near,
            });
        }
        let in_clear = request.http.is_some_and(|http| !http.secure);
        if in_clear && rule.credential.is_some() && !rule.dangerous_plaintext {
            return Err(Denial {
                reason: DenialReason::Plaintext,
                rule: Some(rule.id("allow")),
                near: None,
            });
        }
        let authority = Authority {
            host: request.host.clone(),
            port: request.port,
        };
        let mapped = self.resolve.get(&authority).copied();
        let wants = self.operator.wants(request.host, request.port);
        Ok(Permit {
            rule: rule.id("allow"),
            inspection: self.inspection(request, &rule, wants),
            credential: request.http.and_then(|_| rule.credential.clone()),
            path: self.judged(request, wants),
            // A connection may be made for any of its requests; each of them is asked about the address again.
            private: rule.private || (request.http.is_none() && wants.private),
            mapped,
            authority,
        })
    }

    fn refuse_denied(&self, request: &Request<'_>) -> Result<(), Denial> {
        let judges_paths = self.deny.wants(request.host, request.port).paths;
        // What an encoded slash means is up to the server, so it could lead to a path that is denied.
        let slash = request
            .http
            .is_some_and(|http| http.path.has_encoded_slash());
        if judges_paths && slash {
            return Err(ambiguous(PathError::EncodedSlash));
        }
        let found = match request.http {
            Some(_) => self.deny.find_of_any_kind(request).map_err(ambiguous)?,
            // A connection is only denied by a rule that denies all of it.
            None => self.deny.covering(request.host, request.port),
        };
        match found {
            Some(rule) => Err(Denial {
                reason: DenialReason::DenyRule,
                rule: Some(rule.id("deny")),
                near: None,
            }),
            None => Ok(()),
        }
    }

    fn inspection(&self, request: &Request<'_>, rule: &Rule, wants: Wants) -> Inspection {
        let (host, port) = (request.host, request.port);
        let workspace = self.workspace.as_ref();
        let look_inside = wants.look_inside
            || self.deny.wants(host, port).look_inside
            || workspace.is_some_and(|index| index.wants(host, port).look_inside);
        match rule.protocol {
            _ if look_inside => Inspection::Intercept,
            Protocol::Tcp => Inspection::Raw,
            _ => Inspection::Tunnel,
        }
    }

    fn judged(&self, request: &Request<'_>, wants: Wants) -> Option<String> {
        let (host, port) = (request.host, request.port);
        let workspace = self.workspace.as_ref();
        let judged = wants.paths
            || self.deny.wants(host, port).paths
            || workspace.is_some_and(|index| index.wants(host, port).paths);
        let path = request.http.filter(|_| judged)?.path;
        // Every rule that judges paths was asked above, and none would have let an ambiguous path by.
        path.canonical().ok().map(str::to_owned)
    }
}

fn ambiguous(error: PathError) -> Denial {
    Denial {
        reason: DenialReason::AmbiguousPath(error),
        rule: None,
        near: None,
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

/// `localhost` and the loopback addresses mean the inside, which the gate cannot reach and must not confuse with
/// the host's own loopback.
fn is_inner_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Name(name) => name.as_str() == "localhost" || name.as_str().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests;
