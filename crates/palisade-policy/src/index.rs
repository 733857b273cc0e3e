//! The index of rules: found by host, without a scan.

use std::collections::HashMap;

use crate::decision::{HttpKind, HttpRequest, Request};
use crate::denial::{Denial, DenialReason, NearMiss};
use crate::host::{DnsName, Host};
use crate::path::{PathError, PathPattern};
use crate::pattern::HostPattern;
use crate::rule::{Protocol, Rule, RuleId};

/// Rules, found by host without a scan: exact hosts by hash, wildcards by a walk over the name's parents.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    pub(crate) rules: Vec<Rule>,
    ids: Vec<(RuleId, RuleId)>,
    exact: HashMap<Host, Vec<usize>>,
    below: HashMap<Box<str>, Vec<usize>>,
}

impl RuleIndex {
    pub(crate) fn push(&mut self, rule: Rule) {
        let at = self.rules.len();
        let siblings = match &rule.pattern {
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostPattern::Below(name) => self.below.entry(name.as_str().into()).or_default(),
        };
        let closer = |other: &usize| self.rules[*other].closeness() >= rule.closeness();
        let place = siblings.partition_point(closer);
        siblings.insert(place, at);
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

    pub(crate) fn of_host(&self, host: &Host) -> impl Iterator<Item = &Rule> {
        self.indices(host).map(|at| &self.rules[at])
    }

    /// Rules for this host and port in the order they are asked, up to and with the first that covers every request.
    fn asked(&self, host: &Host, port: u16) -> impl Iterator<Item = usize> {
        let mut covered = false;
        self.indices(host)
            .filter(move |at| self.rules[*at].ports.contains(port))
            .take_while(move |at| {
                let before = covered;
                covered |= self.rules[*at].is_unconditional();
                !before
            })
    }

    /// The rule that covers the request.
    ///
    /// # Errors
    /// A rule judges paths, and this one can be read in more than one way.
    pub(crate) fn find(&self, request: &Request<'_>) -> Result<Option<Found<'_>>, PathError> {
        self.find_where(request, covers_kind)
    }

    /// The rule that covers the request, whatever it is the beginning of: a path that is denied is so to a WebSocket handshake
    /// as well, which a server may answer as any other request.
    ///
    /// # Errors
    /// As [`RuleIndex::find`].
    pub(crate) fn find_of_any_kind(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<Found<'_>>, PathError> {
        self.find_where(request, |_, _| true)
    }

    fn find_where(
        &self,
        request: &Request<'_>,
        kind: fn(&Rule, &HttpRequest<'_>) -> bool,
    ) -> Result<Option<Found<'_>>, PathError> {
        for at in self.asked(request.host, request.port) {
            let rule = &self.rules[at];
            // The path comes first: where a rule judges paths an ambiguous one is refused, whatever else the rule asks for.
            let fits = match &request.http {
                None => true,
                Some(http) => {
                    covers_path(rule, http)? && kind(rule, http) && covers_method(rule, http)
                }
            };
            if fits {
                return Ok(Some(self.found(at)));
            }
        }
        Ok(None)
    }

    /// The rule that covers every request to this host and port.
    pub(crate) fn covering(&self, host: &Host, port: u16) -> Option<Found<'_>> {
        let at = self
            .asked(host, port)
            .find(|at| self.rules[*at].is_unconditional())?;
        Some(self.found(at))
    }

    /// What all rules that may yet decide a request of this connection ask for together.
    pub(crate) fn wants(&self, host: &Host, port: u16) -> Wants {
        let mut wants = Wants::default();
        for at in self.asked(host, port) {
            let rule = &self.rules[at];
            wants.look_inside |= rule.looks_inside();
            wants.paths |= rule.paths.is_some();
            wants.private |= rule.private;
        }
        wants
    }

    fn found(&self, at: usize) -> Found<'_> {
        Found {
            rule: &self.rules[at],
            ids: &self.ids[at],
        }
    }

