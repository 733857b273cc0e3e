//! What is permitted works on every way in, and what is not is refused on every way in, each told in its protocol.

use crate::harness::{Client, PLAIN_WAYS, Server, Setup, TUNNELS, Way, hello, request};
use palisade_policy::Ports;
use std::io::Write as _;

#[test]
fn plain_requests_pass_on_every_way() {
    for way in PLAIN_WAYS {
        let server = Server::http("hello");
        let gate = Setup::default().allow("a.example", 80, &server).start();
        gate.get(way, "a.example").assert_ok("hello");
        let seen = server.text();
        assert!(
            seen.starts_with("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"),
            "{way:?}: {seen}"
        );
        let inner = gate
            .sink
            .wait(1)
            .into_iter()
            .find(|r| r.method.as_deref() == Some("GET"))
            .unwrap();
        assert_eq!(
            (inner.entry, inner.host.as_str(), inner.port),
            (way.entry(), "a.example", 80)
        );
        assert_eq!((inner.denied, inner.status), (false, Some(200)));
        assert_eq!(inner.rule.as_deref(), Some("allow a.example (test)"));
        assert_eq!(inner.address, Some([127, 0, 0, 1].into()));
        assert!(inner.up > 30 && inner.down > 50, "{inner:?}");
    }
}

#[test]
fn tls_passes_untouched_on_every_way() {
    for way in TUNNELS {
        let server = Server::echo();
        let gate = Setup::default().allow("a.example", 443, &server).start();
        let mut client = gate.tunnel(way, "a.example", 443);
        let hello = hello("a.example");
        client.send(&hello);
        assert_eq!(client.exactly(hello.len()), hello, "{way:?}");
        client.send(b"more");
        assert_eq!(client.exactly(4), b"more");
        client.end();
        assert_eq!(client.rest(), b"");
        let record = gate.sink.only();
        assert_eq!(
            (record.entry, record.host.as_str(), record.port),
            (way.entry(), "a.example", 443)
        );
        assert!(!record.denied && record.error.is_none(), "{record:?}");
        assert!(record.up >= hello.len() as u64 + 4 && record.down >= hello.len() as u64 + 4);
    }
}

#[test]
fn what_no_rule_allows_is_refused_on_every_way() {
    for way in PLAIN_WAYS {
        let server = Server::http("secret");
        let gate = Setup::default()
            .allow("a.example", 80, &server)
            .map("other.example", 80, &server)
            .start();
        match gate.open(way, "other.example", 80) {
            Ok(mut client) => {
                client.send(request(way, "other.example", "GET /", "", ""));
                client.response().assert_denied(403, "not-allowed");
            }
            Err(said) if way == Way::Connect => {
                let said = String::from_utf8(said).unwrap();
                let first =
                    "HTTP/1.1 403 Blocked by palisade: other.example:80: no rule allows it\r\n";
                assert!(said.starts_with(first), "{said}");
                assert!(
                    said.contains("\r\npalisade-denied: not-allowed\r\n"),
                    "{said}"
                );
                assert!(said.contains(r#""type":"permission_error""#), "{said}");
                assert!(
                    said.contains("a sibling of") || !said.contains("is near"),
                    "{said}"
                );
            }
            Err(reply) => assert!(matches!(reply[..2], [5, 2] | [0, 0x5b]), "{reply:?}"),
        }
        let record = gate.sink.only();
        assert_eq!(
            (record.denied, record.reason),
            (true, Some("not-allowed")),
            "{way:?}"
        );
        assert_eq!((record.host.as_str(), record.port), ("other.example", 80));
        assert!(server.is_untouched());
        gate.get(way, "a.example").assert_ok("secret");
        let summary = gate.summary.get();
        assert_eq!(summary.denied, 1);
        assert_eq!(summary.denied_hosts[0].host, "other.example");
    }
}

#[test]
fn a_refusal_is_read_even_by_a_client_that_is_still_sending() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = Setup::default().allow("a.example", 80, &server).start();
        let body = "x".repeat(1_500_000);
        let lines = format!("host: b.example\r\ncontent-length: {}\r\n", body.len());
        let mut client = gate.tunnel(way, "a.example", 80);
        let all = request(way, "a.example", "POST /", &lines, &body);
        // A client that cannot send shows that, and not the reason.
        client.stream.write_all(all.as_bytes()).unwrap();
        client.response().assert_denied(400, "bad-request");
        assert!(server.is_untouched(), "{way:?}");
        gate.get(way, "a.example").assert_ok("ok");
    }
}

