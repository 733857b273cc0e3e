//! The effective policy in plain words.

use std::fmt;

use crate::effective::Effective;
use crate::value;

mod credentials;
mod files;
mod network;

pub use credentials::describe_injection;
pub use network::{RuleHeld, rules_held};

/// One part of a policy in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is about, such as `network`.
    pub title: &'static str,
    /// A line each.
    pub lines: Vec<String>,
}

/// A policy in words: what a person reads, and what the digest in an audit log is made of. Values of variables are not in
/// it, since they may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The parts, in the order of the policy file.
    pub sections: Vec<Section>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            writeln!(f, "{}", section.title)?;
            for line in &section.lines {
                writeln!(f, "  {}", crate::error::visible(line))?;
            }
        }
        Ok(())
    }
}

/// Puts a policy into words, each rule with where it was written.
pub fn explain(policy: &Effective) -> Explanation {
    let section = |title, lines| Section { title, lines };
    let mut sections = vec![
        section("policy", parts(policy)),
        section("workspace", files::workspace(policy)),
        section("files", files::files(policy)),
        section("network", network::network(policy)),
        section("credentials", credentials::credentials(policy)),
        section("environment", environment(policy)),
        section("limits", limits(policy)),
        section("boundary", boundary(policy)),
    ];
    sections.retain(|section| !section.lines.is_empty());
    Explanation { sections }
}

fn parts(policy: &Effective) -> Vec<String> {
    if policy.parts.is_empty() {
        return vec!["none: no network, the workspace writable, nothing else".to_owned()];
    }
    policy.parts.clone()
}

fn environment(policy: &Effective) -> Vec<String> {
    let environment = &policy.environment;
    let passed = environment
        .pass
        .iter()
        .filter(|(name, _)| !environment.set.contains_key(*name))
        .map(|(name, source)| format!("from the host: {name} ({source})"));
    let set = environment
        .set
        .iter()
        .map(|(name, value)| format!("set: {name} ({})", value.source));
    passed.chain(set).collect()
}

fn limits(policy: &Effective) -> Vec<String> {
    let line = |what: &str, limit: Option<(String, &palisade_policy::Source)>| match limit {
        Some((value, source)) => format!("{what}: {value} ({source})"),
        None => format!("{what}: none named"),
    };
    vec![
        line(
            "memory",
            policy
                .memory
                .as_ref()
                .map(|l| (value::show_size(l.value), &l.source)),
        ),
        line(
            "processors",
            policy
                .cpus
                .as_ref()
                .map(|l| (l.value.to_string(), &l.source)),
        ),
        line(
            "processes",
            policy
                .processes
                .as_ref()
                .map(|l| (l.value.to_string(), &l.source)),
        ),
    ]
}

fn boundary(policy: &Effective) -> Vec<String> {
    let mut lines = vec![match &policy.backend {
        Some(backend) => format!("{} ({})", backend.value, backend.source),
        None => "native (default)".to_owned(),
    }];
    let gvisor = &policy.gvisor;
    if let Some(runsc) = &gvisor.runsc {
        lines.push(format!(
            "gvisor: {} ({})",
            runsc.value.display(),
            runsc.source
        ));
    }
    if let Some(platform) = &gvisor.platform {
        lines.push(format!(
            "gvisor: by {} ({})",
            platform.value.name(),
            platform.source
        ));
    }
    if let Some(via) = &gvisor.via_docker {
        lines.push(format!("gvisor: started by docker ({})", via.source));
    }
    lines.extend(policy.container.lines());
    let accepted = policy.accept_weaker.iter();
    lines.extend(
        accepted.map(|control| format!("may be weaker: {} ({})", control.value, control.source)),
    );
    if let Some(source) = &policy.accepts_nothing {
        lines.push(format!("nothing may be weaker ({source})"));
    }
    lines
}
