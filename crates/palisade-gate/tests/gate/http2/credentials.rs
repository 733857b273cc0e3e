//! A request with a credential is what it is over HTTP/1.1: the agent's value is replaced, what comes back is redacted, and
//! a placeholder goes nowhere else.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};
use palisade_policy::Rule;
use palisade_test_support::authority::Authority;
use tokio::sync::Notify;

use super::frames::{DATA, END_HEADERS, GOAWAY, HEADERS, Raw, frame};
use super::{Got, H2, Upstream, agent, ask, ask_with, fetch, run};
use crate::harness::{Setup, TestGate, bearer, carrying, credentials, placeholder, query, secret};
use crate::signing::{aws, signed};

/// The gate adds `TOKEN` for `a.example`; the placeholders are those of `TOKEN` and of `OTHER`, which is bound elsewhere.
fn gate(upstream: &Upstream) -> (TestGate, String, String) {
    let authority = Authority::new();
    let server = upstream.within_tls(&authority, &["a.example"], H2);
    let credentials = credentials(vec![bearer("TOKEN"), bearer("OTHER")]);
    let own = placeholder(&credentials, "TOKEN");
    let other = placeholder(&credentials, "OTHER");
    let rule = Rule {
        dangerous_plaintext: false,
        ..carrying("a.example", "TOKEN")
    };
    let gate = Setup::default()
        .rule(rule)
        .map("a.example", 443, &server)
        .intercept(&authority)
        .credentials(credentials)
        .start();
    (gate, own, other)
}

fn got(gate: &TestGate, request: Request<()>, body: &[u8]) -> Got {
    run(async { fetch(&agent(gate).await, request, body).await.unwrap() })
}

fn hidden() -> String {
    "*".repeat(secret("TOKEN").len())
}

/// Answers with these fields and this body, cut in pieces of `cut` bytes.
fn answering(
    fields: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    cut: usize,
) -> Upstream {
    let body = Bytes::from(body);
    Upstream::new(move |_, mut respond| {
        let body = body.clone();
        async move {
            let mut response = Response::builder();
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut stream = respond
                .send_response(response.body(()).unwrap(), false)
                .unwrap();
            for piece in body.chunks(cut) {
                super::push(&mut stream, Bytes::copy_from_slice(piece), false)
                    .await
                    .unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
    })
}

#[test]
fn c01_the_credential_takes_the_place_of_what_was_sent() {
    let upstream = Upstream::says("hello");
    let (gate, own, _) = gate(&upstream);
    for value in [format!("Bearer {own}"), "Bearer mine".into(), String::new()] {
        let fields = [("authorization", value.as_str()), ("x-api-key", "mine")];
        let request = if value.is_empty() {
            ask("GET /")
        } else {
            ask_with("GET /", &fields)
        };
        got(&gate, request, b"").assert_ok("hello");
    }
    let line = format!("authorization: Bearer {}\n", secret("TOKEN"));
    let seen = upstream.seen();
    assert_eq!(seen.matches(&line).count(), 3, "{seen}");
    assert_eq!(seen.matches("authorization").count(), 3, "{seen}");
    assert!(
        !seen.contains("mine") && !seen.contains("x-api-key"),
        "{seen}"
    );
    let records = super::records(&gate, 3);
    let carrying = records
        .iter()
        .filter(|r| r.credential.as_deref() == Some("TOKEN"));
    assert_eq!(carrying.count(), 3, "{records:?}");
    gate.assert_unwritten(&secret("TOKEN"));
}

#[test]
fn c02_look_alikes_are_refused() {
    let upstream = Upstream::says("hello");
    let (gate, ..) = gate(&upstream);
    for name in ["authorization_", "x_api_key"] {
        got(&gate, ask_with("GET /", &[(name, "x")]), b"").assert_denied(400, "bad-request");
    }
    got(&gate, ask_with("GET /", &[("x-other", "x")]), b"").assert_ok("hello");
}

#[test]
fn c01_a_parameter_of_the_query_is_replaced() {
    let upstream = Upstream::says("hello");
    let authority = Authority::new();
    let server = upstream.within_tls(&authority, &["a.example"], H2);
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 443, &server)
        .intercept(&authority)
        .credentials(credentials(vec![query("TOKEN", "key")]))
        .start();
    got(&gate, ask("GET /x?a=b&key=mine"), b"").assert_ok("hello");
    let seen = upstream.seen();
    assert!(
        seen.contains(&format!("key={}", secret("TOKEN"))) && !seen.contains("mine"),
        "{seen}"
    );
}

#[test]
fn c10_placeholders_are_refused_where_they_are_not_bound() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return };
            let _ = body.flow_control().release_capacity(data.len());
        }
        respond.send_response(Response::new(()), true).unwrap();
    });
    let (gate, own, other) = gate(&upstream);
    let bound = format!("Bearer {own}");
    assert_eq!(
        got(
            &gate,
            ask_with("POST /", &[("authorization", &bound)]),
            b"x"
        )
        .status,
        200
    );
    let bearer = format!("Bearer {other}");
    for request in [
        ask_with("GET /", &[("authorization", &bearer)]),
        ask_with("GET /", &[("x-own", &own)]),
        ask_with("GET /", &[("cookie", "a=b"), ("cookie", &own)]),
        ask(&format!("GET /{own}")),
        ask(&format!("GET /?q={own}")),
    ] {
        got(&gate, request, b"").assert_denied(403, "placeholder");
    }
    let body = format!("{{\"key\": \"{own}\"}}");
    got(&gate, ask("POST /"), body.as_bytes()).assert_denied(403, "placeholder");
    let seen = upstream.seen();
    assert!(!seen.contains(&own) && !seen.contains(&other), "{seen}");
    let records = super::records(&gate, 7);
    assert_eq!(
        records
            .iter()
            .filter(|r| r.reason == Some("placeholder"))
            .count(),
        6
    );
}

