//! Attacks on where a message ends, on every way that carries plain HTTP.

use crate::harness::{PLAIN_WAYS, Response, Server, Setup, TestGate, Way};

fn setup() -> (Server, TestGate) {
    let server = Server::http("ok");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    (server, gate)
}

fn send(gate: &TestGate, way: Way, bytes: &[u8]) -> Response {
    let mut client = gate.tunnel(way, "a.example", 80);
    client.send(bytes);
    client.response()
}

/// A request with these bytes between the request line and the end of the head, and this behind it.
fn raw(way: Way, method: &str, lines: &[u8], body: &[u8]) -> Vec<u8> {
    let target = if way == Way::Forward {
        "http://a.example/"
    } else {
        "/"
    };
    let start = format!("{method} {target} HTTP/1.1\r\nhost: a.example\r\n");
    [start.as_bytes(), lines, b"\r\n", body].concat()
}

/// Refused with one of these statuses on every way, the connection closed, and nothing sent on.
fn refused(method: &str, lines: &[u8], body: &[u8], statuses: &[u16]) {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let mut client = gate.tunnel(way, "a.example", 80);
        client.send(raw(way, method, lines, body));
        // A second request that a lenient reader would find behind the first.
        client.send(raw(way, "GET", b"x-second: 1\r\n", b""));
        let response = client.response();
        let shown = String::from_utf8_lossy(lines);
        assert!(
            statuses.contains(&response.status),
            "{way:?} {shown:?}: {response:?}"
        );
        assert!(response.denied().is_some(), "{way:?} {shown:?}");
        assert_eq!(client.rest(), b"", "{way:?} {shown:?}: the connection ends");
        assert!(
            server.is_untouched(),
            "{way:?} {shown:?}: {}",
            server.text()
        );
        assert!(gate.sink.wait(1).iter().any(|r| r.denied), "{way:?}");
        send(&gate, way, &raw(way, "GET", b"", b"")).assert_ok("ok");
    }
}

#[test]
fn f01_both_lengths_are_refused() {
    let lines = b"content-length: 5\r\ntransfer-encoding: chunked\r\n";
    refused("POST", lines, b"0\r\n\r\n", &[400]);
    refused(
        "POST",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"0\r\n\r\n",
        &[400],
    );
}

#[test]
fn f02_transfer_encoding_is_chunked_and_nothing_else() {
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "\tchunked",
        "\x0bchunked",
        "chunked\t",
        "\"chunked\"",
        "",
    ] {
        let line = format!("transfer-encoding: {value}\r\n");
        refused("POST", line.as_bytes(), b"0\r\n\r\n", &[400]);
    }
    refused(
        "POST",
        b"transfer-encoding : chunked\r\n",
        b"0\r\n\r\n",
        &[400],
    );
    refused(
        "POST",
        b"transfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        &[400],
    );
    refused(
        "POST",
        b"transfer-encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"0\r\n\r\n",
        &[400],
    );
}

#[test]
fn f05_content_length_is_one_plain_number() {
    for value in [
        "5, 5",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "9223372036854775808",
        "99999999999999999999",
        "",
        "5;",
    ] {
        let line = format!("content-length: {value}\r\n");
        refused("POST", line.as_bytes(), b"hello", &[400]);
    }
    refused(
        "POST",
        b"content-length: 5\r\ncontent-length: 5\r\n",
        b"hello",
        &[400],
    );
    refused(
        "POST",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"hello",
        &[400],
    );
}

#[test]
fn f10_line_ends_and_control_bytes() {
    refused("GET", b"a: b\n", b"", &[400]);
    refused("GET", b"a: b\nc: d\r\n", b"", &[400]);
    refused("GET", b"a: b\rc: d\r\n", b"", &[400]);
    refused("GET", b"a: b\0c\r\n", b"", &[400]);
    refused("GET", b"a: \x1b[31m\r\n", b"", &[400]);
}

#[test]
fn f11_field_lines() {
    refused("GET", b" a: b\r\n", b"", &[400]);
    refused("GET", b"a: b\r\n c\r\n", b"", &[400]);
    refused("GET", b": b\r\n", b"", &[400]);
    refused("GET", b"a\r\n", b"", &[400]);
    refused("GET", b"a b: c\r\n", b"", &[400]);
    refused("GET", b"a : b\r\n", b"", &[400]);
    refused("GET", "\u{e4}: b\r\n".as_bytes(), b"", &[400]);
}

