//! The effective policy in plain words.

use std::fmt;

use palisade_policy::FileAccess;

use crate::effective::Effective;
use crate::value;

mod credentials;
mod network;

pub use credentials::describe_injection;

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
        section("workspace", workspace(policy)),
        section("files", files(policy)),
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

fn workspace(policy: &Effective) -> Vec<String> {
    let path = policy.workspace.value.display();
    vec![
        format!("{path} ({})", policy.workspace.source),
        format!("{} ({})", word(policy.access.value), policy.access.source),
    ]
}

fn files(policy: &Effective) -> Vec<String> {
    let mut lines = vec![
        "read-only: the host's programs and libraries (/usr, /bin, /lib, /opt, named parts of /etc)".to_owned(),
        "empty, gone with the session: the home folder, /tmp, /run".to_owned(),
    ];
    lines.extend(policy.shown.iter().map(|shown| {
        let path = shown.path.written.display();
        format!("{}: {path} ({})", word(shown.access), shown.source)
    }));
    lines.push("hidden: everything else".to_owned());
    lines
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
    match &policy.backend {
        Some(backend) => vec![format!("{} ({})", backend.value, backend.source)],
        None => vec!["native (default)".to_owned()],
    }
}

fn word(access: FileAccess) -> &'static str {
    match access {
        FileAccess::Read => "read-only",
        FileAccess::Write => "writable",
    }
}
