//! Rules that contradict each other: one has to look at each request, another passes the same connection unread.

use std::collections::HashMap;

use palisade_policy::{HostPattern, Ports, Protocol, Rule, Source};

/// What is remembered of a rule.
#[derive(Debug)]
struct Brief {
    pattern: HostPattern,
    ports: Ports,
    source: Source,
}

/// The rules so far, as far as they may contradict others.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    looking: HashMap<HostPattern, Vec<Brief>>,
    unread: HashMap<HostPattern, Vec<Brief>>,
    judging: Vec<Brief>,
}

impl Siblings {
    /// Takes in an allow rule. Of two rules for one host pattern and port either both look inside or none.
    pub(crate) fn allow(&mut self, rule: &Rule) -> Result<(), String> {
        if unread(rule) {
            if let Some(other) = overlapping(self.looking.get(&rule.pattern), rule) {
                return Err(differ("looks at each request", other));
            }
            let covered = |other: &&Brief| {
                other.pattern.overlaps(&rule.pattern) && meet(&other.ports, &rule.ports)
            };
            if let Some(deny) = self.judging.iter().find(covered) {
                return Err(differ("denies some of its requests", deny));
            }
            remember(&mut self.unread, rule);
        } else if rule.looks_inside() {
            if let Some(other) = overlapping(self.unread.get(&rule.pattern), rule) {
                return Err(differ("passes it unread", other));
            }
            remember(&mut self.looking, rule);
        }
        Ok(())
    }

    /// Takes in a deny rule. One that judges requests covers no connection that is passed unread.
    pub(crate) fn deny(&mut self, rule: &Rule) -> Result<(), String> {
        if !rule.looks_inside() {
            return Ok(());
        }
        let covered = |other: &&Brief| {
            other.pattern.overlaps(&rule.pattern) && meet(&other.ports, &rule.ports)
        };
        if let Some(other) = self.unread.values().flatten().find(covered) {
            return Err(differ("passes them unread", other));
        }
        self.judging.push(brief(rule));
        Ok(())
    }
}

/// Whether a rule asks that its connections are passed unread.
pub(crate) fn unread(rule: &Rule) -> bool {
    rule.protocol == Protocol::Tcp || rule.intercept == Some(false)
}

/// Whether two sets of ports have one in common.
pub(crate) fn meet(a: &Ports, b: &Ports) -> bool {
    match (a.as_slice(), b.as_slice()) {
        (Some(a), _) => a.iter().any(|port| b.contains(*port)),
        (_, Some(b)) => !b.is_empty(),
        (None, None) => true,
    }
}

fn overlapping<'a>(others: Option<&'a Vec<Brief>>, rule: &Rule) -> Option<&'a Brief> {
    others?.iter().find(|other| meet(&other.ports, &rule.ports))
}

fn remember(list: &mut HashMap<HostPattern, Vec<Brief>>, rule: &Rule) {
    let entry = list.entry(rule.pattern.clone()).or_default();
    entry.push(brief(rule));
}

fn brief(rule: &Rule) -> Brief {
    Brief {
        pattern: rule.pattern.clone(),
        ports: rule.ports.clone(),
        source: rule.source.clone(),
    }
}

fn differ(does: &str, other: &Brief) -> String {
    format!(
        "this contradicts the rule for {}, {} in {}, which {does}",
        other.pattern, other.ports, other.source
    )
}
