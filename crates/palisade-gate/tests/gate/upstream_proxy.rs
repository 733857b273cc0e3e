//! Everything through the operator's own proxy.

use crate::harness::{Server, Setup, TUNNELS, Way, hello, rule};

/// A proxy that grants every CONNECT and then speaks for the destination.
fn granting() -> Server {
    Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 200 Connection established\r\n\r\n");
        while let Some(bytes) = session.receive() {
            if bytes.starts_with(b"GET") {
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            } else {
                session.send_bytes(&bytes);
            }
        }
    })
}

#[test]
fn tunnels_and_plain_requests_go_through_it() {
    for way in TUNNELS {
        let proxy = granting();
        let gate = Setup::default()
            .rule(rule("a.example"))
            .proxy(&proxy)
            .start();
        let mut client = gate.tunnel(way, "a.example", 443);
        client.send(hello("a.example"));
        assert_eq!(client.exactly(1), [22], "{way:?}");
        let seen = proxy.text();
        assert!(
            seen.starts_with("CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n"),
            "{seen}"
        );
        assert!(
            seen.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"),
            "{seen}"
        );
        assert!(gate.resolver.asked().is_empty(), "the proxy looks names up");
    }
    let proxy = granting();
    let gate = Setup::default()
        .rule(rule("a.example"))
        .proxy(&proxy)
        .start();
    gate.get(Way::Forward, "a.example").assert_ok("ok");
    assert!(proxy.text().starts_with("CONNECT a.example:80 "));
}

#[test]
fn mappings_and_refusals_do_not_reach_it() {
    let proxy = granting();
    let server = Server::http("mapped");
    let mut wide = rule("10.0.0.9");
    wide.private = false;
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .rule(rule("*.wide.example"))
        .proxy(&proxy)
        .start();
    gate.get(Way::Forward, "a.example").assert_ok("mapped");
    gate.get(Way::Forward, "b.example")
        .assert_denied(403, "not-allowed");
    gate.get(Way::Forward, "10.0.0.9")
        .assert_denied(403, "not-allowed");
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn its_refusal_is_a_failure_and_tells_no_password() {
    for (answer, name) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"[..],
            "407",
        ),
        (b"garbage\r\n\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "surplus"),
        (b"", "closed"),
    ] {
        let proxy = Server::answers(answer);
        let gate = Setup::default()
            .rule(rule("a.example"))
            .proxy(&proxy)
            .start();
        let response = gate.get(Way::Forward, "a.example");
        assert_eq!(response.status, 502, "{name}");
        let log = format!("{response:?}{:?}", gate.sink.wait(1));
        assert!(
            !log.contains("secret") && !log.contains("bWU6"),
            "{name}: {log}"
        );
        let said = gate
            .open(Way::Connect, "a.example", 443)
            .map(|_| ())
            .unwrap_err();
        assert!(said.starts_with(b"HTTP/1.1 502 "), "{name}");
    }
}
