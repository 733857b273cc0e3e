use super::*;
use crate::path::PathPattern;
use crate::pattern::HostPattern;
use crate::rule::{Ports, Source};

fn rule(pattern: &str, ports: Ports) -> Rule {
    Rule::new(
        HostPattern::parse(pattern).unwrap(),
        ports,
        Source::new("test"),
    )
}

fn decide(policy: &NetworkPolicy, host: &str, port: u16) -> Result<Permit, Denial> {
    let host = Host::parse(host.as_bytes()).unwrap();
    match policy.decide(&Request::new(&host, port)) {
        Decision::Permit(permit) => Ok(permit),
        Decision::Deny(denial) => Err(denial),
    }
}

fn reason(policy: &NetworkPolicy, host: &str, port: u16) -> DenialReason {
    decide(policy, host, port).unwrap_err().reason
}

#[test]
fn nothing_is_permitted_by_default() {
    assert_eq!(
        reason(&NetworkPolicy::default(), "example.com", 443),
        DenialReason::NotAllowed
    );
}

#[test]
fn the_most_specific_rule_decides_and_is_named() {
    let policy = NetworkPolicy::builder()
        .allow(rule("*.example.com", Ports::WEB))
        .allow(rule("api.example.com", Ports::WEB))
        .build();
    assert_eq!(
        decide(&policy, "api.example.com", 443)
            .unwrap()
            .rule()
            .as_str(),
        "allow api.example.com (test)"
    );
    assert_eq!(
        decide(&policy, "a.b.example.com", 80)
            .unwrap()
            .rule()
            .as_str(),
        "allow *.example.com (test)"
    );
}

#[test]
fn d04_deny_wins_in_any_spelling() {
    let policy = NetworkPolicy::builder()
        .allow(rule("*.example.com", Ports::WEB))
        .deny(rule("bad.example.com", Ports::ANY))
        .build();
    for spelling in ["bad.example.com", "BAD.example.COM", "bad.example.com."] {
        assert_eq!(reason(&policy, spelling, 443), DenialReason::DenyRule);
    }
    assert!(decide(&policy, "good.example.com", 443).is_ok());
}

#[test]
fn near_misses_are_named() {
    let policy = NetworkPolicy::builder()
        .allow(rule("api.example.com", Ports::list([443])))
        .allow(rule("*.example.org", Ports::WEB))
        .build();
    let near = |host, port| {
        decide(&policy, host, port)
            .unwrap_err()
            .near
            .unwrap()
            .because
    };
    assert_eq!(near("api.example.com", 80), "it covers port 443, not 80");
    assert_eq!(
        near("example.org", 443),
        "it covers names below example.org, not example.org itself"
    );
    assert_eq!(
        near("v2.api.example.com", 443),
        "it covers api.example.com alone, not the names below it"
    );
    assert_eq!(
        near("www.example.com", 443),
        "it covers api.example.com, a sibling of www.example.com"
    );
}

#[test]
fn the_workspace_layer_only_tightens() {
    let operator = || {
        NetworkPolicy::builder()
            .allow(rule("a.example.com", Ports::WEB))
            .allow(rule("b.example.com", Ports::WEB))
    };
    let policy = operator()
        .narrow([
            rule("a.example.com", Ports::WEB),
            rule("c.example.com", Ports::WEB),
        ])
        .build();
    assert!(decide(&policy, "a.example.com", 443).is_ok());
    assert_eq!(
        reason(&policy, "b.example.com", 443),
        DenialReason::Workspace
    );
    assert_eq!(
        reason(&policy, "c.example.com", 443),
        DenialReason::NotAllowed
    );
}

#[test]
fn d13_addresses_are_admitted_by_class() {
    let mut private = rule("private.example.com", Ports::WEB);
    private.private = true;
    let policy = NetworkPolicy::builder()
        .allow(rule("public.example.com", Ports::WEB))
        .allow(private)
        .allow(rule("10.1.2.3", Ports::WEB))
        .allow(rule("mapped.example.com", Ports::WEB))
        .resolve(
            Authority::parse(b"mapped.example.com:443", None).unwrap(),
            "127.0.0.1:8443".parse().unwrap(),
        )
        .build();
    let admits = |host: &str, ip: &str| {
        decide(&policy, host, 443)
            .unwrap()
            .admit(ip.parse().unwrap())
            .is_ok()
    };
    assert!(admits("public.example.com", "8.8.8.8"));
    assert!(!admits("public.example.com", "10.0.0.1"));
    assert!(!admits("public.example.com", "::ffff:127.0.0.1"));
    assert!(admits("private.example.com", "10.0.0.1"));
    assert!(!admits("private.example.com", "169.254.169.254"));
    assert!(admits("10.1.2.3", "10.1.2.3"));
    assert!(admits("mapped.example.com", "127.0.0.1"));
    assert!(!admits("mapped.example.com", "127.0.0.2"));
}

#[test]
fn d41_loopback_means_the_inside() {
    let policy = NetworkPolicy::builder()
        .allow(rule("localhost", Ports::ANY))
        .allow(rule("127.0.0.1", Ports::ANY))
        .build();
    for host in [
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(reason(&policy, host, 80), DenialReason::Loopback, "{host}");
    }
}

#[test]
fn p01_a_denied_path_is_denied_to_a_websocket_handshake_as_well() {
    let mut denied = rule("api.example.com", Ports::ANY);
    denied.paths = Some([PathPattern::parse("/admin/**").unwrap()].into());
    let mut websocket = rule("api.example.com", Ports::WEB);
    websocket.protocol = Protocol::WebSocket;
    for allowed in [rule("api.example.com", Ports::WEB), websocket] {
        let policy = NetworkPolicy::builder()
            .allow(allowed)
            .deny(denied.clone())
            .build();
        let ask = |path: &[u8]| {
            let host = Host::parse(b"api.example.com").unwrap();
            let http = HttpRequest {
                method: "GET",
                path: &RequestPath::parse(path),
                kind: HttpKind::WebSocket,
                secure: true,
            };
            match policy.decide(&Request::with_http(&host, 443, http)) {
                Decision::Permit(_) => "",
                Decision::Deny(denial) => denial.reason.code(),
            }
        };
        assert_eq!(ask(b"/socket"), "");
        assert_eq!(ask(b"/admin/x"), "deny-rule");
    }
}
