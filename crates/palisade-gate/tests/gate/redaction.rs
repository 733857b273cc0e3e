//! Responses that show the secret come back without it (C07), whatever they are cut or packed into.

use std::io::Write as _;
use std::time::{Duration, Instant};

use palisade_policy::{Protocol, Rule};

use crate::harness::{
    Client, PLAIN_WAYS, Server, Setup, TestGate, Way, bearer, carrying, credentials, request,
    secret,
};

fn gate_for(server: &Server) -> TestGate {
    Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, server)
        .allow("b.example", 80, server)
        .rule(Rule {
            protocol: Protocol::WebSocket,
            ..carrying("a.example", "TOKEN")
        })
        .credentials(credentials(vec![bearer("TOKEN")]))
        .start()
}

fn hidden() -> String {
    "*".repeat(secret("TOKEN").len())
}

/// Answers every request with these bytes, and keeps the connection.
fn answering(bytes: Vec<u8>) -> Server {
    Server::new(move |mut session| {
        while session.request().is_some() {
            session.send_bytes(&bytes);
        }
    })
}

fn with_length(lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{lines}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn c07_a_body_that_shows_the_secret() {
    for way in PLAIN_WAYS {
        let body = format!("<p>{}</p>", secret("TOKEN"));
        let server = answering(with_length("", body.as_bytes()));
        let gate = gate_for(&server);
        let response = gate.get(way, "a.example");
        response.assert_ok(&format!("<p>{}</p>", hidden()));
        let length = body.len().to_string();
        assert_eq!(response.field("content-length"), Some(length.as_str()));
        let records = gate.sink.wait(1);
        assert!(records.iter().any(|record| record.redacted == 1), "{way:?}");
        // The control: where no credential was added, nothing is touched.
        gate.get(way, "b.example").assert_ok(&body);
    }
}

#[test]
fn c07_a_head_that_shows_the_secret() {
    let token = secret("TOKEN");
    let head = format!(
        "HTTP/1.1 200 {token}\r\nset-cookie: t={token}; Path=/\r\nlocation: /?t={token}\r\n\
         content-length: 2\r\n\r\nok"
    );
    let server = answering(head.into_bytes());
    let gate = gate_for(&server);
    let response = gate.get(Way::Forward, "a.example");
    assert!(!response.head.contains(&token), "{response:?}");
    let cookie = format!("t={}; Path=/", hidden());
    assert_eq!(response.field("set-cookie"), Some(cookie.as_str()));
    assert!(
        response
            .head
            .starts_with(&format!("HTTP/1.1 200 {}\r\n", hidden()))
    );
    response.assert_ok("ok");
    let plain = gate.get(Way::Forward, "b.example");
    assert!(plain.head.contains(&token), "the control");
}

#[test]
fn c07_any_border_between_chunks_and_segments() {
    let token = secret("TOKEN");
    for cut in 1..token.len() {
        let (first, second) = (format!("a{}", &token[..cut]), format!("{}z", &token[cut..]));
        let chunked = Server::new(move |mut session| {
            while session.request().is_some() {
                session.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                for part in [&first, &second] {
                    session.send(&format!("{:x}\r\n{part}\r\n", part.len()));
                    if cut % 9 == 0 {
                        session.wait(Duration::from_millis(30));
                    }
                }
                session.send("0\r\n\r\n");
            }
        });
        let gate = gate_for(&chunked);
        let expected = format!("a{}z", hidden());
        gate.get(Way::Forward, "a.example").assert_ok(&expected);
    }
}

#[test]
fn c07_encoded_forms() {
    let token = secret("TOKEN");
    let hex: String = token.bytes().map(|b| format!("{b:02x}")).collect();
    let percent: String = token.bytes().map(|b| format!("%{b:02X}")).collect();
    let json: String = token.bytes().map(|b| format!("\\u{b:04x}")).collect();
    for form in [hex, percent, json] {
        let body = format!("<{form}>");
        let server = answering(with_length("", body.as_bytes()));
        let gate = gate_for(&server);
        let text = gate.get(Way::Forward, "a.example").text();
        assert!(!text.contains(&form), "{text}");
        assert_eq!(text.len(), body.len());
        gate.get(Way::Forward, "b.example").assert_ok(&body);
    }
}

#[test]
fn c08_codings_are_undone() {
    let body = format!(
        "{} {} {}",
        "x".repeat(100_000),
        secret("TOKEN"),
        "y".repeat(100_000)
    );
    let expected = body.replace(&secret("TOKEN"), &hidden());
    let packed = gzip(body.as_bytes());
    let lines = "content-encoding: gzip\r\ncontent-md5: x\r\netag: \"1\"\r\n";
    let server = answering(with_length(lines, &packed));
    let gate = gate_for(&server);
    let response = gate.ask(
        Way::Forward,
        "a.example",
        "GET /",
        "accept-encoding: zstd, gzip;q=0.9, *\r\nrange: bytes=5-9\r\nif-range: x\r\n",
        "",
    );
    assert_eq!(response.field("content-encoding"), None);
    assert_eq!(response.field("content-md5"), None);
    assert_eq!(response.field("etag"), Some("\"1\""));
    response.assert_ok(&expected);
    let text = server.text();
    assert!(text.contains("accept-encoding: gzip;q=0.9\r\n"), "{text}");
    assert!(!text.contains("range"), "{text}");
    // One after the other on the same connections.
    gate.get(Way::Forward, "a.example").assert_ok(&expected);
    let plain = gate.get(Way::Forward, "b.example");
    assert_eq!(plain.field("content-encoding"), Some("gzip"));
    assert_eq!(plain.body, packed, "the control");
}

#[test]
fn c08_a_client_of_the_first_version_gets_it_to_the_end_of_the_connection() {
    let body = format!("<{}>", secret("TOKEN"));
    let server = answering(with_length(
        "content-encoding: gzip\r\n",
        &gzip(body.as_bytes()),
    ));
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send("GET http://a.example/ HTTP/1.0\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    let (head, rest) = all.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("connection: close") && !head.contains("chunked"),
        "{head}"
    );
    assert_eq!(rest, format!("<{}>", hidden()));
}

#[test]
fn c08_a_coding_that_breaks_off_is_an_end_without_an_end() {
    let packed = gzip("x".repeat(300_000).as_bytes());
    let server = answering(with_length(
        "content-encoding: gzip\r\n",
        &packed[..packed.len() - 9],
    ));
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    let all = client.rest();
    assert!(
        !all.ends_with(b"0\r\n\r\n"),
        "the client sees that something is missing"
    );
    assert!(gate.sink.only().error.is_some());
}

#[test]
fn c08_a_bomb_is_taken_apart_in_steps() {
    let bomb = gzip(&vec![0; 8 << 20]);
    let server = answering(with_length("content-encoding: gzip\r\n", &bomb));
    let gate = gate_for(&server);
    let response = gate.get(Way::Forward, "a.example");
    assert_eq!((response.status, response.body.len()), (200, 8 << 20));
}

#[test]
fn c08_what_cannot_be_searched_is_not_passed_on() {
    let cases = [
        ("content-encoding: compress\r\n", "200 OK"),
        ("content-encoding: gzip\r\n", "200 OK"),
        ("content-range: bytes 0-3/9\r\n", "206 Partial Content"),
    ];
    for (lines, status) in cases {
        let bytes = with_length(lines, b"half");
        let bytes = String::from_utf8(bytes).unwrap().replace("200 OK", status);
        let server = answering(bytes.into_bytes());
        let gate = gate_for(&server);
        let response = gate.get(Way::Forward, "a.example");
        assert_eq!(response.status, 502, "{lines}");
        assert!(!response.text().contains("half"), "{lines}");
        let plain = gate.get(Way::Forward, "b.example");
        assert_eq!(plain.text(), "half", "{lines}");
    }
}

#[test]
fn c08_a_head_answer_describes_what_would_be_sent() {
    let server = Server::new(|mut session| {
        while session.request().is_some() {
            session.send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 99\r\n\r\n");
        }
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "HEAD /", "", ""));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!head.contains("gzip") && !head.contains("99"), "{head}");
    client.send(request(Way::Forward, "b.example", "HEAD /", "", ""));
    assert!(client.head().contains("content-length: 99"));
}

