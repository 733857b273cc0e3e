//! Rules for gRPC: what is a call of it, and what of one is judged.

use std::sync::Arc;

use http::{Request, Response};
use palisade_audit::Spoken;
use palisade_policy::{PathPattern, Protocol, Rule};
use palisade_test_support::authority::Authority;

use super::{Got, H2, Upstream, agent, ask_with, fetch, run};
use crate::harness::{Setup, TestGate, rule};

const TYPE: (&str, &str) = ("content-type", "application/grpc");

/// A gate with one rule for `a.example`.
fn gate_for(upstream: &Upstream, rule: Rule) -> TestGate {
    let authority = Authority::new();
    let server = upstream.within_tls(&authority, &["a.example"], H2);
    Setup::default()
        .rule(rule)
        .map("a.example", 443, &server)
        .intercept(&authority)
        .start()
}

/// Answers every call with an empty message.
fn service() -> Upstream {
    Upstream::new(|_, mut respond| async move {
        let response = Response::builder().header(TYPE.0, TYPE.1).body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        let message = bytes::Bytes::from_static(&[0; 5]);
        stream.send_data(message, true).unwrap();
    })
}

fn grpc() -> Rule {
    Rule {
        protocol: Protocol::Grpc,
        ..rule("a.example")
    }
}

fn paths(paths: &[&str]) -> Option<Arc<[PathPattern]>> {
    let paths = paths.iter().map(|path| PathPattern::parse(path).unwrap());
    Some(paths.collect())
}

fn call(path: &str) -> Request<()> {
    ask_with(&format!("POST {path}"), &[TYPE, ("te", "trailers")])
}

/// Sends this with an empty message, if it has a body at all.
fn sent(gate: &TestGate, request: Request<()>) -> Got {
    let body: &[u8] = if request.method() == "POST" {
        &[0; 5]
    } else {
        b""
    };
    run(async { fetch(&agent(gate).await, request, body).await.unwrap() })
}

#[test]
fn c17_a_rule_for_grpc_permits_nothing_else() {
    let upstream = service();
    let gate = gate_for(&upstream, grpc());
    for (start, fields) in [
        ("POST /plain", &[][..]),
        ("GET /plain", &[]),
        ("POST /plain", &[("content-type", "application/json")]),
        ("POST /plain", &[("content-type", "application/grpc-web")]),
        ("POST /plain", &[("content-type", "application/grpcx")]),
        ("POST /plain", &[("content-type", "x application/grpc")]),
        ("POST /plain", &[("te", "trailers"), ("accept", TYPE.1)]),
        // A call is a POST (the protocol's "Call-Definition"); a server answers others whatever type they claim.
        ("GET /plain", &[TYPE]),
        ("PUT /plain", &[TYPE]),
        ("DELETE /plain", &[TYPE]),
    ] {
        let got = sent(&gate, ask_with(start, fields));
        got.assert_denied(403, "protocol");
    }
    assert!(upstream.seen().is_empty(), "{}", upstream.seen());
    for value in [
        "application/grpc",
        "application/grpc+proto",
        "Application/GRPC; x=y",
    ] {
        let request = ask_with("POST /shop.Cart/Add", &[("content-type", value)]);
        sent(&gate, request).assert_ok("\0\0\0\0\0");
    }
    assert_eq!(upstream.seen().matches("POST ").count(), 3);
    let records = super::records(&gate, 13);
    let calls = records.iter().filter(|record| !record.denied);
    assert!(
        calls
            .clone()
            .all(|record| record.spoken == Some(Spoken::Grpc)),
        "{records:?}"
    );
    assert_eq!(calls.count(), 3);
}

#[test]
fn c17_paths_judge_the_method_that_is_called() {
    let upstream = service();
    let judged = Rule {
        paths: paths(&["/shop.Cart/*", "/shop.Stock/Count"]),
        ..grpc()
    };
    let gate = gate_for(&upstream, judged);
    for (path, code) in [
        ("/shop.Stock/Clear", "path-not-allowed"),
        ("/shop.Stock", "path-not-allowed"),
        ("/shop.cart/Add", "path-not-allowed"),
        ("/shop.CartX/Add", "path-not-allowed"),
        ("/shop.Cart/Add/more", "path-not-allowed"),
        ("/shop.Cart/../shop.Stock/Clear", "ambiguous-path"),
        ("/shop.Cart/%2e%2e/shop.Stock/Clear", "ambiguous-path"),
        ("/shop.Stock/Clear?/shop.Cart/Add", "path-not-allowed"),
    ] {
        sent(&gate, call(path)).assert_denied(403, code);
    }
    assert!(upstream.seen().is_empty(), "{}", upstream.seen());
    for path in ["/shop.Cart/Add", "/shop.Stock/Count", "/shop.Stock/%43ount"] {
        sent(&gate, call(path)).assert_ok("\0\0\0\0\0");
    }
    assert_eq!(upstream.seen().matches("/shop.Stock/Count\n").count(), 2);
    // A good path makes no call of what is none.
    let plain = ask_with("POST /shop.Cart/Add", &[]);
    sent(&gate, plain).assert_denied(403, "protocol");
}

#[test]
fn c17_a_rule_for_http_judges_calls_as_any_request() {
    let upstream = service();
    let judged = |method: &str| Rule {
        methods: Some([method.into()].into()),
        paths: paths(&["/shop.Cart/*"]),
        ..rule("a.example")
    };
    let gate = gate_for(&upstream, judged("GET"));
    sent(&gate, call("/shop.Cart/Add")).assert_denied(403, "method-not-allowed");
    let gate = gate_for(&upstream, judged("POST"));
    sent(&gate, call("/shop.Stock/Clear")).assert_denied(403, "path-not-allowed");
    assert!(upstream.seen().is_empty(), "{}", upstream.seen());
    sent(&gate, call("/shop.Cart/Add")).assert_ok("\0\0\0\0\0");
}

#[test]
fn c17_a_rule_for_websockets_permits_no_calls() {
    let upstream = service();
    let socket = Rule {
        protocol: Protocol::WebSocket,
        ..rule("a.example")
    };
    let gate = gate_for(&upstream, socket);
    sent(&gate, call("/shop.Cart/Add")).assert_denied(403, "protocol");
    assert!(upstream.seen().is_empty(), "{}", upstream.seen());
    let gate = gate_for(&upstream, grpc());
    sent(&gate, call("/shop.Cart/Add")).assert_ok("\0\0\0\0\0");
}