#[test]
fn c10_over_the_border_of_two_frames() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.data().await {}
        let _ = respond.send_response(Response::new(()), true);
    });
    let (gate, own, _) = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let (response, mut up) = agent.send_request(ask("POST /"), false).unwrap();
        let (first, second) = own.split_at(own.len() / 2);
        up.send_data(first.to_owned().into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        up.send_data(second.to_owned().into(), false).unwrap();
        let got = super::got(response.await.unwrap()).await.unwrap();
        got.assert_denied(403, "placeholder");
    });
}

#[test]
fn c07_any_border_between_frames() {
    let body = format!("<p>{}</p>", secret("TOKEN"));
    let expected = format!("<p>{}</p>", hidden());
    for cut in [1, 2, 3, 7, 16, 1000] {
        let upstream = answering(&[], body.clone().into_bytes(), cut);
        let (gate, ..) = gate(&upstream);
        got(&gate, ask("GET /"), b"").assert_ok(&expected);
        assert_eq!(super::records(&gate, 1)[0].redacted, 1, "{cut}");
    }
}

#[test]
fn c07_heads_and_trailers() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let shown = request.headers()["authorization"].clone();
        let response = Response::builder().header("x-echo", shown.clone());
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        stream.send_data("body".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-also", shown);
        stream.send_trailers(trailers).unwrap();
    });
    let (gate, ..) = gate(&upstream);
    let got = got(&gate, ask("GET /"), b"");
    got.assert_ok("body");
    let shown = format!("{:?} {:?}", got.headers, got.trailers);
    assert!(
        !shown.contains(&secret("TOKEN")) && shown.matches("****").count() >= 2,
        "{shown}"
    );
    assert!(got.trailers.unwrap().contains_key("x-also"));
    assert_eq!(super::records(&gate, 1)[0].redacted, 2);
}

#[test]
fn c08_codings_are_undone() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let body = format!("{}{}", "x".repeat(300_000), secret("TOKEN"));
    encoder.write_all(body.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let upstream = answering(
        &[("content-encoding", "gzip"), ("content-digest", "x")],
        packed,
        50,
    );
    let (gate, ..) = gate(&upstream);
    let fields = [("accept-encoding", "gzip, xz"), ("range", "bytes=0-5")];
    let got = got(&gate, ask_with("GET /", &fields), b"");
    got.assert_ok(&format!("{}{}", "x".repeat(300_000), hidden()));
    assert!(!got.headers.contains_key("content-encoding"), "{got:?}");
    assert!(!got.headers.contains_key("content-digest"), "{got:?}");
    let seen = upstream.seen();
    assert!(
        seen.contains("accept-encoding: gzip\n") && !seen.contains("range"),
        "{seen}"
    );
}

#[test]
fn c08_what_cannot_be_searched_is_not_passed_on() {
    let upstream = answering(&[("content-encoding", "xz")], b"packed".to_vec(), 9);
    let (gate, ..) = gate(&upstream);
    let got = got(&gate, ask("GET /"), b"");
    assert_eq!(got.status, 502, "{got:?}");
    assert!(!got.text().contains("packed"));
}

#[test]
fn events_pass_at_once_and_what_is_held_is_let_go() {
    let next = Arc::new(Notify::new());
    let more = Arc::clone(&next);
    let upstream = Upstream::new(move |_, mut respond| {
        let more = Arc::clone(&more);
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("data: 1\n\n".into(), false).unwrap();
            more.notified().await;
            // The beginning of the secret, and then nothing for a while.
            let begin = secret("TOKEN")[..8].to_owned();
            stream.send_data(begin.into(), false).unwrap();
            more.notified().await;
            stream.send_data("end".into(), true).unwrap();
        }
    });
    let (gate, ..) = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let (response, _) = agent.send_request(ask("GET /"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut event = async || {
            tokio::time::timeout(super::PATIENCE, body.data())
                .await
                .unwrap()
        };
        assert_eq!(event().await.unwrap().unwrap(), "data: 1\n\n");
        next.notify_one();
        assert_eq!(event().await.unwrap().unwrap(), &secret("TOKEN")[..8]);
        next.notify_one();
        assert_eq!(event().await.unwrap().unwrap(), "end");
    });
}

