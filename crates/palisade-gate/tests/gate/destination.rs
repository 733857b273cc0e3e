//! Attacks on what the destination is: two readers of one request, names that lie, addresses that change.

use std::net::SocketAddr;

use crate::harness::{PLAIN_WAYS, Server, Setup, TUNNELS, TestGate, Way, request, rule};

fn one_server() -> (Server, TestGate) {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("allowed.example", 80, &server)
        .map("evil.example", 80, &server)
        .start();
    (server, gate)
}

/// Names this host on each way that carries names, and expects `bad-host`.
fn refused_as_name(gate: &TestGate, host: &[u8]) {
    let before = gate.sink.requests().len();
    let mut expected = before;
    for way in [Way::Forward, Way::Connect] {
        let mut client = gate.proxy();
        let target = match way {
            Way::Forward => [
                b"GET http://",
                host,
                b"/ HTTP/1.1\r\nhost: allowed.example\r\n\r\n",
            ]
            .concat(),
            _ => [
                b"CONNECT ",
                host,
                b":80 HTTP/1.1\r\nhost: allowed.example:80\r\n\r\n",
            ]
            .concat(),
        };
        client.send(target);
        let response = client.response();
        assert_eq!(response.status, 400, "{way:?} {host:?}: {response:?}");
        assert!(
            matches!(response.denied(), Some("bad-host" | "bad-request")),
            "{response:?}"
        );
        expected += 1;
    }
    for (request, at, code) in [
        (socks5(host), 1, 2),
        (
            [&[4, 1, 0, 80, 0, 0, 0, 1, 0][..], host, &[0]].concat(),
            1,
            0x5b,
        ),
    ] {
        let mut client = gate.proxy();
        if request[0] == 5 {
            client.send([5, 1, 0]);
            assert_eq!(client.exactly(2), [5, 0]);
        }
        let nul_ends_it = request[0] == 4 && host.contains(&0);
        client.send(&request);
        let reply = client.exactly(if request[0] == 5 { 10 } else { 8 });
        assert_eq!(reply[at], code, "{host:?}");
        assert!(nul_ends_it || client.rest().is_empty());
        expected += 1;
    }
    let records = gate.sink.wait(expected);
    assert!(records[before..].iter().all(|r| r.denied), "{records:#?}");
}

fn socks5(host: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(host.len()).unwrap()];
    [&[5, 1, 0, 3][..], &length, host, &[0, 80]].concat()
}

fn still_works(gate: &TestGate) {
    for way in PLAIN_WAYS {
        gate.get(way, "allowed.example").assert_ok("ok");
    }
}

#[test]
fn d01_nul_in_a_name_is_refused_on_every_way() {
    let (server, gate) = one_server();
    refused_as_name(&gate, b"evil\0.allowed.example");
    assert!(server.is_untouched());
    assert!(gate.resolver.asked().is_empty(), "nothing was looked up");
    still_works(&gate);
}

#[test]
fn d02_other_bytes_in_a_name_are_refused_on_every_way() {
    let (server, gate) = one_server();
    for host in [
        &b"allowed%2eexample"[..],
        b"a%00.allowed.example",
        b"a\x7f.allowed.example",
        b"a*b.example",
    ] {
        refused_as_name(&gate, host);
    }
    assert!(server.is_untouched());
    still_works(&gate);
}

#[test]
fn d04_case_and_trailing_dot_mean_the_same_host() {
    for way in PLAIN_WAYS {
        let (server, gate) = one_server();
        gate.get(way, "ALLOWED.Example").assert_ok("ok");
        if way != Way::Transparent {
            gate.get(way, "allowed.example.").assert_ok("ok");
        }
        assert!(
            server.text().contains("host: allowed.example\r\n"),
            "{way:?}: one spelling leaves the gate"
        );
        assert!(!server.text().contains("ALLOWED"), "{way:?}");
    }
}

