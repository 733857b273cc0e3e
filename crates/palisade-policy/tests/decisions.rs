//! Decisions about requests against their own description in plain words: which rules cover a request, which of them is asked
//! first, and that nothing is permitted which no rule covers.

use palisade_policy::{
    CredentialName, Decision, Host, HostPattern, HttpKind, HttpRequest, NetworkPolicy, PathPattern,
    Permit, Ports, Protocol, Request, RequestPath, Rule, Source,
};
use proptest::prelude::*;

const PATTERNS: [&str; 5] = [
    "b.a.example",
    "*.a.example",
    "*.b.a.example",
    "a.example",
    "c.example",
];
const HOSTS: [&str; 5] = [
    "b.a.example",
    "c.b.a.example",
    "a.example",
    "x.a.example",
    "c.example",
];
const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/b", "/a/../b", "/a%2fb", "/%61"];
const GLOBS: [&str; 4] = ["/a", "/a/**", "/*", "/a%2F*"];
const METHODS: [&str; 3] = ["GET", "POST", "get"];

#[derive(Clone, Debug)]
struct Written {
    pattern: &'static str,
    methods: Vec<&'static str>,
    paths: Vec<&'static str>,
    protocol: Protocol,
    credential: bool,
}

fn written() -> impl Strategy<Value = Written> {
    (
        prop::sample::select(PATTERNS.to_vec()),
        prop::collection::vec(prop::sample::select(vec!["GET", "POST"]), 0..2),
        prop::collection::vec(prop::sample::select(GLOBS.to_vec()), 0..2),
        prop::sample::select(vec![
            Protocol::Web,
            Protocol::Web,
            Protocol::Web,
            Protocol::WebSocket,
            Protocol::Grpc,
        ]),
        any::<bool>(),
    )
        .prop_map(|(pattern, methods, paths, protocol, credential)| Written {
            pattern,
            methods,
            paths,
            protocol,
            credential,
        })
}

fn rule(written: &Written, at: usize) -> Rule {
    let pattern = HostPattern::parse(written.pattern).unwrap();
    let mut rule = Rule::new(pattern, Ports::WEB, Source::new(format!("line {at}")));
    if !written.methods.is_empty() {
        rule.methods = Some(
            written
                .methods
                .iter()
                .map(|&method| method.into())
                .collect(),
        );
    }
    if !written.paths.is_empty() {
        let globs = written.paths.iter();
        rule.paths = Some(
            globs
                .map(|glob| PathPattern::parse(glob).unwrap())
                .collect(),
        );
    }
    rule.protocol = written.protocol;
    if written.credential {
        rule.credential = CredentialName::new("key");
    }
    rule
}

fn policy(allow: &[Written], deny: &[Written]) -> NetworkPolicy {
    let mut builder = NetworkPolicy::builder();
    for (at, written) in allow.iter().enumerate() {
        builder = builder.allow(rule(written, at));
    }
    for (at, written) in deny.iter().enumerate() {
        builder = builder.deny(rule(written, at));
    }
    builder.build()
}

fn ask(
    policy: &NetworkPolicy,
    host: &str,
    method: &str,
    path: &str,
    kind: HttpKind,
) -> Option<Permit> {
    let host = Host::parse(host.as_bytes()).unwrap();
    let path = RequestPath::parse(path.as_bytes());
    let http = HttpRequest {
        method,
        path: &path,
        kind,
        secure: true,
    };
    match policy.decide(&Request::with_http(&host, 443, http)) {
        Decision::Permit(permit) => Some(permit),
        Decision::Deny(_) => None,
    }
}

/// Whether a rule covers a request, by its words. None: it judges paths, and this one is ambiguous.
fn covers(rule: &Rule, method: &str, path: &str, kind: HttpKind) -> Option<bool> {
    let parsed = RequestPath::parse(path.as_bytes());
    let path_fits = match &rule.paths {
        None => true,
        Some(globs) => {
            let canonical = parsed.canonical().ok()?;
            globs.iter().any(|glob| glob.matches(canonical))
        }
    };
    let kind_fits = match (rule.protocol, kind) {
        (Protocol::Web, HttpKind::WebSocket) => !rule.looks_inside(),
        (Protocol::Web, _) => true,
        (Protocol::WebSocket, kind) => kind == HttpKind::WebSocket,
        (Protocol::Grpc, kind) => kind == HttpKind::Grpc,
        (Protocol::Tcp, _) => true,
    };
    let methods = rule.methods.as_ref();
    let method_fits = methods.is_none_or(|list| list.iter().any(|one| **one == *method));
    Some(path_fits && kind_fits && method_fits)
}

