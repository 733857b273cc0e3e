//! What is refused is refused as in HTTP/1.1: the same status, header and body, with a record, and nothing reaches the
//! server. Each refusal is followed by a request on the same connection that passes.

use http::Request;
use palisade_policy::{PathPattern, Protocol, Rule};

use super::{Got, Upstream, agent, ask, ask_with, fetch, gate, gate_with, run};
use crate::harness::rule;

/// Sends this on a connection, and then a good request.
fn sent(gate: &crate::harness::TestGate, request: Request<()>) -> Result<Got, h2::Error> {
    run(async {
        let agent = agent(gate).await;
        let got = fetch(&agent, request, b"").await;
        let control = fetch(&agent, ask("GET /open/control"), b"").await.unwrap();
        control.assert_ok("hello");
        got
    })
}

fn judged() -> Rule {
    Rule {
        paths: Some([PathPattern::parse("/open/**").unwrap()].into()),
        methods: Some(["GET".into()].into()),
        ..rule("a.example")
    }
}

#[test]
fn rules_hold_for_each_request() {
    for (start, status, code) in [
        ("POST /open/x", 403, "method-not-allowed"),
        ("GET /closed", 403, "path-not-allowed"),
        ("GET /open/../closed", 403, "ambiguous-path"),
        ("GET /open/%2e%2e/closed", 403, "ambiguous-path"),
    ] {
        let upstream = Upstream::says("hello");
        let gate = gate_judged(&upstream);
        let got = sent(&gate, ask(start)).unwrap();
        got.assert_denied(status, code);
        assert!(!upstream.seen().contains("closed") && !upstream.seen().contains("POST"));
        let records = super::records(&gate, 2);
        let record = records.iter().find(|record| record.denied).unwrap();
        assert_eq!((record.status, record.reason), (Some(status), Some(code)));
    }
}

/// `a.example` may be asked by GET for `/open/**`.
fn gate_judged(upstream: &Upstream) -> crate::harness::TestGate {
    let authority = palisade_test_support::authority::Authority::new();
    let server = upstream.within_tls(&authority, &["a.example"], super::H2);
    crate::harness::Setup::default()
        .rule(judged())
        .map("a.example", 443, &server)
        .intercept(&authority)
        .start()
}

#[test]
fn p01_the_judged_path_is_the_one_that_is_sent() {
    let upstream = Upstream::says("hello");
    let gate = gate_judged(&upstream);
    sent(&gate, ask("GET /open/%61?q=%61"))
        .unwrap()
        .assert_ok("hello");
    assert!(
        upstream
            .seen()
            .starts_with("GET https://a.example/open/a?q=%61\n"),
        "{}",
        upstream.seen()
    );
}

#[test]
fn d23_the_request_names_the_host_of_the_connection() {
    for authority in ["b.example", "a.example:444", "A.example.", "b.example:443"] {
        let upstream = Upstream::says("hello");
        let gate = gate(&upstream);
        let request = Request::get(format!("https://{authority}/open/x"))
            .body(())
            .unwrap();
        let got = sent(&gate, request);
        if authority == "A.example." {
            // The same name in another spelling.
            got.unwrap().assert_ok("hello");
            continue;
        }
        got.unwrap().assert_denied(421, "host-mismatch");
        assert!(
            !upstream.seen().contains("b.example"),
            "{}",
            upstream.seen()
        );
    }
}

#[test]
fn f20_a_host_field_beside_another_authority() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    let request = ask_with("GET /x", &[("host", "b.example")]);
    sent(&gate, request)
        .unwrap()
        .assert_denied(400, "bad-request");
    let request = ask_with("GET /x", &[("host", "a.example"), ("host", "b.example")]);
    sent(&gate, request)
        .unwrap()
        .assert_denied(400, "bad-request");
    let request = ask_with("GET /x", &[("host", "a.example")]);
    sent(&gate, request).unwrap().assert_ok("hello");
    assert!(!upstream.seen().contains("host:"), "{}", upstream.seen());
}

#[test]
fn p04_methods_that_nobody_knows() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    for (method, status) in [("get", 501), ("G'ET", 501), ("TRACE", 405)] {
        let got = sent(&gate, ask(&format!("{method} /x"))).unwrap();
        got.assert_denied(status, "protocol");
    }
    assert!(!upstream.seen().contains("/x"), "{}", upstream.seen());
}

#[test]
fn d31_connect_is_not_carried() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    let request = Request::builder().method("CONNECT").uri("b.example:443");
    let got = sent(&gate, request.body(()).unwrap()).unwrap();
    got.assert_denied(403, "protocol");
}

#[test]
fn c17_grpc_needs_a_rule_that_lets_it_pass() {
    let upstream = Upstream::says("hello");
    let gate = gate_with(&upstream, |setup| {
        setup.rule(Rule {
            protocol: Protocol::Grpc,
            ..super::looked_into("c.example")
        })
    });
    let two = [
        ("content-type", "text/plain"),
        ("content-type", "application/grpc"),
    ];
    let got = sent(&gate, ask_with("GET /x", &two)).unwrap();
    got.assert_denied(400, "bad-request");
}

#[test]
fn refusals_of_a_head_request_have_no_body() {
    let upstream = Upstream::says("hello");
    let gate = gate_judged(&upstream);
    let got = sent(&gate, ask("HEAD /closed")).unwrap();
    assert_eq!(got.status, 403);
    assert!(got.body.is_empty() && got.headers.contains_key("palisade-denied"));
}

#[test]
fn bodies_of_refused_requests_are_not_waited_for() {
    let upstream = Upstream::says("hello");
    let gate = gate_judged(&upstream);
    run(async {
        let agent = agent(&gate).await;
        let mut one = agent.clone().ready().await.unwrap();
        let (response, mut up) = one.send_request(ask("POST /closed"), false).unwrap();
        let response = tokio::time::timeout(super::PATIENCE, response)
            .await
            .unwrap()
            .unwrap();
        super::got(response)
            .await
            .unwrap()
            .assert_denied(403, "path-not-allowed");
        let reason = std::future::poll_fn(|cx| up.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
        fetch(&agent, ask("GET /open/x"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
}

#[test]
fn a02_without_a_log_nothing_passes() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /before"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
        gate.sink.break_down();
        let got = fetch(&agent, ask("GET /after"), b"").await;
        if let Ok(got) = got {
            got.assert_denied(503, "audit-unavailable");
        }
    });
    assert!(!upstream.seen().contains("/after"), "{}", upstream.seen());
}

#[test]
fn f26_requests_of_a_session_are_bounded() {
    let upstream = Upstream::new(|_, mut respond| async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        respond
            .send_response(http::Response::new(()), true)
            .unwrap();
    });
    let gate = gate_with(&upstream, |setup| {
        setup.limits(|limits| limits.connections = 8)
    });
    run(async {
        let agent = agent(&gate).await;
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let agent = agent.clone();
            all.spawn(async move { fetch(&agent, ask("GET /"), b"").await });
        }
        let mut refused = 0;
        while let Some(got) = all.join_next().await {
            match got.unwrap() {
                Ok(got) => assert_eq!(got.status, 200),
                Err(error) => {
                    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, 4);
    });
    let records = super::records(&gate, 12);
    assert_eq!(
        records.iter().filter(|r| r.reason == Some("limit")).count(),
        4
    );
}
