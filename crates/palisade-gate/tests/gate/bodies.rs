//! Bodies both ways, and upstreams that lie about them.

use std::time::Duration;

use crate::harness::{PLAIN_WAYS, Server, Setup, TestGate, Way, request};

fn gate_for(server: &Server) -> TestGate {
    Setup::default().allow("a.example", 80, server).start()
}

fn chunked_server() -> Server {
    Server::new(|mut session| {
        let mut seen = Vec::new();
        while let Some(bytes) = session.receive() {
            seen.extend(bytes);
            if seen.ends_with(b"0\r\n\r\n") {
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                seen.clear();
            }
        }
    })
}

#[test]
fn f07_chunks_are_framed_anew() {
    for way in PLAIN_WAYS {
        let server = chunked_server();
        let gate = gate_for(&server);
        let body = "5;ext=\"a b\"\r\nhello\r\n006\r\n world\r\n0\r\n\r\n";
        gate.ask(
            way,
            "a.example",
            "POST /",
            "transfer-encoding: chunked\r\n",
            body,
        )
        .assert_ok("ok");
        let seen = server.text();
        assert!(
            seen.ends_with("\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
            "{way:?}: {seen}"
        );
    }
}

#[test]
fn f07_malformed_chunks_are_refused() {
    for way in PLAIN_WAYS {
        for body in [
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "fffffffffffffffff\r\n",
        ] {
            let server = chunked_server();
            let gate = gate_for(&server);
            let response = gate.ask(
                way,
                "a.example",
                "POST /",
                "transfer-encoding: chunked\r\n",
                body,
            );
            response.assert_denied(400, "bad-request");
            assert!(
                !server.text().contains("0\r\n\r\n"),
                "{way:?} {body:?}: no end reached upstream"
            );
            let good = gate.ask(
                way,
                "a.example",
                "POST /",
                "transfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            );
            good.assert_ok("ok");
        }
    }
}

#[test]
fn f08_trailers_are_dropped_both_ways() {
    for way in PLAIN_WAYS {
        let server = Server::new(|mut session| {
            let mut seen = Vec::new();
            while let Some(bytes) = session.receive() {
                seen.extend(bytes);
                if seen.ends_with(b"0\r\n\r\n") {
                    session.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: set-cookie\r\n\r\n");
                    session.send("2\r\nok\r\n0\r\nset-cookie: x\r\n\r\n");
                    seen.clear();
                }
            }
        });
        let gate = gate_for(&server);
        let body = "1\r\nx\r\n0\r\nAuthorization: stolen\r\nContent-Length: 9\r\n\r\n";
        // The client's reader would fail on a trailer.
        let response = gate.ask(
            way,
            "a.example",
            "POST /",
            "transfer-encoding: chunked\r\n",
            body,
        );
        response.assert_ok("ok");
        assert_eq!(response.field("trailer"), None);
        assert!(!server.text().contains("stolen"), "{way:?}");
    }
}

#[test]
fn f04_expectations_are_met_by_the_gate() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server);
        let mut client = gate.tunnel(way, "a.example", 80);
        client.send(request(
            way,
            "a.example",
            "POST /",
            "expect: 100-continue\r\ncontent-length: 5\r\n",
            "",
        ));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n", "{way:?}");
        client.send("hello");
        client.response().assert_ok("ok");
        assert!(!server.text().to_lowercase().contains("expect"), "{way:?}");
        let response = gate.ask(way, "a.example", "GET /", "expect: something-else\r\n", "");
        response.assert_denied(417, "bad-request");
    }
}

#[test]
fn f04_an_early_answer_ends_both_connections() {
    let server = Server::new(|mut session| {
        session.receive();
        session.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
        while session.receive().is_some() {}
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send(request(
        Way::Forward,
        "a.example",
        "POST /",
        "content-length: 1000000\r\n",
        "part",
    ));
    let response = client.response();
    assert_eq!(
        (response.status, response.field("connection")),
        (413, Some("close"))
    );
    assert_eq!(client.rest(), b"");
    // The rest of the body must not be read as a request by the next user of the upstream connection.
    gate.get(Way::Forward, "a.example");
    assert_eq!(server.connections(), 2);
}

#[test]
fn f22_one_response_a_request() {
    for way in PLAIN_WAYS {
        let server = Server::answers(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        );
        let gate = gate_for(&server);
        let mut client = gate.tunnel(way, "a.example", 80);
        for _ in 0..2 {
            client.send(request(way, "a.example", "GET /", "", ""));
            client.response().assert_ok("ok");
        }
        assert!(
            server.connections() >= 2,
            "{way:?}: a connection with surplus bytes is not used again"
        );
    }
}

#[test]
fn f22_a_response_nobody_asked_for_is_nobodys_answer() {
    for way in PLAIN_WAYS {
        let server = Server::new(|mut session| {
            while session.request().is_some() {
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                session.wait(Duration::from_millis(30));
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
            }
        });
        let gate = gate_for(&server);
        let mut client = gate.tunnel(way, "a.example", 80);
        for _ in 0..3 {
            client.send(request(way, "a.example", "GET /", "", ""));
            client.response().assert_ok("ok");
            std::thread::sleep(Duration::from_millis(80));
        }
    }
}

#[test]
fn f22_lying_responses_become_one_of_ours() {
    for (bytes, name) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok"[..],
            "both lengths",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            "two lengths",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "coding",
        ),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "folded"),
        (b"HTTP/1.1 200 OK\nx: y\n\n", "bare line feeds"),
        (b"HTTP/1.1 200 OK\r\nset-cookie: a\x00b\r\n\r\n", "NUL"),
        (b"HTTP/2 200\r\n\r\n", "version"),
        (b"220 smtp.example ESMTP\r\n\r\n", "no HTTP"),
        (
            b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            "unasked upgrade",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
            "chunk",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "part of a head"),
        (b"", "nothing"),
    ] {
        let server = Server::answers(bytes);
        let gate = gate_for(&server);
        let response = gate.get(Way::Forward, "a.example");
        assert_eq!(
            (response.status, response.denied()),
            (502, None),
            "{name}: {response:?}"
        );
        let record = gate.sink.only();
        assert!(
            !record.denied && record.error.is_some(),
            "{name}: {record:?}"
        );
    }
}