#[test]
fn a_tls_client_that_is_refused_gets_an_alert() {
    let server = Server::echo();
    let gate = Setup::default().allow("a.example", 443, &server).start();
    let mut client = gate.tunnel(Way::Transparent, "other.example", 443);
    client.send(hello("other.example"));
    assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 49]);
    let record = gate.sink.only();
    assert_eq!(record.reason, Some("not-allowed"));
    assert!(server.is_untouched());
    let mut allowed = gate.tunnel(Way::Transparent, "a.example", 443);
    allowed.send(hello("a.example"));
    assert_eq!(allowed.exactly(3), [22, 3, 1]);
}

#[test]
fn ports_and_deny_rules_hold_on_every_way() {
    for way in TUNNELS {
        let server = Server::echo();
        let mut narrow = crate::harness::rule("a.example");
        narrow.ports = Ports::list([443]);
        let gate = Setup::default()
            .rule(narrow)
            .map("a.example", 443, &server)
            .map("a.example", 8443, &server)
            .rule(crate::harness::rule("*.b.example"))
            .map("x.b.example", 443, &server)
            .map("y.b.example", 443, &server)
            .deny("x.b.example")
            .start();
        let refused = |host: &str, port: u16, reason: &str| {
            let before = gate.sink.requests().len();
            if let Ok(mut client) = gate.open(way, host, port) {
                client.send(hello(host));
                assert_eq!(client.rest(), [21, 3, 3, 0, 2, 2, 49]);
            }
            let record = gate.sink.wait(before + 1)[before].clone();
            assert_eq!(
                (record.denied, record.reason),
                (true, Some(reason)),
                "{way:?} {host}"
            );
        };
        refused("a.example", 8443, "port-not-allowed");
        refused("x.b.example", 443, "deny-rule");
        assert!(server.is_untouched());
        for host in ["a.example", "y.b.example"] {
            let mut client = gate.tunnel(way, host, 443);
            client.send(hello(host));
            assert_eq!(client.exactly(1), [22], "{way:?} {host}");
        }
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let server = Server::http("x");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    let mut client = gate.proxy();
    for _ in 0..50 {
        client.send(request(
            Way::Forward,
            "a.example",
            "GET /p?secret=1",
            "",
            "",
        ));
        client.response().assert_ok("x");
    }
    let mut second = gate.proxy();
    second.send(request(Way::Forward, "a.example", "GET /", "", ""));
    second.response().assert_ok("x");
    assert_eq!(server.connections(), 1);
    let records = gate.sink.wait(51);
    assert_eq!(records.len(), 51);
    assert!(
        records[..50]
            .iter()
            .all(|r| r.path.as_deref() == Some("/p")),
        "the query is left out"
    );
}

#[test]
fn d26_each_pipelined_request_is_judged_afresh() {
    let (a, b) = (Server::http("from a"), Server::http("from b"));
    let gate = Setup::default()
        .allow("a.example", 80, &a)
        .allow("b.example", 80, &b)
        .map("c.example", 80, &a)
        .start();
    let mut client = gate.proxy();
    let all: String = ["a.example", "c.example", "b.example", "a.example"]
        .map(|host| request(Way::Forward, host, "GET /", "", ""))
        .concat();
    client.send(all);
    client.response().assert_ok("from a");
    client.response().assert_denied(403, "not-allowed");
    client.response().assert_ok("from b");
    client.response().assert_ok("from a");
    assert_eq!(gate.sink.wait(4).iter().filter(|r| r.denied).count(), 1);
    assert!(!a.text().contains("c.example"));
}

#[test]
fn raw_protocols_need_a_rule_that_says_so() {
    for way in TUNNELS {
        let greets_first = || {
            Server::new(|mut session| {
                session.send("SSH-2.0-server\r\n");
                while let Some(bytes) = session.receive() {
                    session.send_bytes(&bytes);
                }
            })
        };
        let (raw, web) = (greets_first(), greets_first());
        let gate = Setup::default()
            .allow_tcp("raw.example", 22, &raw)
            .allow("web.example", 22, &web)
            .limits(|limits| limits.hello_time = std::time::Duration::from_millis(300))
            .start();
        let mut client: Client = gate.tunnel(way, "raw.example", 22);
        assert_eq!(client.exactly(16), b"SSH-2.0-server\r\n", "{way:?}");
        client.send(b"SSH-2.0-client\r\n");
        assert_eq!(client.exactly(16), b"SSH-2.0-client\r\n");
        drop(client);

        // The server's greeting does not reach a client that says nothing itself.
        let mut silent = gate.tunnel(way, "web.example", 22);
        assert_eq!(silent.rest(), b"", "{way:?}");
        let records = gate.sink.wait(2);
        assert_eq!(
            records
                .iter()
                .find(|r| r.host == "web.example")
                .unwrap()
                .reason,
            Some("not-tls")
        );
        assert!(web.is_untouched());
    }
}

#[test]
fn d32_other_protocols_on_a_web_rule_are_refused() {
    for way in TUNNELS {
        let server = Server::echo();
        let gate = Setup::default().allow("a.example", 443, &server).start();
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"\x00\x01binary",
            b"\x16\x03\x01\x00\x00",
            b"EHLO x\r\n",
        ] {
            let mut client = gate.tunnel(way, "a.example", 443);
            client.send(bytes);
            let said = client.rest();
            assert!(
                !said.windows(3).any(|w| w == &bytes[..3]),
                "{way:?}: {said:?}"
            );
        }
        let mut good = gate.tunnel(way, "a.example", 443);
        good.send(hello("a.example"));
        assert_eq!(good.exactly(1), [22]);
        assert_eq!(
            server.bytes(),
            hello("a.example"),
            "{way:?}: nothing else reached it"
        );
        let refused = gate.sink.wait(4).into_iter().filter(|r| r.denied).count();
        assert_eq!(refused, 4, "{way:?}");
    }
}

