//! What works: many requests at a time, trailers, what each side is told of the other.

use bytes::Bytes;
use http::{HeaderMap, Response};
use palisade_audit::Spoken;
use palisade_test_support::authority::Authority;

use super::{H2, Upstream, agent, ask, ask_with, fetch, gate, gate_with, looked_into, run};
use crate::harness::{Server, Setup, TestGate, Way};

#[test]
fn a_request_and_its_response() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        let request = ask_with(
            "GET /x?y=z",
            &[
                ("accept", "a/b"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("x-forwarded-for", "1.2.3.4"),
            ],
        );
        fetch(&agent, request, b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
    let seen = "GET https://a.example/x?y=z\naccept: a/b\ncookie: a=1; b=2\n";
    assert_eq!(upstream.seen(), seen);
    let records = super::records(&gate, 1);
    let record = &records[0];
    assert_eq!(
        (record.method.as_deref(), record.path.as_deref()),
        (Some("GET"), Some("/x"))
    );
    assert_eq!(
        (record.status, record.spoken),
        (Some(200), Some(Spoken::H2))
    );
    assert!(
        record.intercepted && !record.denied && record.error.is_none(),
        "{record:?}"
    );
    assert!(record.up > 30 && record.down > 20, "{record:?}");
    assert_eq!(record.address.unwrap().to_string(), "127.0.0.1");
}

#[test]
fn a_hundred_requests_at_a_time_on_one_connection() {
    let upstream = Upstream::new(|request, mut respond| async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let path = request.uri().path().to_owned();
        stream.send_data(path.into(), true).unwrap();
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        let begun = std::time::Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for number in 0..100 {
            let agent = agent.clone();
            all.spawn(async move {
                let path = format!("/{number}");
                let got = fetch(&agent, ask(&format!("GET {path}")), b"")
                    .await
                    .unwrap();
                got.assert_ok(&path);
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
        assert!(
            begun.elapsed().as_secs() < 5,
            "beside each other: {:?}",
            begun.elapsed()
        );
    });
    assert_eq!(super::records(&gate, 100).len(), 100);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn connections_of_the_agent_share_one_to_the_server() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        for _ in 0..3 {
            let agent = agent(&gate).await;
            fetch(&agent, ask("GET /"), b"")
                .await
                .unwrap()
                .assert_ok("hello");
        }
    });
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn f08_trailers_of_grpc_pass_and_others_do_not() {
    let upstream = Upstream::new(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let response = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        stream
            .send_data(Bytes::from_static(b"\0\0\0\0\x02ok"), false)
            .unwrap();
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("authorization", "stolen"),
            ("content-length", "5"),
            ("set-cookie", "a=b"),
            ("palisade-denied", "no"),
        ] {
            trailers.insert(name, value.parse().unwrap());
        }
        stream.send_trailers(trailers).unwrap();
    });
    let gate = gate(&upstream);
    let got = run(async {
        let fields = [("te", "trailers"), ("content-type", "application/grpc")];
        let request = ask_with("POST /service/Method", &fields);
        fetch(&agent(&gate).await, request, b"\0\0\0\0\0")
            .await
            .unwrap()
    });
    assert_eq!(
        (got.status, got.body.as_slice()),
        (200, &b"\0\0\0\0\x02ok"[..])
    );
    let trailers = got.trailers.unwrap();
    let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["grpc-status", "grpc-message"]);
    assert_eq!(super::records(&gate, 1)[0].spoken, Some(Spoken::Grpc));
}

#[test]
fn responses_without_a_body_keep_what_describes_it() {
    let upstream = Upstream::new(|_, mut respond| async move {
        let response = Response::builder()
            .header("content-length", "12")
            .header("alt-svc", "h3=\":443\"");
        respond
            .send_response(response.body(()).unwrap(), true)
            .unwrap();
    });
    let gate = gate(&upstream);
    let got = run(async {
        fetch(&agent(&gate).await, ask("HEAD /"), b"")
            .await
            .unwrap()
    });
    assert_eq!(got.headers["content-length"], "12");
    assert!(!got.headers.contains_key("alt-svc"));
}

#[test]
fn expectations_are_met_at_the_gate() {
    let upstream = Upstream::new(|request, mut respond| async move {
        assert!(!request.headers().contains_key("expect"));
        let mut body = request.into_body();
        let mut all = Vec::new();
        while let Some(data) = body.data().await {
            all.extend_from_slice(&data.unwrap());
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(all.into(), true).unwrap();
    });
    let gate = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let request = ask_with("POST /", &[("expect", "100-continue")]);
        let (mut response, mut sender) = agent.send_request(request, false).unwrap();
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        assert_eq!(interim.unwrap().unwrap().status(), 100);
        sender.send_data("late".into(), true).unwrap();
        super::got(response.await.unwrap())
            .await
            .unwrap()
            .assert_ok("late");
    });
}

