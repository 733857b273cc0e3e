//! What may be reached, in words.

use palisade_policy::{HostPattern, Layer, NetworkPolicy, PathPattern, Protocol, Rule};

use crate::effective::Effective;

/// Rules of both kinds, what is intercepted, mappings, the gate's bounds.
pub(super) fn network(policy: &Effective) -> Vec<String> {
    let rules = &policy.network;
    let allowed = rules.allow_rules(Layer::Operator);
    let deny = rules.deny_rules().iter();
    let mut lines: Vec<String> = deny.map(|rule| rule_line("deny", rule)).collect();
    lines.extend(allowed.iter().map(|rule| rule_line("allow", rule)));
    if rules.workspace_narrows() {
        lines.push("of these, the workspace's own policy leaves only:".to_owned());
        let left = rules.allow_rules(Layer::Workspace);
        lines.extend(left.iter().map(|rule| format!("  {}", rule_line("", rule))));
        if left.is_empty() {
            lines.push("  nothing".to_owned());
        }
    }
    lines.extend(intercepted(rules));
    let mut mapped: Vec<String> = rules
        .mappings()
        .map(|(from, to)| format!("map {from} to {to}"))
        .collect();
    mapped.sort_unstable();
    lines.extend(mapped);
    lines.extend(ways(policy));
    lines.push(if allowed.is_empty() {
        "nothing may be reached".to_owned()
    } else {
        "refused: everything else, and private addresses unless a rule names them".to_owned()
    });
    lines
}

/// One rule, and what the gate does for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHeld {
    /// The rule in words, with where it was written.
    pub rule: String,
    /// By what it is held, in words that fit after "enforced by".
    pub by: &'static str,
}

/// Each rule of the network, in the order of [`explain`](crate::explain), and how the gate holds it.
pub fn rules_held(rules: &NetworkPolicy) -> Vec<RuleHeld> {
    let line = |verb: &str, rule, by| RuleHeld {
        rule: rule_line(verb, rule),
        by,
    };
    let denied = rules.deny_rules().iter();
    let mut held: Vec<RuleHeld> = denied
        .map(|rule| line("deny", rule, "the gate, before any rule that allows"))
        .collect();
    let intercepted = rules.intercepted();
    let allowed = rules.allow_rules(Layer::Operator).iter();
    held.extend(allowed.map(|rule| line("allow", rule, allowed_by(rule, &intercepted))));
    let narrowed = rules.allow_rules(Layer::Workspace).iter();
    let by = "the gate, which asks the rules of the workspace's own policy as well";
    held.extend(narrowed.map(|rule| line("narrow to", rule, by)));
    held
}

fn allowed_by(rule: &Rule, intercepted: &[&HostPattern]) -> &'static str {
    let shared = || {
        let mut others = intercepted.iter();
        others.any(|other| other.overlaps(&rule.pattern))
    };
    match (rule.protocol, rule.intercept) {
        (Protocol::Tcp, _) => "the gate, by host and port; what passes is not read",
        _ if rule.looks_inside() => "the gate, request by request; TLS is ended there",
        (_, None) if shared() => {
            "the gate, request by request where TLS is ended there, elsewhere by the name in the ClientHello of TLS"
        }
        _ => "the gate, by the name in the ClientHello of TLS; clear text request by request",
    }
}

fn ways(policy: &Effective) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(proxy) = &policy.upstream_proxy {
        let (value, source) = (&proxy.value, &proxy.source);
        lines.push(format!("through the proxy {value} ({source})"));
    }
    let roots = policy.extra_ca.matches("-----BEGIN").count();
    if roots > 0 {
        lines.push(format!("{roots} more TLS roots"));
    }
    let limits = policy.gate_limits.entries().into_iter();
    lines.extend(limits.map(|(key, value, source)| format!("{key}: {value} ({source})")));
    lines
}

fn rule_line(verb: &str, rule: &Rule) -> String {
    let mut line = format!("{verb} {}, {}", rule.pattern, rule.ports);
    if let Some(methods) = &rule.methods {
        line.push_str(&format!(", {}", methods.join(" ")));
    }
    if let Some(paths) = &rule.paths {
        let paths: Vec<&str> = paths.iter().map(PathPattern::as_str).collect();
        line.push_str(&format!(", {}", paths.join(" ")));
    }
    if rule.private {
        line.push_str(", private addresses too");
    }
    match rule.protocol {
        Protocol::Web => {}
        Protocol::WebSocket => line.push_str(", WebSocket alone"),
        Protocol::Grpc => line.push_str(", gRPC alone"),
        Protocol::Tcp => line.push_str(", any protocol"),
    }
    match rule.intercept {
        Some(true) => line.push_str(", intercepted"),
        Some(false) => line.push_str(", TLS passed unread"),
        None => {}
    }
    if let Some(credential) = &rule.credential {
        line.push_str(&format!(", with the credential {credential}"));
    }
    if rule.dangerous_plaintext {
        line.push_str(" even in clear text");
    }
    format!("{} ({})", line.trim_start(), rule.source)
}

/// Whose TLS is ended at the gate, and why.
fn intercepted(rules: &NetworkPolicy) -> Vec<String> {
    let patterns: Vec<String> = rules
        .intercepted()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    if patterns.is_empty() {
        return Vec::new();
    }
    let layers = [
        rules.allow_rules(Layer::Operator),
        rules.allow_rules(Layer::Workspace),
        rules.deny_rules(),
    ];
    let all = || layers.into_iter().flatten();
    let mut reasons = Vec::new();
    let mut because = |there: bool, reason| {
        if there {
            reasons.push(reason);
        }
    };
    because(all().any(|rule| rule.methods.is_some()), "methods");
    because(all().any(|rule| rule.paths.is_some()), "paths");
    because(all().any(|rule| rule.credential.is_some()), "credentials");
    let typed = |rule: &Rule| matches!(rule.protocol, Protocol::WebSocket | Protocol::Grpc);
    because(all().any(typed), "protocols");
    because(
        all().any(|rule| rule.intercept == Some(true)),
        "`intercept`",
    );
    vec![format!(
        "TLS is ended at the gate, for {} of rules, at: {}",
        reasons.join(", "),
        patterns.join(", ")
    )]
}
