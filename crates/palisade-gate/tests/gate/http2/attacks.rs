//! Heads that are not what they should be, and floods (F19, F20, F25, F26).

use std::time::Duration;

use http::Response;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, fields, frame, get,
};
use super::{Upstream, agent, ask, fetch, gate, gate_with, run, stream};

/// The status in the head of a response: a number of the table, or three digits in Huffman code (RFC 7541 appendices A
/// and B).
fn status(head: &[u8]) -> &'static str {
    match head {
        [0x88, ..] => "200",
        [0x8c, ..] => "400",
        [0x48, 0x82, 0x68, 0x41, ..] => "421",
        [0x48, 0x83, 0x69, 0x90, 0xff, ..] => "431",
        _ => "another",
    }
}

/// What becomes of a head on stream 1; the control is a good request on stream 3, if the connection still stands.
fn outcome(head: &[u8], flags: u8, more: &[Vec<u8>]) -> Result<&'static str, u32> {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    let outcome = run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        raw.send(&frame(HEADERS, flags | END_HEADERS, 1, head))
            .await;
        for frame in more {
            raw.send(frame).await;
        }
        let outcome = raw.outcome(1).await;
        // What the compression of heads does not allow ends the connection; anything else just the stream.
        if raw.is_over {
            raw = Raw::new(stream(&gate)).await;
        }
        raw.send(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            3,
            &get(b"/control", &[]),
        ))
        .await;
        let control = raw.outcome(3).await.expect("the connection stands");
        assert_eq!(status(&control), "200");
        outcome
    });
    if outcome.is_err() {
        assert!(!upstream.seen().contains("/x"), "{}", upstream.seen());
    }
    assert!(
        upstream.seen().contains("https://a.example/control\n"),
        "{}",
        upstream.seen()
    );
    outcome.map(|head| status(&head))
}

fn alone(head: &[u8]) -> Result<&'static str, u32> {
    outcome(head, END_STREAM, &[])
}

#[test]
fn f19_bytes_that_would_split_a_head() {
    assert_eq!(alone(&get(b"/x", &[(b"a", b"b")])), Ok("200"));
    for bad in [
        get(b"/x HTTP/1.1\r\nhost: b.example\r\n\r\n", &[]),
        get(b"/x y", &[]),
        get(b"/x\0", &[]),
        get(b"/x", &[(b"a", b"b\r\nc: d")]),
        get(b"/x", &[(b"a", b"b\nc")]),
        get(b"/x", &[(b"a", b"b\rc")]),
        get(b"/x", &[(b"a", b"b\0c")]),
        get(b"/x", &[(b"a: b", b"c")]),
        get(b"/x", &[(b"a b", b"c")]),
        get(b"/x", &[(b"a\r\nb", b"c")]),
        get(b"/x", &[(b"", b"c")]),
        get(b"/x", &[(b"Upper", b"c")]),
        get(b"/x", &[(b":path", b"/y")]),
    ] {
        let text = String::from_utf8_lossy(&bad).into_owned();
        assert_eq!(alone(&bad), Err(PROTOCOL_ERROR), "{text:?}");
    }
}

#[test]
fn f19_methods_and_authorities_that_are_none() {
    for (name, value) in [
        (&b":method"[..], &b"GET /y HTTP/1.1\r\nx: "[..]),
        (b":method", b"GE T"),
        (b":method", b""),
        (b":authority", b"a.example\r\nx: y"),
        (b":authority", b"a.example/y"),
        (b":authority", b"a.exa mple"),
        (b":scheme", b"https://"),
    ] {
        let mut all: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"a.example"),
            (b":path", b"/x"),
        ];
        all.iter_mut().find(|field| field.0 == name).unwrap().1 = value;
        let text = String::from_utf8_lossy(value).into_owned();
        assert_eq!(alone(&fields(&all)), Err(PROTOCOL_ERROR), "{text:?}");
    }
}