/// A server that shows the secret beside its goodbye: instead of a response or `within` one, to a request that it has
/// `seen` or says it has not.
fn leaving(within: bool, seen: bool) -> Upstream {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let upstream = Upstream {
        heads: Arc::default(),
        connections: Arc::default(),
        address: listener.local_addr().unwrap(),
    };
    std::thread::spawn(move || {
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(leave(stream, within, seen));
            }
        });
    });
    upstream
}

async fn leave(stream: tokio::net::TcpStream, within: bool, seen: bool) {
    let mut raw = Raw::accepted(stream).await;
    let Some(asked) = raw.next(&[HEADERS]).await else {
        return;
    };
    if within {
        // `:status: 200` of the static table.
        raw.send(&frame(HEADERS, END_HEADERS, asked.stream, &[0x88]))
            .await;
        raw.send(&frame(DATA, 0, asked.stream, b"begun")).await;
    }
    let last = if seen { asked.stream } else { 0 };
    let mut goodbye = last.to_be_bytes().to_vec();
    goodbye.extend(u32::from(Reason::INTERNAL_ERROR).to_be_bytes());
    goodbye.extend(secret("TOKEN").bytes());
    raw.send(&frame(GOAWAY, 0, 0, &goodbye)).await;
    raw.end().await;
}

#[test]
fn c13_what_a_server_says_as_it_leaves_is_not_repeated() {
    let own = secret("TOKEN");
    for (within, seen) in [(false, false), (false, true), (true, false), (true, true)] {
        let upstream = leaving(within, seen);
        // The control: a client that shows its errors shows the secret.
        let shown = run(async {
            let stream = tokio::net::TcpStream::connect(upstream.address).await;
            let (agent, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
            let connection = tokio::spawn(connection);
            let got = fetch(&agent, ask("GET /"), b"").await.unwrap_err();
            drop(agent);
            format!("{got} {}", connection.await.unwrap().unwrap_err())
        });
        assert!(shown.contains(&own), "{within} {seen}: {shown}");

        let (gate, ..) = gate(&upstream);
        let got = run(async { fetch(&agent(&gate).await, ask("GET /"), b"").await });
        let shown = match &got {
            Ok(got) => format!("{} {got:?}", got.text()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(&own), "{within} {seen}: {shown}");
        let status = got.map(|got| got.status).ok();
        assert_eq!(status, (!within).then_some(502), "{seen}: {shown}");
        let record = &super::records(&gate, 1)[0];
        assert!(record.error.is_some(), "{within} {seen}: {record:?}");
        gate.assert_unwritten(&own);
    }
}

#[test]
fn f26_bodies_that_have_to_be_signed_are_bounded_together() {
    let upstream = Upstream::says("hello");
    let authority = Authority::new();
    let server = upstream.within_tls(&authority, &["a.example"], H2);
    let all = credentials(vec![aws()]);
    let access = placeholder(&all, "AWSACCESSKEY");
    let gate = Setup::default()
        .rule(Rule {
            dangerous_plaintext: false,
            ..carrying("a.example", "AWS")
        })
        .map("a.example", 443, &server)
        .intercept(&authority)
        .credentials(all)
        .limits(|limits| limits.stall = Duration::from_secs(1))
        .start();
    let sign = |length: usize| {
        let fields = signed(&access, &format!("content-length: {length}"));
        let fields: Vec<_> = fields
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        ask_with("POST /", &fields)
    };
    let long = sign(25 << 20);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, sign(2), b"{}")
            .await
            .unwrap()
            .assert_ok("hello");
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut agent = agent.clone().ready().await.unwrap();
            open.push(agent.send_request(long.clone(), false).unwrap());
        }
        // They do not stall, they are slow.
        let slow = async {
            loop {
                for (_, body) in &mut open {
                    body.send_data(Bytes::from_static(b"x"), false).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let mut next = agent.clone().ready().await.unwrap();
        let (third, _body) = next.send_request(long.clone(), false).unwrap();
        let third = async { super::got(third.await?).await };
        let third = tokio::select! {
            third = third => third.unwrap(),
            () = slow => unreachable!("it goes on for ever"),
        };
        third.assert_denied(503, "limit");
        // What they gave up is there for others.
        drop(open);
        fetch(&agent, sign(2), b"{}")
            .await
            .unwrap()
            .assert_ok("hello");
    });
}