    pub(crate) fn miss(&self, request: &Request<'_>) -> Denial {
        if let Some(denial) = self.miss_inside(request) {
            return denial;
        }
        if let Some(at) = self.indices(request.host).next() {
            let because = format!("it covers {}, not {}", self.rules[at].ports, request.port);
            return self.near(at, DenialReason::Port, because);
        }
        Denial {
            reason: DenialReason::NotAllowed,
            rule: None,
            near: self.nearest(request.host),
        }
    }

    /// A rule that covers host and port, and not what is asked for there.
    fn miss_inside(&self, request: &Request<'_>) -> Option<Denial> {
        let http = request.http.as_ref()?;
        let mut best: Option<(usize, DenialReason, String)> = None;
        for at in self.asked(request.host, request.port) {
            let rule = &self.rules[at];
            let path_fits = covers_path(rule, http).unwrap_or(false);
            let miss = match (
                covers_kind(rule, http),
                covers_method(rule, http),
                path_fits,
            ) {
                (true, true, _) => {
                    let paths = rule.paths.iter().flat_map(|paths| paths.iter());
                    let paths: Vec<_> = paths.take(3).map(PathPattern::as_str).collect();
                    (
                        at,
                        DenialReason::Path,
                        format!("it covers {}", paths.join(", ")),
                    )
                }
                (true, false, true) => {
                    let methods = rule.methods.as_deref().unwrap_or_default().join(", ");
                    let because = format!("it covers {methods}, not {}", http.method);
                    (at, DenialReason::Method, because)
                }
                (false, ..) => {
                    let because = format!("its protocol is {}", rule.protocol.as_str());
                    (at, DenialReason::Protocol, because)
                }
                (true, false, false) => (at, DenialReason::Path, "it covers neither".into()),
            };
            let better = best
                .as_ref()
                .is_none_or(|(_, reason, _)| rank(miss.1) < rank(*reason));
            if better {
                best = Some(miss);
            }
        }
        best.map(|(at, reason, because)| self.near(at, reason, because))
    }

    fn near(&self, at: usize, reason: DenialReason, because: String) -> Denial {
        let rule = self.ids[at].0.clone();
        Denial {
            reason,
            rule: None,
            near: Some(NearMiss { rule, because }),
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

/// What the rules for one connection ask for together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wants {
    pub(crate) look_inside: bool,
    pub(crate) paths: bool,
    pub(crate) private: bool,
}

fn covers_path(rule: &Rule, http: &HttpRequest<'_>) -> Result<bool, PathError> {
    let Some(paths) = &rule.paths else {
        return Ok(true);
    };
    let path = http.path.canonical()?;
    Ok(paths.iter().any(|pattern| pattern.matches(path)))
}

fn covers_method(rule: &Rule, http: &HttpRequest<'_>) -> bool {
    let Some(methods) = &rule.methods else {
        return true;
    };
    methods.iter().any(|method| **method == *http.method)
}

fn covers_kind(rule: &Rule, http: &HttpRequest<'_>) -> bool {
    match (rule.protocol, http.kind) {
        (Protocol::Web, HttpKind::Plain | HttpKind::Grpc)
        | (Protocol::WebSocket, HttpKind::WebSocket)
        | (Protocol::Grpc, HttpKind::Grpc)
        | (Protocol::Tcp, _) => true,
        // In a tunnel it would not even be seen. Where the gate looks inside, it needs a rule that says so.
        (Protocol::Web, HttpKind::WebSocket) => !rule.looks_inside(),
        _ => false,
    }
}

/// The miss that tells most comes first.
fn rank(reason: DenialReason) -> u8 {
    match reason {
        DenialReason::Method => 0,
        DenialReason::Protocol => 1,
        _ => 2,
    }
}

pub(crate) struct Found<'a> {
    rule: &'a Rule,
    ids: &'a (RuleId, RuleId),
}

impl Found<'_> {
    pub(crate) fn id(&self, verb: &str) -> RuleId {
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