#[test]
fn d05_d08_unicode_and_repairs_are_refused_on_every_way() {
    let (server, gate) = one_server();
    for host in [
        "allowed\u{3002}example",
        "\u{ff41}llowed.example",
        "allowed\u{200b}.example",
        "xn--a.example",
        "evil\\.allowed.example",
        "evil;.allowed.example",
    ] {
        refused_as_name(&gate, host.as_bytes());
    }
    assert!(server.is_untouched());
    still_works(&gate);
}

#[test]
fn d07_userinfo_is_never_a_host_and_never_recorded() {
    let (server, gate) = one_server();
    for host in [
        "allowed.example@evil.example",
        "user:hunter2@allowed.example",
        "allowed.example:80@evil.example",
    ] {
        refused_as_name(&gate, host.as_bytes());
    }
    assert!(server.is_untouched());
    let log = format!("{:?}", gate.sink.records());
    assert!(!log.contains("hunter2"), "{log}");
    still_works(&gate);
}

#[test]
fn d10_d11_addresses_in_odd_forms() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("192.0.2.7", 80, &server)
        .map("10.0.0.1", 80, &server)
        .start();
    for host in [
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "0x7f.1",
        "127.1",
        "2130706433",
        "0300.0.2.7",
    ] {
        refused_as_name(&gate, host.as_bytes());
    }
    assert!(server.is_untouched());
    for way in [Way::Forward, Way::Connect] {
        gate.get(way, "192.0.2.7").assert_ok("ok");
        // An IPv4-mapped address is the IPv4 address it stands for, in decisions as in dials.
        gate.get(way, "[::ffff:192.0.2.7]").assert_ok("ok");
    }
    gate.get(Way::Transparent, "192.0.2.7").assert_ok("ok");
    let mapped: SocketAddr = "[::ffff:192.0.2.7]:80".parse().unwrap();
    let mut client = gate.caught(mapped);
    client.send("GET / HTTP/1.1\r\nhost: 192.0.2.7\r\n\r\n");
    client.response().assert_ok("ok");
}

#[test]
fn d16_wildcards_match_whole_labels() {
    let server = Server::http("ok");
    for way in PLAIN_WAYS {
        let gate = Setup::default()
            .rule(rule("*.allowed.example"))
            .map("a.allowed.example", 80, &server)
            .map("allowed.example.evil.example", 80, &server)
            .map("evilallowed.example", 80, &server)
            .start();
        for host in [
            "allowed.example.evil.example",
            "evilallowed.example",
            "allowed.example",
        ] {
            if let Ok(mut client) = gate.open(way, host, 80) {
                client.send(request(way, host, "GET /", "", ""));
                client.response().assert_denied(403, "not-allowed");
            }
        }
        gate.get(way, "a.allowed.example").assert_ok("ok");
    }
}

#[test]
fn d19_the_host_field_has_to_agree_on_every_way() {
    for way in PLAIN_WAYS {
        let (server, gate) = one_server();
        for other in [
            "evil.example",
            "allowed.example:8080",
            "sub.allowed.example",
        ] {
            let mut client = gate.tunnel(way, "allowed.example", 80);
            let target = if way == Way::Forward {
                "http://allowed.example/"
            } else {
                "/"
            };
            client.send(format!("GET {target} HTTP/1.1\r\nhost: {other}\r\n\r\n"));
            client.response().assert_denied(421, "host-mismatch");
        }
        assert!(server.is_untouched(), "{way:?}");
        gate.get(way, "allowed.example").assert_ok("ok");
    }
}