#[test]
fn f19_fields_of_one_connection() {
    for (name, value) in [
        (&b"connection"[..], &b"close"[..]),
        (b"connection", b"authorization"),
        (b"keep-alive", b"5"),
        (b"proxy-connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
    ] {
        let outcome = alone(&get(b"/x", &[(name, value)]));
        assert_eq!(
            outcome,
            Err(PROTOCOL_ERROR),
            "{}",
            String::from_utf8_lossy(name)
        );
    }
    assert_eq!(alone(&get(b"/x", &[(b"te", b"trailers")])), Ok("200"));
    // Others that belong to a proxy are taken out.
    assert_eq!(
        alone(&get(b"/x", &[(b"proxy-authorization", b"x")])),
        Ok("200")
    );
}

#[test]
fn f20_pseudo_headers_are_one_of_each_and_first() {
    let with = |all: &[(&[u8], &[u8])]| alone(&fields(all));
    let [method, scheme, authority, path]: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"a.example"),
        (b":path", b"/x"),
    ];
    assert_eq!(with(&[method, scheme, authority, path]), Ok("200"));
    for bad in [
        vec![method, method, scheme, authority, path],
        vec![method, scheme, authority, authority, path],
        vec![method, scheme, authority, path, path],
        vec![
            method,
            scheme,
            authority,
            path,
            (b"a", b"b"),
            (b":path", b"/y"),
        ],
        vec![method, scheme, authority, path, (b":status", b"200")],
        vec![method, scheme, authority, path, (b":unknown", b"x")],
        vec![
            method,
            scheme,
            authority,
            path,
            (b":protocol", b"websocket"),
        ],
        vec![scheme, authority, path],
        vec![method, authority, path],
        vec![method, scheme, authority, (b":path", b"")],
    ] {
        assert_eq!(with(&bad), Err(PROTOCOL_ERROR), "{bad:?}");
    }
    // What is well-formed HTTP/2 and still no request for here is refused with its record.
    for bad in [
        vec![method, scheme, path],
        vec![method, scheme, path, (b"host", b"a.example")],
        vec![method, (b":scheme", b"http"), authority, path],
        vec![method, scheme, authority, (b":path", b"*")],
        vec![method, scheme, authority, path, (b"host", b"b.example")],
        vec![method, scheme, authority, (b":path", b"/x\xc3\xbc")],
    ] {
        let answer = with(&bad);
        assert!(
            matches!(answer, Ok("400") | Err(PROTOCOL_ERROR)),
            "{bad:?}: {answer:?}"
        );
    }
    let elsewhere = with(&[method, scheme, (b":authority", b"b.example"), path]);
    assert_eq!(elsewhere, Ok("421"));
    for userinfo in [
        &b"u:p@a.example"[..],
        b"a.example@b.example",
        b"a.example:443@b.example",
    ] {
        let answer = with(&[method, scheme, (b":authority", userinfo), path]);
        assert!(
            matches!(answer, Ok("400") | Err(PROTOCOL_ERROR)),
            "{answer:?}"
        );
    }
}

#[test]
fn p02_a_fragment_is_cut_off_before_it_is_judged() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        raw.send(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &get(b"/x#y", &[]),
        ))
        .await;
        let _ = raw.outcome(1).await;
    });
    let path = super::records(&gate, 1)[0].path.clone();
    assert!(!upstream.seen().contains('#'), "{}", upstream.seen());
    assert_eq!(path.as_deref(), Some("/x"));
}

#[test]
fn f05_lengths_are_one_plain_number_and_true() {
    let length = |value: &'static [u8]| get(b"/x", &[(b"content-length", value)]);
    let data = |text: &[u8]| frame(DATA, END_STREAM, 1, text);
    assert_eq!(outcome(&length(b"5"), 0, &[data(b"hello")]), Ok("200"));
    for (value, text) in [
        (&b"5"[..], &b"hell"[..]),
        (b"5", b"hello!"),
        (b"5", b""),
        (b"+5", b"hello"),
        (b"5, 5", b"hello"),
        (b"0x5", b"hello"),
        (b"99999999999999999999", b"hello"),
    ] {
        let head = get(b"/x", &[(b"content-length", value)]);
        let answer = outcome_of_body(&head, &data(text));
        assert!(
            matches!(answer, Ok("400") | Err(_)),
            "{value:?} {text:?}: {answer:?}"
        );
    }
    let two = get(
        b"/x",
        &[(b"content-length", b"5"), (b"content-length", b"6")],
    );
    let answer = outcome_of_body(&two, &data(b"hello"));
    assert!(
        matches!(answer, Ok("400") | Err(PROTOCOL_ERROR)),
        "{answer:?}"
    );
}

/// The same for a body that may have reached the server in part.
fn outcome_of_body(head: &[u8], body: &[u8]) -> Result<&'static str, u32> {
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            if data.is_err() {
                return;
            }
        }
        respond.send_response(Response::new(()), true).unwrap();
    });
    let gate = gate(&upstream);
    run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        raw.send(&frame(HEADERS, END_HEADERS, 1, head)).await;
        raw.send(body).await;
        raw.outcome(1).await.map(|head| status(&head))
    })
}

#[test]
fn f26_heads_that_are_too_long() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        let long = vec![b'a'; 100_000];
        let head = get(b"/x", &[(b"a", &long)]);
        let (first, rest) = head.split_at(16_000);
        raw.send(&frame(HEADERS, END_STREAM, 1, first)).await;
        let pieces: Vec<_> = rest.chunks(16_000).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let flags = if at + 1 == pieces.len() {
                END_HEADERS
            } else {
                0
            };
            raw.send(&frame(CONTINUATION, flags, 1, piece)).await;
        }
        let head = raw.outcome(1).await.unwrap();
        assert_eq!(status(&head), "431");
        assert!(upstream.seen().is_empty());
    });
    let record = &super::records(&gate, 1)[0];
    assert_eq!(record.reason, Some("limit"), "{record:?}");
    // The control, at half the size.
    run(async {
        let agent = agent(&gate).await;
        let long = "a".repeat(50_000);
        let request = super::ask_with("GET /x", &[("a", &long)]);
        fetch(&agent, request, b"")
            .await
            .unwrap()
            .assert_ok("hello");
        let many: Vec<_> = (0..101).map(|number| (format!("a{number}"), "b")).collect();
        let many: Vec<_> = many
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        let got = fetch(&agent, super::ask_with("GET /y", &many), b"")
            .await
            .unwrap();
        got.assert_denied(431, "limit");
    });
}

