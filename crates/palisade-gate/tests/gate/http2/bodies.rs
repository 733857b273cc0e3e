//! Bodies: of any size in little memory, at once, and given up when one side gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::sync::Notify;

use super::{PATIENCE, Upstream, agent, ask, fetch, gate, gate_with, got, push, run};

const BULK: usize = 64 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

fn piece(number: usize) -> Bytes {
    Bytes::from(vec![u8::try_from(number % 251).unwrap(); PIECE])
}

/// Bytes of this process that are resident.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn f26_bulk_passes_both_ways_in_little_memory() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        // An echo: what comes goes back, while more of it comes.
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            let _ = body.flow_control().release_capacity(data.len());
            push(&mut down, data, false).await.unwrap();
        }
        down.send_data(Bytes::new(), true).unwrap();
    });
    let gate = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let before = resident();
        let (response, mut up) = agent.send_request(ask("POST /"), false).unwrap();
        let sending = tokio::spawn(async move {
            for number in 0..BULK / PIECE {
                let last = number + 1 == BULK / PIECE;
                push(&mut up, piece(number), last).await.unwrap();
            }
        });
        let mut body = response.await.unwrap().into_body();
        let (mut count, mut most) = (0, 0);
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            for (at, byte) in data.iter().enumerate().step_by(997) {
                assert_eq!(usize::from(*byte), (count + at) / PIECE % 251);
            }
            count += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
            most = most.max(resident());
        }
        sending.await.unwrap();
        assert_eq!(count, BULK);
        // Three ends of HTTP/2 and five of TLS in one process, beside other tests; a body held whole would show.
        assert!(
            most < before + BULK / 2,
            "{before} bytes before, {most} at most"
        );
    });
    let record = &super::records(&gate, 1)[0];
    assert!(
        record.up > BULK as u64 && record.down > BULK as u64,
        "{record:?}"
    );
}

#[test]
fn f25_a_slow_reader_holds_up_the_server_and_nobody_else() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let upstream = Upstream::new(move |request, mut respond| {
        let sent = Arc::clone(&count);
        async move {
            let mut down = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() == "/small" {
                return down.send_data("small".into(), true).unwrap();
            }
            for number in 0..BULK / PIECE {
                if push(&mut down, piece(number), false).await.is_err() {
                    return;
                }
                sent.fetch_add(PIECE, Ordering::SeqCst);
            }
        }
    });
    let gate = gate_with(&upstream, |setup| {
        setup.limits(|limits| limits.stall = Duration::from_millis(500))
    });
    run(async {
        let agent = agent(&gate).await;
        let mut one = agent.clone().ready().await.unwrap();
        let (response, _) = one.send_request(ask("GET /bulk"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The windows of three connections, and what is being sent on each.
        let held = sent.load(Ordering::SeqCst);
        assert!(held < 3 * 1024 * 1024, "{held} bytes on the way");
        // On the same connection to the server, and another of the agent's, whose own window is full here.
        let other = super::agent(&gate).await;
        fetch(&other, ask("GET /small"), b"")
            .await
            .unwrap()
            .assert_ok("small");
        assert_eq!(upstream.connections(), 1);
        // Nobody reads for longer than is allowed.
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    other => return other.expect("not its end").unwrap_err(),
                }
            }
        });
        let error = ended.await.expect("the gate gives up");
        assert_eq!(error.reason(), Some(Reason::CANCEL));
    });
    let records = super::records(&gate, 2);
    let record = records
        .iter()
        .find(|r| r.path.as_deref() == Some("/bulk"))
        .unwrap();
    assert_eq!(
        record.error.as_deref(),
        Some("downstream: nobody reads the response")
    );
}