/// The rules of a host in the order they are asked, by sorting all of them.
fn in_order<'a>(rules: &'a [Rule], host: &Host) -> Vec<&'a Rule> {
    let width = |rule: &Rule| match &rule.pattern {
        HostPattern::Exact(_) => 0,
        HostPattern::Below(name) => usize::MAX - name.labels().count(),
    };
    let typed = |rule: &Rule| matches!(rule.protocol, Protocol::WebSocket | Protocol::Grpc);
    let mut found: Vec<&Rule> = rules
        .iter()
        .filter(|rule| rule.pattern.matches(host))
        .collect();
    // A stable sort: of equals the one that was written first stays first.
    found.sort_by_key(|rule| {
        (
            width(rule),
            rule.paths.is_none(),
            rule.methods.is_none(),
            !typed(rule),
            rule.credential.is_none(),
        )
    });
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_closest_rule_that_covers_a_request_decides(
        allow in prop::collection::vec(written(), 0..8),
        host in prop::sample::select(HOSTS.to_vec()),
        method in prop::sample::select(METHODS.to_vec()),
        path in prop::sample::select(PATHS.to_vec()),
        kind in prop::sample::select(vec![HttpKind::Plain, HttpKind::Plain, HttpKind::WebSocket, HttpKind::Grpc]),
    ) {
        let policy = policy(&allow, &[]);
        let rules: Vec<Rule> = allow.iter().enumerate().map(|(at, written)| rule(written, at)).collect();
        let parsed = Host::parse(host.as_bytes()).unwrap();
        let mut expected = None;
        for rule in in_order(&rules, &parsed) {
            match covers(rule, method, path, kind) {
                Some(true) => {
                    expected = Some(rule);
                    break;
                }
                Some(false) => {
                    let whole = rule.methods.is_none() && rule.paths.is_none();
                    if whole && rule.protocol == Protocol::Web {
                        break;
                    }
                }
                // A path that a rule on the way would have to judge is refused.
                None => break,
            }
        }
        let permit = ask(&policy, host, method, path, kind);
        let named = permit.as_ref().map(|permit| permit.rule().as_str().to_owned());
        let wanted = expected.map(|rule| format!("allow {} ({})", rule.pattern, rule.source));
        prop_assert_eq!(named, wanted);
        let credential = permit.as_ref().and_then(|permit| permit.credential());
        prop_assert_eq!(credential.is_some(), expected.is_some_and(|rule| rule.credential.is_some()));
    }

    /// A deny rule takes away what it covers, and gives nothing.
    #[test]
    fn deny_rules_only_take_away(
        allow in prop::collection::vec(written(), 0..6),
        deny in prop::collection::vec(written(), 0..4),
        host in prop::sample::select(HOSTS.to_vec()),
        method in prop::sample::select(METHODS.to_vec()),
        path in prop::sample::select(PATHS.to_vec()),
        kind in prop::sample::select(vec![HttpKind::Plain, HttpKind::WebSocket, HttpKind::Grpc]),
    ) {
        let alone = ask(&policy(&allow, &[]), host, method, path, kind);
        let both = ask(&policy(&allow, &deny), host, method, path, kind);
        let parsed = Host::parse(host.as_bytes()).unwrap();
        let mut covered = false;
        for (at, written) in deny.iter().enumerate() {
            let rule = rule(written, at);
            // What it is the beginning of is all the same to a deny rule.
            let any_kind = Rule { protocol: Protocol::Tcp, ..rule.clone() };
            covered |= rule.pattern.matches(&parsed) && covers(&any_kind, method, path, kind) == Some(true);
        }
        if let Some(permit) = &both {
            prop_assert!(!covered, "{}", permit.rule());
            prop_assert_eq!(Some(permit.rule()), alone.as_ref().map(Permit::rule));
        }
        if deny.is_empty() {
            prop_assert_eq!(both.is_some(), ask(&policy(&allow, &[]), host, method, path, kind).is_some());
        }
    }

    /// Each request that is permitted could make its connection: a client is not sent away before it can ask.
    #[test]
    fn what_is_permitted_on_a_connection_may_be_connected_to(
        allow in prop::collection::vec(written(), 0..6),
        deny in prop::collection::vec(written(), 0..4),
        host in prop::sample::select(HOSTS.to_vec()),
        path in prop::sample::select(PATHS.to_vec()),
    ) {
        let policy = policy(&allow, &deny);
        if ask(&policy, host, "GET", path, HttpKind::Plain).is_some() {
            let parsed = Host::parse(host.as_bytes()).unwrap();
            let connection = policy.decide(&Request::new(&parsed, 443));
            prop_assert!(matches!(connection, Decision::Permit(_)));
        }
    }
}