/// Floods the gate with these frames, for which it ends the connection.
fn flood(setup: Vec<Vec<u8>>, next: impl Fn(u32) -> Vec<u8> + Send + 'static, most: u32) {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    let goodbye = run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        for frame in setup {
            raw.send(&frame).await;
        }
        raw.flood((0..most).map(next));
        let goaway = raw.next(&[GOAWAY]);
        let goaway = tokio::time::timeout(Duration::from_secs(10), goaway).await;
        goaway.expect("the gate ends it").map(|frame| frame.code())
    });
    // Others are unhurt.
    run(async {
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /control"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
    // What it says may be lost where it ends a connection that still has bytes for it; its record is not.
    assert!(
        matches!(goodbye, None | Some(ENHANCE_YOUR_CALM)),
        "{goodbye:?}"
    );
    let records = gate.sink.requests();
    assert!(
        records.iter().any(|record| record.reason == Some("limit")),
        "{records:?}"
    );
}

#[test]
fn f26_a_head_without_end() {
    let begin = frame(HEADERS, END_STREAM, 1, &get(b"/x", &[]));
    let more = fields(&[(b"a", &[b'b'; 8000])]);
    flood(vec![begin], move |_| frame(CONTINUATION, 0, 1, &more), 1000);
}

#[test]
fn f26_empty_frames_without_end() {
    let begin = frame(HEADERS, END_HEADERS, 1, &get(b"/x", &[]));
    flood(vec![begin], |_| frame(DATA, 0, 1, &[]), 20_000);
}

#[test]
fn f26_requests_that_are_reset_as_fast_as_they_are_made() {
    let both = |number: u32| {
        let id = number * 2 + 1;
        let mut out = frame(HEADERS, END_STREAM | END_HEADERS, id, &get(b"/x", &[]));
        out.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
        out
    };
    flood(Vec::new(), both, 20_000);
}

#[test]
fn f26_requests_that_are_reset_once_they_have_begun() {
    let upstream = Upstream::new(|_, mut respond| async move {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    let gate = gate(&upstream);
    let code = run(async {
        let mut raw = Raw::new(stream(&gate)).await;
        for number in 0..2000u32 {
            let id = number * 2 + 1;
            raw.send(&frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                id,
                &get(b"/x", &[]),
            ))
            .await;
            if number >= 20 {
                let reset = frame(RST_STREAM, 0, id - 40, &8u32.to_be_bytes());
                raw.send(&reset).await;
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        let goaway = raw.next(&[GOAWAY]);
        tokio::time::timeout(Duration::from_secs(5), goaway)
            .await
            .ok()?
            .map(|frame| frame.code())
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    let records = gate.sink.requests();
    assert!(records.len() < 1500, "{} requests", records.len());
    assert!(records.iter().any(|record| record.reason == Some("limit")));
}

#[test]
fn f26_settings_and_pings_nobody_reads_the_answers_of() {
    // The answers fill what can be written; then nothing more is read, and nothing is held.
    for kind in [SETTINGS, PING] {
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let upstream = Upstream::says("hello");
        let gate = gate_with(&upstream, |setup| {
            setup.limits(|limits| limits.keep_alive = Duration::from_secs(1))
        });
        run(async {
            let mut raw = Raw::new(stream(&gate)).await;
            let many = frame(kind, 0, 0, payload).repeat(1000);
            let writing = async {
                for _ in 0..2000 {
                    raw.send(&many).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(3), writing).await;
            let agent = agent(&gate).await;
            fetch(&agent, ask("GET /control"), b"")
                .await
                .unwrap()
                .assert_ok("hello");
        });
    }
}

#[test]
fn f13_what_is_no_http2_is_closed() {
    let upstream = Upstream::says("hello");
    let gate = gate(&upstream);
    run(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = stream(&gate);
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
            .await
            .unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        assert!(!said.windows(5).any(|text| text == b"hello"));
        let agent = agent(&gate).await;
        fetch(&agent, ask("GET /control"), b"")
            .await
            .unwrap()
            .assert_ok("hello");
    });
    let records = super::records(&gate, 2);
    assert!(
        records
            .iter()
            .any(|record| record.reason == Some("bad-request")),
        "{records:?}"
    );
}