#[test]
fn d19_connect_names_one_host() {
    let (server, gate) = one_server();
    let mut client = gate.proxy();
    client.send("CONNECT allowed.example:80 HTTP/1.1\r\nhost: evil.example:80\r\n\r\n");
    client.response().assert_denied(421, "host-mismatch");
    assert!(server.is_untouched());
    let mut client = gate.proxy();
    client.send("CONNECT allowed.example:80 HTTP/1.1\r\nhost: allowed.example\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn d20_one_host_field_with_one_host_on_every_way() {
    for way in PLAIN_WAYS {
        let (server, gate) = one_server();
        for lines in [
            "host: allowed.example\r\nhost: allowed.example\r\n",
            "host: allowed.example\r\nHost: evil.example\r\n",
            "host: allowed.example, evil.example\r\n",
            "host: allowed.example/path\r\n",
            "host: allowed.example evil.example\r\n",
            "host: user@allowed.example\r\n",
            "host:\r\n",
            "",
        ] {
            let mut client = gate.tunnel(way, "allowed.example", 80);
            let target = if way == Way::Forward {
                "http://allowed.example/"
            } else {
                "/"
            };
            client.send(format!("GET {target} HTTP/1.1\r\n{lines}\r\n"));
            let response = client.response();
            assert_eq!(response.status, 400, "{way:?} {lines:?}: {response:?}");
        }
        assert!(server.is_untouched(), "{way:?}");
        gate.get(way, "allowed.example").assert_ok("ok");
    }
}

#[test]
fn d25_the_proxy_port_takes_no_origin_form() {
    let (server, gate) = one_server();
    let mut client = gate.proxy();
    client.send("GET / HTTP/1.1\r\nhost: allowed.example\r\n\r\n");
    client.response().assert_denied(400, "bad-request");
    assert!(server.is_untouched());
    gate.get(Way::Forward, "allowed.example").assert_ok("ok");
}

#[test]
fn d31_a_tunnel_leads_to_no_second_proxy() {
    for way in TUNNELS {
        let (server, gate) = one_server();
        for inner in [
            "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n",
            "GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        ] {
            let mut client = gate.tunnel(way, "allowed.example", 80);
            client.send(inner);
            let response = client.response();
            assert!(
                matches!(response.denied(), Some("protocol" | "host-mismatch")),
                "{way:?} {response:?}"
            );
        }
        let mut client = gate.tunnel(way, "allowed.example", 80);
        client.send([5, 1, 0]);
        assert_eq!(client.rest(), b"", "{way:?}: no SOCKS within");
        assert!(server.is_untouched(), "{way:?}");
        let mut client = gate.tunnel(way, "allowed.example", 80);
        client.send("GET http://allowed.example/ HTTP/1.1\r\nhost: allowed.example\r\n\r\n");
        client.response().assert_ok("ok");
    }
}

#[test]
fn d38_claims_about_the_client_end_at_the_gate() {
    for way in PLAIN_WAYS {
        let (server, gate) = one_server();
        let claims = "Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\
            X-Forwarded-Proto: https\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-Envoy-Internal: true\r\n\
            X-Own: kept\r\n";
        gate.ask(way, "allowed.example", "GET /", claims, "")
            .assert_ok("ok");
        let seen = server.text().to_lowercase();
        for claim in ["forwarded", "x-original-url", "x-rewrite-url", "x-envoy"] {
            assert!(!seen.contains(claim), "{way:?}: {seen}");
        }
        assert!(seen.contains("x-own: kept"), "{way:?}");
    }
}

#[test]
fn d40_only_http_and_connect() {
    let (server, gate) = one_server();
    for scheme in ["ftp", "file", "gopher", "ws", "wss", "urn", "cache_object"] {
        let mut client = gate.proxy();
        client.send(format!(
            "GET {scheme}://allowed.example/ HTTP/1.1\r\nhost: allowed.example\r\n\r\n"
        ));
        client.response().assert_denied(403, "protocol");
    }
    let mut client = gate.proxy();
    client.send(
        "POST https://allowed.example/v1?key=hunter2 HTTP/1.1\r\nhost: allowed.example\r\n\
         x-api-key: hunter3\r\ncontent-length: 7\r\n\r\nhunter4",
    );
    let response = client.response();
    response.assert_denied(403, "protocol");
    assert!(response.text().contains("CONNECT"), "{}", response.text());
    assert!(server.is_untouched());
    let log = format!("{:?}{response:?}", gate.sink.records());
    assert!(!log.contains("hunter"), "{log}");
    gate.get(Way::Forward, "allowed.example").assert_ok("ok");
}
