//! Policies with many rules: what it costs is counted in rules looked at, or bounded so generously that only a scan fails.

use std::time::{Duration, Instant};

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

fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The best of some runs, so that other work on the machine does not count.
fn decisions(policy: &NetworkPolicy, host: &str) -> Duration {
    let run = || {
        time(|| {
            for _ in 0..500 {
                assert!(matches!(decide(policy, host, "/a/b"), Decision::Permit(_)));
            }
        })
    };
    (0..7).map(|_| run()).min().unwrap()
}

#[test]
fn a_decision_does_not_look_at_the_rules_of_other_hosts() {
    let many = |count: usize| {
        build((0..count).map(|at| with_paths(rule(&format!("h{at}.example.com")), "/a/**")))
    };
    let (few, many) = (many(10), many(10_000));
    let few = decisions(&few, "h7.example.com");
    let many = decisions(&many, "h7.example.com");
    // A scan would make it a thousand times slower.
    assert!(
        many < few * 10,
        "{few:?} with 10 rules, {many:?} with 10,000"
    );
}

#[test]
fn ten_thousand_rules_of_one_host_are_built_and_asked_in_order() {
    let mut built = None;
    let took = time(|| {
        built = Some(build((0..10_000).map(|at| {
            // Half of them close, half not, in turns: each goes before the others of the second kind.
            match at % 2 {
                0 => rule("api.example.com"),
                _ => with_paths(rule("api.example.com"), &format!("/r{at}/**")),
            }
        })));
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    let policy = built.unwrap();
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
fn hosts_to_intercept_are_found_without_comparing_all_with_all() {
    let rules = (0..10_000).map(|at| match at % 2 {
        0 => rule(&format!("h{at}.example.com")),
        _ => with_paths(rule(&format!("h{at}.example.com")), "/a"),
    });
    let policy = build(rules);
    let mut found = 0;
    let took = time(|| found = policy.intercepted().len());
    assert_eq!(found, 5_000);
    assert!(took < Duration::from_secs(2), "{took:?}");
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