#[test]
fn events_pass_one_by_one() {
    let next = Arc::new(Notify::new());
    let more = Arc::clone(&next);
    let upstream = Upstream::new(move |_, mut respond| {
        let more = Arc::clone(&more);
        async move {
            let response = Response::builder().header("content-type", "text/event-stream");
            let response = response.body(()).unwrap();
            let mut down = respond.send_response(response, false).unwrap();
            for number in 0..5 {
                let event = format!("data: {number}\n\n");
                down.send_data(event.into(), number == 4).unwrap();
                // The next is sent only when this one has been seen at the other end.
                more.notified().await;
            }
        }
    });
    let gate = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let (response, _) = agent.send_request(ask("GET /"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        for number in 0..5 {
            let event = tokio::time::timeout(PATIENCE, body.data()).await.unwrap();
            assert_eq!(event.unwrap().unwrap(), format!("data: {number}\n\n"));
            next.notify_one();
        }
        assert!(body.data().await.is_none());
    });
}

#[test]
fn cancelled_requests_are_cancelled_upstream() {
    let (begun, cancelled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (say_begun, say_cancelled) = (Arc::clone(&begun), Arc::clone(&cancelled));
    let upstream = Upstream::new(move |request, mut respond| {
        let (begun, cancelled) = (Arc::clone(&say_begun), Arc::clone(&say_cancelled));
        async move {
            let reason = if request.uri().path() == "/silent" {
                begun.notify_one();
                std::future::poll_fn(|cx| respond.poll_reset(cx)).await
            } else {
                let mut down = respond.send_response(Response::new(()), false).unwrap();
                down.send_data("begun".into(), false).unwrap();
                begun.notify_one();
                std::future::poll_fn(|cx| down.poll_reset(cx)).await
            };
            assert_eq!(reason.unwrap(), Reason::CANCEL);
            cancelled.notify_one();
        }
    });
    let gate = gate(&upstream);
    run(async {
        for (number, path) in ["/silent", "/streaming"].into_iter().enumerate() {
            let mut agent = agent(&gate).await.ready().await.unwrap();
            let (response, mut up) = agent
                .send_request(ask(&format!("GET {path}")), true)
                .unwrap();
            tokio::time::timeout(PATIENCE, begun.notified())
                .await
                .unwrap();
            let streaming = match path {
                "/streaming" => Some(response.await.unwrap()),
                _ => None,
            };
            up.send_reset(Reason::CANCEL);
            tokio::time::timeout(PATIENCE, cancelled.notified())
                .await
                .expect("seen upstream");
            drop(streaming);
            let record = super::records(&gate, number + 1).pop().unwrap();
            assert!(record.error.unwrap().starts_with("downstream: cancelled"));
        }
    });
}

#[test]
fn f08_trailers_of_a_request_and_resets_do_not_complete_it() {
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let upstream = Upstream::new(move |request, mut respond| {
        let seen = Arc::clone(&seen);
        async move {
            let mut body = request.into_body();
            let end = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break format!("{:?}", error.reason().unwrap()),
                    None => break format!("{:?}", body.trailers().await.unwrap()),
                }
            };
            seen.lock().unwrap().push(end);
            let _ = respond.send_response(Response::new(()), true);
        }
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        let mut one = agent.clone().ready().await.unwrap();
        let (response, mut up) = one.send_request(ask("POST /"), false).unwrap();
        up.send_data("all".into(), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("authorization", "mine".parse().unwrap());
        up.send_trailers(trailers).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let mut one = agent.clone().ready().await.unwrap();
        let (response, mut up) = one.send_request(ask("POST /"), false).unwrap();
        up.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        up.send_reset(Reason::NO_ERROR);
        assert!(response.await.is_err());
        // Its reset has to leave before the connection does.
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    assert!(super::records(&gate, 2)[1].error.is_some());
    let end = Instant::now() + PATIENCE;
    while ends.lock().unwrap().len() < 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*ends.lock().unwrap(), ["None", "CANCEL"]);
}

#[test]
fn an_agent_that_goes_away_cancels_all_it_asked_for() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancelled);
    let upstream = Upstream::new(move |_, mut respond| {
        let cancelled = Arc::clone(&count);
        async move {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            cancelled.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        for _ in 0..5 {
            let mut agent = agent.clone().ready().await.unwrap();
            let (response, _) = agent.send_request(ask("GET /"), true).unwrap();
            tokio::spawn(response);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    // The runtime is gone, and with it the agent's connection.
    super::records(&gate, 5);
    let end = Instant::now() + PATIENCE;
    while cancelled.load(Ordering::SeqCst) < 5 {
        assert!(Instant::now() < end, "{cancelled:?} of 5");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn f04_an_early_answer_passes_and_the_rest_is_not_wanted() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        down.send_data("enough".into(), true).unwrap();
        drop(request);
    });
    let gate = gate(&upstream);
    run(async {
        let mut agent = agent(&gate).await.ready().await.unwrap();
        let (response, mut up) = agent.send_request(ask("POST /"), false).unwrap();
        let got = async { got(response.await.unwrap()).await.unwrap() };
        tokio::time::timeout(PATIENCE, got)
            .await
            .unwrap()
            .assert_ok("enough");
        let reason = std::future::poll_fn(|cx| up.poll_reset(cx));
        let reason = tokio::time::timeout(PATIENCE, reason)
            .await
            .expect("told to stop");
        assert_eq!(reason.unwrap(), Reason::NO_ERROR);
    });
    let record = &super::records(&gate, 1)[0];
    assert_eq!((record.status, &record.error), (Some(200), &None));
}

#[test]
fn resets_of_the_server_reach_the_agent() {
    let upstream = Upstream::new(|request, mut respond| async move {
        if request.uri().path() == "/before" {
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
        let mut down = respond.send_response(Response::new(()), false).unwrap();
        down.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        down.send_reset(Reason::ENHANCE_YOUR_CALM);
    });
    let gate = gate(&upstream);
    run(async {
        let agent = agent(&gate).await;
        let before = fetch(&agent, ask("GET /before"), b"").await.unwrap();
        assert_eq!(before.status, 502, "{before:?}");
        assert_eq!(before.headers["palisade-error"], "upstream");
        let within = fetch(&agent, ask("GET /within"), b"").await.unwrap_err();
        assert_eq!(within.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    });
    let records = super::records(&gate, 2);
    assert!(
        records
            .iter()
            .all(|record| record.error.is_some() && !record.denied)
    );
}

#[test]
fn f25_requests_that_stall_end() {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.data().await {}
        // Never an answer.
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    let gate = gate_with(&upstream, |setup| {
        setup.limits(|limits| {
            limits.stall = Duration::from_millis(200);
            limits.response_wait = Duration::from_millis(400);
        })
    });
    run(async {
        let agent = agent(&gate).await;
        let mut one = agent.clone().ready().await.unwrap();
        let (response, _up) = one.send_request(ask("POST /stalls"), false).unwrap();
        let stalled = tokio::time::timeout(PATIENCE, response)
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(stalled.reason(), Some(Reason::CANCEL));
        let waited = fetch(&agent, ask("GET /waits"), b"").await.unwrap();
        assert_eq!(waited.status, 504, "{waited:?}");
    });
    assert_eq!(super::records(&gate, 2).len(), 2);
}

#[test]
fn a_panic_takes_nobody_along() {
    let upstream = Upstream::says("hello");
    let panicked = Arc::new(AtomicBool::new(false));
    let gate = gate_with(&upstream, |setup| {
        // Its look-up panics in the test's resolver.
        setup.rule(super::looked_into("panics.example"))
    });
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
        let tunnel = gate.open(crate::harness::Way::Connect, "panics.example", 443);
        panicked.store(tunnel.is_err(), Ordering::SeqCst);
        fetch(&agent, ask("GET /"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
    assert!(panicked.load(Ordering::SeqCst));
}
