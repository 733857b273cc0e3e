//! Policies with many rules. What a decision costs with them is for the benchmark to say.

use palisade_policy::{
    CredentialName, Decision, Host, HostPattern, HttpKind, HttpRequest, Inspection, NetworkPolicy,
    PathPattern, Ports, Request, RequestPath, Rule, Source,
};
use proptest::prelude::*;

fn rule(pattern: &str) -> Rule {
    let pattern = HostPattern::parse(pattern).unwrap();
    Rule::new(pattern, Ports::WEB, Source::new("test"))
}

fn with_paths(mut rule: Rule, path: &str) -> Rule {
    rule.paths = Some([PathPattern::parse(path).unwrap()].into());
    rule
}

fn build(rules: impl IntoIterator<Item = Rule>) -> NetworkPolicy {
    let builder = NetworkPolicy::builder();
    rules
        .into_iter()
        .fold(builder, |builder, rule| builder.allow(rule))
        .build()
}

fn decide(policy: &NetworkPolicy, host: &str, path: &str) -> Decision {
    let host = Host::parse(host.as_bytes()).unwrap();
    let path = RequestPath::parse(path.as_bytes());
    let http = HttpRequest {
        method: "GET",
        path: &path,
        kind: HttpKind::Plain,
        secure: true,
    };
    policy.decide(&Request::with_http(&host, 443, http))
}

#[test]
fn each_of_ten_thousand_hosts_has_its_own_rule() {
    let many = (0..10_000).map(|at| with_paths(rule(&format!("h{at}.example.com")), "/a/**"));
    let policy = build(many);
    for at in [0, 7, 9_999] {
        let host = format!("h{at}.example.com");
        let Decision::Permit(permit) = decide(&policy, &host, "/a/b") else {
            panic!("{host} has a rule");
        };
        assert_eq!(permit.rule().as_str(), format!("allow {host} (test)"));
        assert!(matches!(decide(&policy, &host, "/b"), Decision::Deny(_)));
    }
}

#[test]
fn ten_thousand_rules_of_one_host_are_built_and_asked_in_order() {
    // Half of them close, half not, in turns: each goes before the others of the second kind.
    let policy = build((0..10_000).map(|at| match at % 2 {
        0 => rule("api.example.com"),
        _ => with_paths(rule("api.example.com"), &format!("/r{at}/**")),
    }));
    assert!(matches!(
        decide(&policy, "api.example.com", "/r9999/x"),
        Decision::Permit(_)
    ));
    assert!(matches!(
        decide(&policy, "api.example.com", "/none"),
        Decision::Permit(_)
    ));
}

#[test]
fn of_ten_thousand_hosts_those_to_intercept_are_found() {
    let rules = (0..10_000).map(|at| match at % 2 {
        0 => rule(&format!("h{at}.example.com")),
        _ => with_paths(rule(&format!("h{at}.example.com")), "/a"),
    });
    let policy = build(rules);
    assert_eq!(policy.intercepted().len(), 5_000);
}

const PATTERNS: [&str; 9] = [
    "a.example",
    "b.a.example",
    "*.a.example",
    "*.b.a.example",
    "c.b.a.example",
    "*.d.example",
    "e.d.example",
    "192.0.2.1",
    "192.0.2.2",
];

/// A host that is a good example of each pattern, and its neighbours.
const HOSTS: [&str; 9] = [
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "x.c.b.a.example",
    "d.example",
    "e.d.example",
    "f.d.example",
    "192.0.2.1",
    "192.0.2.2",
];

proptest! {
    /// What is intercepted is a host the session's authority may sign for, and what it may sign for is asked for by a rule.
    #[test]
    fn the_authority_may_sign_for_what_is_intercepted(
        written in prop::collection::vec((prop::sample::select(PATTERNS.to_vec()), 0..4usize), 0..8),
        denied in prop::collection::vec((prop::sample::select(PATTERNS.to_vec()), any::<bool>()), 0..3),
    ) {
        let allow = written.iter().map(|(pattern, kind)| {
            let mut rule = rule(pattern);
            match kind {
                1 => rule = with_paths(rule, "/a"),
                2 => rule.credential = CredentialName::new("key"),
                3 => rule.intercept = Some(true),
                _ => {}
            }
            rule
        });
        let builder = allow.fold(NetworkPolicy::builder(), |builder, rule| builder.allow(rule));
        let builder = denied.iter().fold(builder, |builder, (pattern, judges)| {
            let rule = rule(pattern);
            builder.deny(if *judges { with_paths(rule, "/admin") } else { rule })
        });
        let policy = builder.build();
        let signs = policy.intercepted();
        for host in HOSTS {
            let host = Host::parse(host.as_bytes()).unwrap();
            if let Decision::Permit(permit) = policy.decide(&Request::new(&host, 443))
                && permit.inspection() == Inspection::Intercept
            {
                prop_assert!(signs.iter().any(|pattern| pattern.matches(&host)), "{host}");
            }
        }
        // By comparing all with all.
        let looking: Vec<HostPattern> = written.iter().filter(|(_, kind)| *kind > 0).map(|(pattern, _)| *pattern)
            .chain(denied.iter().filter(|(_, judges)| *judges).map(|(pattern, _)| *pattern))
            .map(|pattern| HostPattern::parse(pattern).unwrap()).collect();
        for (pattern, _) in &written {
            let pattern = HostPattern::parse(pattern).unwrap();
            let expected = looking.iter().any(|other| other.overlaps(&pattern));
            prop_assert_eq!(signs.contains(&&pattern), expected, "{}", pattern);
        }
    }
}