#[test]
fn f08_trailers_pass_redacted_where_they_are_wanted() {
    let token = secret("TOKEN");
    let server = answering(
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
             x-checksum: {token}\r\ngrpc-status: 0\r\nauthorization: x\r\ncontent-length: 1\r\n\r\n"
        )
        .into_bytes(),
    );
    let gate = gate_for(&server);
    let trailers = |host: &str, lines: &str| {
        let mut client = gate.proxy();
        let lines = format!("{lines}connection: close\r\n");
        client.send(request(Way::Forward, host, "GET /", &lines, ""));
        let all = String::from_utf8(client.rest()).unwrap();
        let (_, trailers) = all.split_once("2\r\nok\r\n0\r\n").unwrap();
        trailers.to_owned()
    };
    let wanted = "te: trailers\r\n";
    let expected = format!("x-checksum: {}\r\ngrpc-status: 0\r\n\r\n", hidden());
    assert_eq!(trailers("a.example", wanted), expected);
    let plain = format!("x-checksum: {token}\r\ngrpc-status: 0\r\n\r\n");
    assert_eq!(trailers("b.example", wanted), plain);
    assert_eq!(trailers("a.example", ""), "\r\n");
    assert!(server.text().contains("te: trailers\r\nconnection: te\r\n"));
}

