//! Connections to servers: more of them where one is full, another where one is going away, none that is not admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Response;

use super::{Upstream, agent, ask, fetch, gate, run};

#[test]
fn requests_beyond_what_a_server_takes_on_one_connection() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let at_once = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&at_once);
    let upstream = Upstream::with(&builder, move |_, mut respond| {
        let at_once = Arc::clone(&count);
        async move {
            at_once.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /"), b"").await.unwrap();
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let agent = agent.clone();
            all.spawn(async move { fetch(&agent, ask("GET /"), b"").await });
        }
        while let Some(got) = all.join_next().await {
            assert_eq!(got.unwrap().unwrap().status, 200);
        }
    });
    let connections = upstream.connections();
    assert!((2..=8).contains(&connections), "{connections} connections");
    assert_eq!(at_once.load(Ordering::SeqCst), 61);
}

/// A server that handles its connections by hand.
async fn by_hand(
    listener: tokio::net::TcpListener,
    script: impl Fn(usize, h2::server::Connection<tokio::net::TcpStream, Bytes>) -> super::Answer,
) {
    let mut number = 0;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let connection = h2::server::handshake(stream).await;
        if let Ok(connection) = connection {
            tokio::spawn(script(number, connection));
            number += 1;
        }
    }
}

fn scripted(
    script: impl Fn(usize, h2::server::Connection<tokio::net::TcpStream, Bytes>) -> super::Answer
    + Send
    + 'static,
) -> Upstream {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let upstream = Upstream {
        heads: Arc::default(),
        connections: Arc::default(),
        address: listener.local_addr().unwrap(),
    };
    std::thread::spawn(move || {
        run(async move {
            by_hand(tokio::net::TcpListener::from_std(listener).unwrap(), script).await;
        });
    });
    upstream
}

fn says(mut respond: h2::server::SendResponse<Bytes>, text: &'static str) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(text.into(), true).unwrap();
}

#[test]
fn a_connection_that_goes_away_is_replaced() {
    let upstream = scripted(|number, mut connection| {
        Box::pin(async move {
            let mut answered = 0;
            while let Some(Ok((_, respond))) = connection.accept().await {
                says(respond, if number == 0 { "first" } else { "second" });
                answered += 1;
                if number == 0 && answered == 2 {
                    connection.graceful_shutdown();
                }
            }
        })
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /1"), b"")
            .await
            .unwrap()
            .assert_ok("first");
        fetch(&agent, ask("GET /2"), b"")
            .await
            .unwrap()
            .assert_ok("first");
        for _ in 0..3 {
            fetch(&agent, ask("GET /3"), b"")
                .await
                .unwrap()
                .assert_ok("second");
        }
    });
}

#[test]
fn a_connection_that_was_cut_is_replaced() {
    let upstream = scripted(|number, mut connection| {
        Box::pin(async move {
            if let Some(Ok((_, respond))) = connection.accept().await {
                says(respond, if number == 0 { "first" } else { "second" });
            }
            // Long enough for the answer to leave; then it is dropped without a word.
            let rest = async { while connection.accept().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(100), rest).await;
        })
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /1"), b"")
            .await
            .unwrap()
            .assert_ok("first");
        tokio::time::sleep(Duration::from_millis(300)).await;
        fetch(&agent, ask("GET /2"), b"")
            .await
            .unwrap()
            .assert_ok("second");
    });
}

#[test]
fn what_a_server_refused_unseen_is_tried_once_more() {
    let tried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tried);
    let upstream = Upstream::new(move |request, mut respond| {
        let tried = Arc::clone(&count);
        async move {
            let first = tried.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            match request.uri().path() {
                "/once" if first => respond.send_reset(Reason::REFUSED_STREAM),
                "/always" => respond.send_reset(Reason::REFUSED_STREAM),
                _ => says(respond, "hello"),
            }
        }
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        // A method that may not be sent twice may be tried twice if the first was not looked at.
        fetch(&agent, ask("DELETE /once"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
        assert_eq!(tried.load(Ordering::SeqCst), 2);
        let got = fetch(&agent, ask("GET /always"), b"").await.unwrap();
        assert_eq!(got.status, 502, "{got:?}");
        assert_eq!(tried.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn f22_interim_responses_are_bounded_and_dropped() {
    for (count, expected) in [(3, 200), (40, 502)] {
        let upstream = Upstream::new(move |_, mut respond| async move {
            for _ in 0..count {
                let mut interim = Response::new(());
                *interim.status_mut() = http::StatusCode::EARLY_HINTS;
                respond.send_informational(interim).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = respond.send_response(Response::new(()), true);
        });
        let gate = gate(&upstream);
        run(async {
            let got = fetch(&agent(&gate).await, ask("GET /"), b"").await.unwrap();
            assert_eq!(got.status, expected, "{count}: {got:?}");
        });
    }
}

#[test]
fn f22_responses_that_lie_about_their_length() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let response = Response::builder().header("content-length", "5");
        let response = response.body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        let text = request.uri().path()[1..].to_owned();
        let _ = stream.send_data(text.into(), true);
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /hello"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
        for path in ["/hell", "/hello-and-more"] {
            let got = fetch(&agent, ask(&format!("GET {path}")), b"").await;
            assert!(got.is_err(), "{path}: {got:?}");
        }
        fetch(&agent, ask("GET /hello"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
}

#[test]
fn f22_what_is_no_http2_is_a_failure() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let upstream = Upstream {
        heads: Arc::default(),
        connections: Arc::default(),
        address: listener.local_addr().unwrap(),
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut bytes = [0; 100];
                let _ = stream.read(&mut bytes);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.read(&mut bytes);
            });
        }
    });
    let gate = gate(&upstream);
    run(async {
        let got = fetch(&agent(&gate).await, ask("GET /"), b"").await.unwrap();
        assert_eq!(got.status, 502, "{got:?}");
    });
}

#[test]
fn the_end_of_the_gate_ends_all_with_their_records() {
    let upstream = Upstream::new(|_, mut respond| async move {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    let mut gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        for _ in 0..3 {
            let mut agent = agent.clone().ready().await.unwrap();
            let (response, _) = agent.send_request(ask("GET /waits"), true).unwrap();
            tokio::spawn(response);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.stop();
    });
    let records = gate.sink.requests();
    let waiting = records
        .iter()
        .filter(|r| r.path.as_deref() == Some("/waits"));
    assert_eq!(waiting.clone().count(), 3, "{records:?}");
    assert!(waiting.clone().all(|record| record.error.is_some()));
}