/// A server that speaks these, and what an agent that offers those gets of it.
fn agreed(upstream: &[&str], offered: &[&str]) -> (Server, TestGate, Option<String>) {
    let authority = Authority::new();
    let server = if upstream == H2 {
        Upstream::says("two").within_tls(&authority, &["a.example"], upstream)
    } else {
        Server::http("one").within_tls(&authority, &["a.example"], upstream)
    };
    let gate = Setup::default()
        .rule(looked_into("a.example"))
        .map("a.example", 443, &server)
        .intercept(&authority)
        .start();
    let client = gate.tunnel(Way::Connect, "a.example", 443);
    let (_, protocol) = client.secure(&gate.trust, "a.example", offered).unwrap();
    (server, gate, protocol)
}

#[test]
fn an_agent_is_offered_what_the_server_speaks() {
    const BOTH: &[&str] = &["h2", "http/1.1"];
    for (server, offered, expected) in [
        (&["http/1.1"][..], BOTH, "http/1.1"),
        (H2, BOTH, "h2"),
        (BOTH, &["http/1.1"][..], "http/1.1"),
        (H2, H2, "h2"),
    ] {
        let (_server, _gate, protocol) = agreed(server, offered);
        assert_eq!(
            protocol.as_deref(),
            Some(expected),
            "{server:?} {offered:?}"
        );
    }
}

#[test]
fn a_server_that_no_longer_speaks_it_is_a_failure_and_forgotten() {
    let authority = Authority::new();
    let upstream = Upstream::says("two");
    let two = upstream.within_tls(&authority, &["a.example"], H2);
    let one = Server::http("one").within_tls(&authority, &["a.example"], &["http/1.1"]);
    // The one address leads to either of them, as after a change of the server.
    let switch = Switch::to(two.address);
    let mut at = Server::http("unused");
    at.address = switch.address;
    let gate = Setup::default()
        .rule(looked_into("a.example"))
        .map("a.example", 443, &at)
        .intercept(&authority)
        .limits(|limits| limits.pool_idle = std::time::Duration::from_millis(50))
        .start();
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /"), b"")
            .await
            .unwrap()
            .assert_ok("two");
        switch.turn(one.address);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let got = fetch(&agent, ask("GET /"), b"").await.unwrap();
        assert_eq!(got.status, 502, "{got:?}");
    });
    let client = gate.tunnel(Way::Connect, "a.example", 443);
    let (_, protocol) = client
        .secure(&gate.trust, "a.example", &["h2", "http/1.1"])
        .unwrap();
    assert_eq!(protocol.as_deref(), Some("http/1.1"));
}

#[test]
fn idle_connections_end_on_both_sides() {
    let upstream = Upstream::says("hello");
    let gate = gate_with(&upstream, |setup| {
        setup.limits(|limits| {
            limits.pool_idle = std::time::Duration::from_millis(100);
            limits.keep_alive = std::time::Duration::from_millis(200);
        })
    });
    run(async {
        let (send, connection) = h2::client::handshake(super::stream(&gate)).await.unwrap();
        let connection = tokio::spawn(connection);
        fetch(&send, ask("GET /"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
        let ended = tokio::time::timeout(super::PATIENCE, connection).await;
        ended
            .expect("the gate says goodbye")
            .unwrap()
            .expect("in good order");
        // The next one finds no connection to the server either.
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
    assert_eq!(upstream.connections(), 2);
}

/// A port that leads to another.
struct Switch {
    address: std::net::SocketAddr,
    target: std::sync::Arc<std::sync::Mutex<std::net::SocketAddr>>,
}

impl Switch {
    fn to(target: std::net::SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let target = std::sync::Arc::new(std::sync::Mutex::new(target));
        let to = std::sync::Arc::clone(&target);
        std::thread::spawn(move || {
            run(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (mut inside, _) = listener.accept().await.unwrap();
                    let target = *to.lock().unwrap();
                    tokio::spawn(async move {
                        let mut outside = tokio::net::TcpStream::connect(target).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    });
                }
            });
        });
        Self { address, target }
    }

    fn turn(&self, to: std::net::SocketAddr) {
        *self.target.lock().unwrap() = to;
    }
}