#[test]
fn events_pass_at_once() {
    let server = Server::new(|mut session| {
        while session.request().is_some() {
            session.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            for n in 0..5 {
                let event = format!("data: {n}\n\n");
                session.send(&format!("{:x}\r\n{event}\r\n", event.len()));
                // The next one only comes once the client has seen this one.
                session.receive();
            }
            session.send("0\r\n\r\n");
        }
    });
    let gate = gate_for(&server);
    let mut client = gate.tunnel(Way::Connect, "a.example", 80);
    client.send(request(
        Way::Connect,
        "a.example",
        "POST /",
        "transfer-encoding: chunked\r\n",
        "",
    ));
    client.head();
    let began = Instant::now();
    for n in 0..5 {
        assert_eq!(
            client.exactly(14),
            format!("9\r\ndata: {n}\n\n\r\n").as_bytes()
        );
        client.send("1\r\nx\r\n");
    }
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_pause_within_what_could_be_a_secret_ends() {
    let begin = secret("TOKEN")[..6].to_owned();
    let server = Server::new(move |mut session| {
        session.request();
        session.send(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{begin}"
        ));
        session.receive();
    });
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    client.head();
    let began = Instant::now();
    assert_eq!(client.exactly(6), &secret("TOKEN").as_bytes()[..6]);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let first = if fin { 0x80 } else { 0 } | opcode;
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, length][..], payload].concat()
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\
    sec-websocket-extensions: permessage-deflate\r\n";

fn websocket(frames: Vec<Vec<u8>>) -> Server {
    Server::new(move |mut session| {
        session.request();
        session.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: y\r\n\r\n");
        for frame in &frames {
            session.send_bytes(frame);
            session.wait(Duration::from_millis(5));
        }
        session.receive();
    })
}

fn open(gate: &TestGate, host: &str) -> Client {
    let mut client = gate.proxy();
    client.send(request(Way::Forward, host, "GET /ws", UPGRADE, ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client
}

#[test]
fn f17_frames_that_show_the_secret() {
    let token = secret("TOKEN");
    let (first, second) = token.split_at(7);
    let stars = hidden();
    let make = |first: &str, second: &str, whole: &str| {
        vec![
            frame(true, 1, format!("a{whole}").as_bytes()),
            frame(false, 1, first.as_bytes()),
            frame(true, 9, b"ping"),
            frame(true, 0, second.as_bytes()),
            frame(true, 2, b"r"),
        ]
    };
    let sent = make(first, second, &token);
    let expected = make(&stars[..7], &stars[7..], &stars).concat();
    let server = websocket(sent.clone());
    let gate = gate_for(&server);
    let mut client = open(&gate, "a.example");
    let began = Instant::now();
    assert_eq!(client.exactly(expected.len()), expected);
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "the last frame waits for nothing"
    );
    assert!(!server.text().contains("permessage-deflate"));
    client.end();
    drop(client);
    let record = gate.sink.only();
    assert_eq!((record.redacted, record.status), (2, Some(101)));
    let mut plain = open(&gate, "b.example");
    let all = sent.concat();
    assert_eq!(plain.exactly(all.len()), all, "the control");
    assert!(server.text().contains("permessage-deflate"));
}

#[test]
fn f17_compressed_frames_end_the_connection() {
    let mut compressed = frame(true, 1, b"xxxx");
    compressed[0] |= 0x40;
    let server = websocket(vec![frame(true, 1, b"fine"), compressed]);
    let gate = gate_for(&server);
    let mut client = open(&gate, "a.example");
    assert_eq!(client.rest(), frame(true, 1, b"fine"));
    let record = gate.sink.only();
    assert!(record.error.unwrap().contains("extension"));
}

#[test]
fn c07_the_secret_of_one_request_is_no_matter_in_another() {
    // Two credentials, one host: each response loses the secret that its own request carried.
    let body = format!("{} {}", secret("ONE"), secret("TWO"));
    let server = answering(with_length("", body.as_bytes()));
    let gate = Setup::default()
        .rule(carrying("one.example", "ONE"))
        .rule(carrying("two.example", "TWO"))
        .map("one.example", 80, &server)
        .map("two.example", 80, &server)
        .credentials(credentials(vec![bearer("ONE"), bearer("TWO")]))
        .start();
    let one = gate.get(Way::Forward, "one.example").text();
    assert!(!one.contains(&secret("ONE")), "{one}");
    let two = gate.get(Way::Forward, "two.example").text();
    assert!(!two.contains(&secret("TWO")), "{two}");
}
