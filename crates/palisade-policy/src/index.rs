//! The index of rules: found by host, without a scan.

use std::collections::HashMap;

use crate::decision::Request;
use crate::denial::{Denial, DenialReason, NearMiss};
use crate::host::{DnsName, Host};
use crate::pattern::HostPattern;
use crate::rule::{Rule, RuleId};

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

    pub(crate) fn of_host(&self, host: &Host) -> impl Iterator<Item = &Rule> {
        self.indices(host).map(|at| &self.rules[at])
    }

    pub(crate) fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let at = self
            .indices(request.host)
            .find(|at| self.rules[*at].ports.contains(request.port))?;
        Some(Found {
            rule: &self.rules[at],
            ids: &self.ids[at],
        })
    }

    pub(crate) fn miss(&self, request: &Request<'_>) -> Denial {
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