#[test]
fn f13_versions_and_prefaces() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let target = if way == Way::Forward {
            "http://a.example/"
        } else {
            "/"
        };
        for (version, status) in [
            ("HTTP/0.9", 505),
            ("HTTP/1.9", 505),
            ("HTTP/2.0", 505),
            ("http/1.1", 0),
        ] {
            let response = send(
                &gate,
                way,
                format!("GET {target} {version}\r\nhost: a.example\r\n\r\n").as_bytes(),
            );
            if status != 0 {
                assert_eq!(response.status, status, "{way:?} {version}");
            }
            assert!(response.denied().is_some(), "{way:?} {version}");
        }
        assert!(
            send(&gate, way, format!("GET {target}\r\n\r\n").as_bytes())
                .denied()
                .is_some(),
            "{way:?}: 0.9"
        );
        assert!(
            send(&gate, way, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .denied()
                .is_some(),
            "{way:?}"
        );
        assert!(server.is_untouched(), "{way:?}");
        let old = send(
            &gate,
            way,
            format!("GET {target} HTTP/1.0\r\nhost: a.example\r\n\r\n").as_bytes(),
        );
        old.assert_ok("ok");
    }
}

#[test]
fn f14_the_next_request_begins_where_the_last_ended() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let mut client = gate.tunnel(way, "a.example", 80);
        let first = raw(way, "POST", b"content-length: 5\r\n", b"hello");
        let second = raw(way, "POST", b"content-length: 3\r\nx-second: 1\r\n", b"abc");
        client.send([first, second].concat());
        client.response().assert_ok("ok");
        client.response().assert_ok("ok");
        let seen = server.text();
        let second_head = seen.rfind("POST").unwrap();
        assert!(
            seen[..second_head].ends_with("\r\n\r\nhello"),
            "{way:?}: {seen}"
        );
        assert!(seen.ends_with("\r\n\r\nabc"), "{way:?}: {seen}");
    }
}

#[test]
fn f16_no_upgrade_to_http_2() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let lines = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
        send(&gate, way, &raw(way, "GET", lines, b"")).assert_ok("ok");
        let seen = server.text().to_lowercase();
        assert!(
            !seen.contains("upgrade") && !seen.contains("http2"),
            "{way:?}: {seen}"
        );
    }
}

#[test]
fn p02_fragments_are_refused() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let target = if way == Way::Forward {
            "http://a.example/x#y"
        } else {
            "/x#y"
        };
        let response = send(
            &gate,
            way,
            format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n\r\n").as_bytes(),
        );
        response.assert_denied(400, "bad-request");
        assert!(server.is_untouched(), "{way:?}");
        send(&gate, way, &raw(way, "GET", b"", b"")).assert_ok("ok");
    }
}

#[test]
fn p04_methods_are_exact() {
    for method in ["get", "G'ET", "FOO", "Post"] {
        for way in PLAIN_WAYS {
            let (server, gate) = setup();
            let response = send(&gate, way, &raw(way, method, b"", b""));
            assert!(
                response.denied().is_some() || response.status == 0,
                "{way:?} {method}: {response:?}"
            );
            assert!(server.is_untouched(), "{way:?} {method}");
        }
    }
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        for method in [
            "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND",
        ] {
            let mut client = gate.tunnel(way, "a.example", 80);
            client.send(raw(way, method, b"", b""));
            assert!(
                client.head().starts_with("HTTP/1.1 200 "),
                "{way:?} {method}"
            );
        }
        assert!(server.text().contains("PROPFIND /"), "{way:?}");
    }
}

#[test]
fn c07_trace_is_not_carried() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        for method in ["TRACE", "TRACK"] {
            send(&gate, way, &raw(way, method, b"", b"")).assert_denied(405, "protocol");
        }
        assert!(server.is_untouched(), "{way:?}");
    }
}

#[test]
fn c02_c04_fields_of_one_hop_and_of_proxies_end_at_the_gate() {
    for way in PLAIN_WAYS {
        let (server, gate) = setup();
        let lines = b"proxy-authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nproxy-x: y\r\n\
            connection: x-named, keep-alive\r\nX-Named: z\r\nkeep-alive: timeout=5\r\nte: gzip\r\n\
            trailer: x\r\npalisade-token: t\r\naccept: */*\r\n";
        let response = send(&gate, way, &raw(way, "GET", lines, b""));
        response.assert_ok("ok");
        let seen = server.text().to_lowercase();
        for gone in [
            "proxy-",
            "c2vjcmv0",
            "x-named",
            "keep-alive",
            "te:",
            "trailer",
            "palisade-",
        ] {
            assert!(!seen.contains(gone), "{way:?}: {gone} in {seen}");
        }
        assert!(seen.contains("accept: */*"), "{way:?}");
    }
}
