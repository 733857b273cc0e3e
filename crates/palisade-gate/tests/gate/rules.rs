//! Rules down to method, path and protocol, over plain HTTP by each way in.

use palisade_audit::Spoken;
use palisade_policy::{PathPattern, Protocol, Rule};

use crate::harness::{PLAIN_WAYS, Server, Setup, TestGate, Way, request, rule};

fn paths(pattern: &str, globs: &[&str]) -> Rule {
    let globs = globs.iter().map(|glob| PathPattern::parse(glob).unwrap());
    Rule {
        paths: Some(globs.collect()),
        ..rule(pattern)
    }
}

fn gate_for(server: &Server, rule: Rule) -> TestGate {
    Setup::default()
        .rule(rule)
        .map("a.example", 80, server)
        .start()
}

fn get(gate: &TestGate, way: Way, path: &str) -> crate::harness::Response {
    gate.ask(way, "a.example", &format!("GET {path}"), "", "")
}

#[test]
fn p01_one_canonical_path_or_none() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server, paths("a.example", &["/pub/**"]));
        for path in [
            "/pub/../admin",
            "/pub/./x",
            "/pub/%2e%2e/admin",
            "/pub/.%2E/admin",
            "/pub/..%2fadmin",
            "/pub/%5c..%5cadmin",
            "/pub\\..\\admin",
            "//pub/x",
            "/pub//x",
            "/pub/..;/admin",
            "/pub/x;y=1",
            "/pub/%252e%252e/admin",
            "/pub/%00",
            "/pub/%c0%ae%c0%ae/admin",
            "/pub/x.",
            "/pub/x%20",
            "/pub/%zz",
        ] {
            let response = get(&gate, way, path);
            response.assert_denied(403, "ambiguous-path");
        }
        for path in ["/admin", "/PUB/x", "/pub%2fx", "/", "/pubx"] {
            get(&gate, way, path).assert_denied(403, "path-not-allowed");
        }
        assert!(server.is_untouched(), "{way:?}");
        get(&gate, way, "/pub/x").assert_ok("ok");
    }
}

#[test]
fn p01_what_was_judged_is_what_is_sent() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server, paths("a.example", &["/pub/**"]));
        get(&gate, way, "/p%75b/%7euser/a%3fb?x=%2e%2e&y=//").assert_ok("ok");
        let text = server.text();
        let expected = "GET /pub/~user/a%3Fb?x=%2e%2e&y=// HTTP/1.1\r\n";
        assert!(text.contains(expected), "{way:?}: {text}");
    }
    // Where no rule judges paths they pass as they came.
    let server = Server::http("ok");
    let gate = gate_for(&server, rule("a.example"));
    get(&gate, Way::Forward, "/p%75b/../x//y").assert_ok("ok");
    assert!(server.text().contains("GET /p%75b/../x//y HTTP/1.1\r\n"));
}

#[test]
fn p02_fragments_are_refused() {
    let server = Server::http("ok");
    let gate = gate_for(&server, paths("a.example", &["/pub/**"]));
    for path in ["/pub/x#y", "/pub/#/../admin"] {
        get(&gate, Way::Forward, path).assert_denied(400, "bad-request");
    }
    assert!(server.is_untouched());
    get(&gate, Way::Forward, "/pub/x").assert_ok("ok");
}

#[test]
fn p04_methods_are_exact() {
    let methods = Rule {
        methods: Some(["GET".into(), "POST".into()].into()),
        ..rule("a.example")
    };
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server, methods.clone());
        for start in [
            "DELETE /", "PUT /", "HEADX /", "get /", "G'ET /", "Get /", "TRACE /",
        ] {
            let response = gate.ask(way, "a.example", start, "", "");
            assert!(response.status >= 400, "{way:?} {start}: {response:?}");
            assert!(response.denied().is_some(), "{start}");
        }
        gate.ask(way, "a.example", "DELETE /", "", "")
            .assert_denied(403, "method-not-allowed");
        // A server that honours this would see another method than the rule did.
        assert!(server.is_untouched());
        gate.ask(way, "a.example", "POST /", "content-length: 2\r\n", "hi")
            .assert_ok("ok");
    }
}

#[test]
fn p04_the_method_is_the_one_in_the_first_line() {
    let server = Server::http("ok");
    let gate = gate_for(&server, rule("a.example"));
    let lines = "x-http-method-override: DELETE\r\nX-HTTP-Method: PUT\r\nX-Method-Override: PUT\r\nx-own: 1\r\n";
    gate.ask(Way::Forward, "a.example", "GET /", lines, "")
        .assert_ok("ok");
    let text = server.text().to_lowercase();
    assert!(
        !text.contains("method") && text.contains("x-own: 1"),
        "{text}"
    );
}

#[test]
fn c16_one_reading_of_host_and_path() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(paths("a.example", &["/pub/**"]))
        .map("a.example", 80, &server)
        .allow("b.example", 80, &server)
        .start();
    for line in [
        "GET http://a.example/admin HTTP/1.1\r\nhost: b.example\r\n\r\n",
        "GET http://b.example/admin HTTP/1.1\r\nhost: a.example\r\n\r\n",
        "GET http://a.example//pub/x HTTP/1.1\r\nhost: a.example\r\n\r\n",
        "GET http://a.example?/pub/x HTTP/1.1\r\nhost: a.example\r\n\r\n",
    ] {
        let mut client = gate.proxy();
        client.send(line);
        assert!(client.response().denied().is_some(), "{line}");
    }
    assert!(server.is_untouched());
    get(&gate, Way::Forward, "/pub/x").assert_ok("ok");
}

#[test]
fn c17_every_value_counts() {
    let server = Server::http("ok");
    let grpc = Rule {
        protocol: Protocol::Grpc,
        ..rule("a.example")
    };
    let gate = gate_for(&server, grpc);
    let ask = |lines: &str| {
        let lines = format!("{lines}content-length: 0\r\n");
        gate.ask(Way::Forward, "a.example", "POST /s/m", &lines, "")
    };
    let grpc = "content-type: application/grpc\r\n";
    let text = "content-type: text/plain\r\n";
    for lines in [format!("{grpc}{text}"), format!("{text}{grpc}")] {
        ask(&lines).assert_denied(400, "bad-request");
    }
    ask(text).assert_denied(403, "protocol");
    assert!(server.is_untouched());
    ask(grpc).assert_ok("ok");
    let record = gate.sink.wait(4).pop().unwrap();
    assert_eq!(record.spoken, Some(Spoken::Grpc));
}

#[test]
fn f17_a_websocket_needs_a_rule_of_its_own_where_the_gate_looks() {
    let ask = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n";
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: y\r\n\r\nhi");
    });
    let gate = gate_for(&server, paths("a.example", &["/**"]));
    gate.ask(Way::Forward, "a.example", "GET /ws", ask, "")
        .assert_denied(403, "protocol");
    assert!(server.is_untouched());
    let socket = Rule {
        protocol: Protocol::WebSocket,
        ..rule("a.example")
    };
    let gate = gate_for(&server, socket);
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /ws", ask, ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.rest(), b"hi");
    drop(client);
    assert_eq!(gate.sink.only().spoken, Some(Spoken::WebSocket));
}
