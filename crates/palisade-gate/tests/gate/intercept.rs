//! TLS that ends at the gate: who is trusted, what is offered, and that no way in goes round it.

use std::time::Duration;

use palisade_policy::{PathPattern, Rule};
use palisade_test_support::authority::Authority;

use crate::harness::{Client, Server, Setup, TUNNELS, TestGate, Way, request, rule};

const H1: &[&str] = &["http/1.1"];
const BOTH: &[&str] = &["h2", "http/1.1"];

/// `a.example` may be asked for `/open/**` and is looked into, `t.example` is tunnelled; `server` answers for both.
fn setup(protocols: &[&str]) -> (Server, TestGate) {
    let authority = Authority::new();
    let server =
        Server::http("hello").within_tls(&authority, &["a.example", "t.example"], protocols);
    let judged = Rule {
        paths: Some([PathPattern::parse("/open/**").unwrap()].into()),
        ..rule("a.example")
    };
    let gate = Setup::default()
        .rule(judged)
        .map("a.example", 443, &server)
        .allow("t.example", 443, &server)
        .intercept(&authority)
        .start();
    (server, gate)
}

fn secured(gate: &TestGate, way: Way, host: &str, protocols: &[&str]) -> (Client, Option<String>) {
    let client = gate.tunnel(way, host, 443);
    client.secure(&gate.trust, host, protocols).unwrap()
}

fn get(client: &mut Client, host: &str, path: &str) -> crate::harness::Response {
    client.send(request(Way::Connect, host, &format!("GET {path}"), "", ""));
    client.response()
}

#[test]
fn each_way_in_is_looked_into() {
    for way in TUNNELS {
        let (server, gate) = setup(H1);
        let (mut client, protocol) = secured(&gate, way, "a.example", H1);
        assert_eq!(protocol.as_deref(), Some("http/1.1"));
        get(&mut client, "a.example", "/open/x").assert_ok("hello");
        get(&mut client, "a.example", "/closed").assert_denied(403, "path-not-allowed");
        get(&mut client, "a.example", "/open/../closed").assert_denied(403, "ambiguous-path");
        get(&mut client, "a.example", "/open/y").assert_ok("hello");
        let text = server.text();
        assert!(
            text.contains("GET /open/x ") && !text.contains("closed"),
            "{way:?}: {text}"
        );
        let records = gate.sink.wait(4);
        let paths: Vec<_> = records
            .iter()
            .filter_map(|record| record.path.as_deref())
            .collect();
        assert_eq!(
            paths,
            ["/open/x", "/closed", "/open/../closed", "/open/y"],
            "{way:?}"
        );
        assert!(records.iter().all(|record| record.entry == way.entry()));
    }
}

#[test]
fn a_client_that_has_no_alpn_is_served() {
    let (_server, gate) = setup(H1);
    let (mut client, protocol) = secured(&gate, Way::Connect, "a.example", &[]);
    assert_eq!(protocol, None);
    get(&mut client, "a.example", "/open/x").assert_ok("hello");
}

#[test]
fn a_client_is_offered_what_the_server_speaks() {
    let (_server, gate) = setup(H1);
    for way in TUNNELS {
        let (mut client, protocol) = secured(&gate, way, "a.example", BOTH);
        assert_eq!(protocol.as_deref(), Some("http/1.1"), "{way:?}");
        get(&mut client, "a.example", "/open/x").assert_ok("hello");
    }
}

#[test]
fn hosts_that_no_rule_looks_into_are_tunnelled() {
    let (_server, gate) = setup(H1);
    let refused = gate
        .tunnel(Way::Connect, "t.example", 443)
        .secure(&gate.trust, "t.example", H1)
        .err()
        .expect("the server's own certificate, which the session's authority did not sign");
    assert!(refused.contains("certificate"), "{refused}");
}

#[test]
fn the_authority_signs_for_its_hosts_alone() {
    // The rule for it is a tunnel, so the authority may not speak for it; its own hosts are the control above.
    let (_server, gate) = setup(H1);
    assert!(gate.trust.contains("BEGIN CERTIFICATE"));
    let refused = gate
        .tunnel(Way::Connect, "a.example", 443)
        .secure(Authority::new().pem(), "a.example", H1)
        .err()
        .expect("another authority");
    assert!(refused.contains("certificate"), "{refused}");
    let records = gate.sink.wait(1);
    assert_eq!(records[0].reason, Some("client-distrusts-gate"));
    let error = records[0].error.as_deref().unwrap();
    assert!(error.contains("intercept = false"), "{error}");
}

#[test]
fn d23_the_request_inside_names_the_host_of_the_connection() {
    let (server, gate) = setup(H1);
    for (host, line) in [
        (
            "t.example",
            "GET /open/x HTTP/1.1\r\nhost: t.example\r\n\r\n",
        ),
        (
            "x",
            "GET http://t.example/open/x HTTP/1.1\r\nhost: t.example\r\n\r\n",
        ),
    ] {
        let (mut client, _) = secured(&gate, Way::Connect, "a.example", H1);
        client.send(line);
        client.response().assert_denied(421, "host-mismatch");
        assert!(!server.text().contains(host) || host == "x");
    }
    let (mut client, _) = secured(&gate, Way::Connect, "a.example", H1);
    get(&mut client, "a.example", "/open/x").assert_ok("hello");
}

#[test]
fn a_server_that_is_not_who_it_should_be_is_refused() {
    let (mine, other) = (Authority::new(), Authority::new());
    let wrong_name = Server::http("x").within_tls(&mine, &["b.example"], H1);
    let wrong_authority = Server::http("x").within_tls(&other, &["a.example"], H1);
    for server in [wrong_name, wrong_authority] {
        let gate = Setup::default()
            .rule(Rule {
                intercept: Some(true),
                ..rule("a.example")
            })
            .map("a.example", 443, &server)
            .intercept(&mine)
            .start();
        let (mut client, _) = secured(&gate, Way::Connect, "a.example", H1);
        let response = get(&mut client, "a.example", "/");
        assert_eq!(response.status, 502);
        assert!(
            response.text().contains("certificate"),
            "{}",
            response.text()
        );
        assert!(server.is_untouched());
    }
}

#[test]
fn requests_of_several_clients_share_kept_connections() {
    let (server, gate) = setup(H1);
    for _ in 0..3 {
        let (mut client, _) = secured(&gate, Way::Connect, "a.example", H1);
        get(&mut client, "a.example", "/open/x").assert_ok("hello");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.connections(), 1);
}
