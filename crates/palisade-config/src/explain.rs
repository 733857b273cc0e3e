//! The effective policy in plain words.

use std::fmt;

use palisade_policy::{FileAccess, Layer, Protocol, Rule};

use crate::effective::Effective;

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
    Explanation {
        sections: vec![
            section("policy", parts(policy)),
            section("workspace", workspace(policy)),
            section("files", files(policy)),
            section("network", network(policy)),
            section("environment", environment(policy)),
            section("limits", limits(policy)),
            section("boundary", boundary(policy)),
        ],
    }
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

fn network(policy: &Effective) -> Vec<String> {
    let rules = &policy.network;
    let allowed = rules.allow_rules(Layer::Operator);
    let mut lines: Vec<String> = rules
        .deny_rules()
        .iter()
        .map(|rule| rule_line("deny", rule))
        .collect();
    lines.extend(allowed.iter().map(|rule| rule_line("allow", rule)));
    if rules.workspace_narrows() {
        lines.push("of these, the workspace's own policy leaves only:".to_owned());
        let left = rules.allow_rules(Layer::Workspace);
        lines.extend(
            left.iter()
                .map(|rule| format!("  {} {} ({})", rule.pattern, rule.ports, rule.source)),
        );
        if left.is_empty() {
            lines.push("  nothing".to_owned());
        }
    }
    let mut mapped: Vec<String> = rules
        .mappings()
        .map(|(from, to)| format!("map {from} to {to}"))
        .collect();
    mapped.sort_unstable();
    lines.extend(mapped);
    if let Some(proxy) = &policy.upstream_proxy {
        lines.push(format!(
            "through the proxy {} ({})",
            proxy.value, proxy.source
        ));
    }
    let roots = policy.extra_ca.matches("-----BEGIN").count();
    if roots > 0 {
        lines.push(format!("{roots} more TLS roots"));
    }
    if allowed.is_empty() {
        lines.push("nothing may be reached".to_owned());
    } else {
        lines.push(
            "refused: everything else, and private addresses unless a rule names them".to_owned(),
        );
    }
    lines
}

fn rule_line(verb: &str, rule: &Rule) -> String {
    let mut line = format!("{verb} {}, {}", rule.pattern, rule.ports);
    if rule.private {
        line.push_str(", private addresses too");
    }
    if rule.protocol == Protocol::Tcp {
        line.push_str(", any protocol");
    }
    format!("{line} ({})", rule.source)
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
            policy.memory.as_ref().map(|l| (bytes(l.value), &l.source)),
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

/// A size in the largest unit that divides it.
fn bytes(bytes: u64) -> String {
    let units = [
        (1u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match units
        .iter()
        .find(|(unit, _)| bytes.is_multiple_of(*unit) && bytes > 0)
    {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}