#[test]
fn f22_interim_responses_are_bounded() {
    let interim = |count: usize| {
        Server::new(move |mut session| {
            while session.request().is_some() {
                session.send(&"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count));
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        })
    };
    let server = interim(16);
    gate_for(&server)
        .get(Way::Forward, "a.example")
        .assert_ok("ok");
    let server = interim(17);
    assert_eq!(gate_for(&server).get(Way::Forward, "a.example").status, 502);
}

#[test]
fn a_truncated_response_is_not_made_to_look_whole() {
    for (bytes, name) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"[..],
            "length",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
            "chunked",
        ),
    ] {
        let server = Server::answers(bytes);
        let gate = gate_for(&server);
        let mut client = gate.proxy();
        client.send(request(Way::Forward, "a.example", "GET /", "", ""));
        assert!(client.head().starts_with("HTTP/1.1 200 "), "{name}");
        let rest = client.rest();
        assert!(
            !rest.ends_with(b"0\r\n\r\n") && rest.len() < 100,
            "{name}: {rest:?}"
        );
        assert!(gate.sink.only().error.is_some(), "{name}");
    }
}

#[test]
fn responses_without_a_body_and_without_a_length() {
    let server = Server::new(|mut session| {
        while let Some(head) = session.request() {
            if head.starts_with("HEAD") {
                session.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            } else if head.starts_with("GET /204") {
                session.send("HTTP/1.1 204 No Content\r\n\r\n");
            } else if head.starts_with("GET /304") {
                session.send("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n");
            } else {
                session.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
                return;
            }
        }
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "HEAD /", "", ""));
    assert!(client.head().contains("content-length: 1000\r\n"));
    client.send(request(Way::Forward, "a.example", "GET /204", "", ""));
    assert!(client.head().starts_with("HTTP/1.1 204 "));
    client.send(request(Way::Forward, "a.example", "GET /304", "", ""));
    assert!(client.head().starts_with("HTTP/1.1 304 "));
    client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    client.response().assert_ok("until the end");
    assert_eq!(server.connections(), 1, "all of them on one connection");
}

#[test]
fn old_clients_get_no_chunks() {
    let server = Server::answers(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send("GET http://a.example/ HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!(response.field("transfer-encoding"), None);
    response.assert_ok("ok");
}

#[test]
fn streams_are_passed_on_as_they_come() {
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        session.send("8\r\ndata: 1\n\r\n");
        // The second event comes only after the first was seen.
        session.receive();
        session.send("8\r\ndata: 2\n\r\n0\r\n\r\n");
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    let body = "5\r\nfirst\r\n";
    client.send(request(
        Way::Forward,
        "a.example",
        "POST /",
        "transfer-encoding: chunked\r\n",
        body,
    ));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(client.exactly(13), b"8\r\ndata: 1\n\r\n");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(client.exactly(18), b"8\r\ndata: 2\n\r\n0\r\n\r\n");
}

#[test]
fn large_bodies_arrive_whole_both_ways() {
    for way in PLAIN_WAYS {
        let server = Server::new(|mut session| {
            let mut seen = 0;
            let mut head = 0;
            let mut sum = 0u64;
            while let Some(bytes) = session.receive() {
                if head == 0 {
                    head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                    seen = bytes.len() - head;
                    sum += bytes[head..].iter().map(|b| u64::from(*b)).sum::<u64>();
                } else {
                    seen += bytes.len();
                    sum += bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
                }
                if seen == 5_000_000 {
                    let body = vec![7; 6_000_000];
                    session.send(&format!(
                        "HTTP/1.1 200 OK\r\nx-sum: {sum}\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    ));
                    session.send_bytes(&body);
                    return;
                }
            }
        });
        let gate = gate_for(&server);
        let body: String = "0123456789".repeat(500_000);
        let sum: u64 = body.bytes().map(u64::from).sum();
        let response = gate.ask(
            way,
            "a.example",
            "POST /",
            "content-length: 5000000\r\n",
            &body,
        );
        assert_eq!(response.body.len(), 6_000_000, "{way:?}");
        assert_eq!(
            response.field("x-sum"),
            Some(sum.to_string().as_str()),
            "{way:?}"
        );
        let record = gate
            .sink
            .wait(1)
            .into_iter()
            .find(|r| r.method.as_deref() == Some("POST"))
            .unwrap();
        assert!(
            record.up > 5_000_000 && record.down > 6_000_000,
            "{way:?}: {record:?}"
        );
    }
}

#[test]
fn a_kept_connection_that_the_server_closed_costs_no_request() {
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        // Closed without a word, some time after the answer.
        session.wait(Duration::from_millis(30));
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    for pause in [0, 60, 29, 30, 31, 60] {
        client.send(request(Way::Forward, "a.example", "GET /", "", ""));
        client.response().assert_ok("ok");
        std::thread::sleep(Duration::from_millis(pause));
    }
    assert_eq!(gate.sink.wait(6).len(), 6);
}