#[test]
fn half_closed_tunnels_go_on_the_other_way() {
    for way in TUNNELS {
        let server = Server::new(|mut session| {
            while session.receive().is_some() {}
            session.send("the end was seen");
        });
        let gate = Setup::default().allow_tcp("a.example", 9, &server).start();
        let mut client = gate.tunnel(way, "a.example", 9);
        client.send(b"question");
        client.end();
        assert_eq!(client.rest(), b"the end was seen", "{way:?}");
    }
}

#[test]
fn failures_of_permitted_requests_are_no_denials() {
    let gone = Server::http("x");
    let refuses = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut private = crate::harness::rule("closed.example");
    private.private = true;
    let gate = Setup::default()
        .allow("a.example", 80, &gone)
        .rule(private)
        .address("closed.example", &["127.0.0.1"])
        .rule(crate::harness::rule("nowhere.example"))
        .start();
    let port = refuses.port();
    let mut client = gate.proxy();
    client.send(format!(
        "GET http://closed.example:{port}/ HTTP/1.1\r\nhost: closed.example:{port}\r\n\r\n"
    ));
    let response = client.response();
    assert_eq!((response.status, response.denied()), (502, None));
    assert!(response.text().contains("refused"), "{}", response.text());
    client.send(request(Way::Forward, "nowhere.example", "GET /", "", ""));
    assert_eq!(client.response().status, 502);
    let records = gate.sink.wait(2);
    assert!(
        records.iter().all(|r| !r.denied && r.error.is_some()),
        "{records:?}"
    );
    assert_eq!(gate.summary.get().denied, 0);
    let reply = gate
        .open(Way::Socks5, "nowhere.example", 443)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(reply[1], 4, "host unreachable");
    let reply = gate
        .open(Way::Connect, "nowhere.example", 443)
        .map(|_| ())
        .unwrap_err();
    assert!(reply.starts_with(b"HTTP/1.1 502 "));
}
