//! Placeholders where they are not bound to: refused, and recorded (C10, C11).

use palisade_credential::Credentials;
use palisade_policy::Rule;
use palisade_test_support::authority::Authority as TestAuthority;

use crate::harness::{
    PLAIN_WAYS, Server, Setup, TestGate, Way, bearer, carrying, credentials, placeholder, query,
    request, rule, secret,
};

/// `a.example` has the credential TOKEN, `q.example` has KEY in its query, `b.example` has none.
fn gate_for(server: &Server) -> (TestGate, String, String) {
    let all: Credentials = credentials(vec![bearer("TOKEN"), query("KEY", "key")]);
    let (token, key) = (placeholder(&all, "TOKEN"), placeholder(&all, "KEY"));
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .rule(carrying("q.example", "KEY"))
        .map("a.example", 80, server)
        .map("q.example", 80, server)
        .allow("b.example", 80, server)
        .credentials(all)
        .start();
    (gate, token, key)
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for at in 0..=group.len() {
            let index = (word >> (18 - 6 * at)) & 63;
            out.push(char::from(LETTERS[index as usize]));
        }
    }
    out
}

#[test]
fn where_it_is_bound_it_is_replaced() {
    let server = Server::http("ok");
    let (gate, token, key) = gate_for(&server);
    let lines = format!("authorization: token {token}\r\n");
    gate.ask(Way::Forward, "a.example", "GET /", &lines, "")
        .assert_ok("ok");
    let start = format!("GET /?key={key}&q=1");
    gate.ask(Way::Forward, "q.example", &start, "", "")
        .assert_ok("ok");
    let text = server.text();
    assert!(!text.contains(&token) && !text.contains(&key), "{text}");
    assert!(text.contains(&secret("TOKEN")) && text.contains(&secret("KEY")));
}

#[test]
fn c11_not_to_another_host() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let (gate, token, _) = gate_for(&server);
        let lines = format!("authorization: Bearer {token}\r\n");
        gate.ask(way, "b.example", "GET /", &lines, "")
            .assert_denied(403, "placeholder");
        assert!(server.is_untouched(), "{way:?}");
        let records = gate.sink.wait(1);
        let record = records.iter().find(|record| record.denied).unwrap();
        assert_eq!(record.credential.as_deref(), Some("TOKEN"));
        assert_eq!(record.reason, Some("placeholder"));
        gate.ask(
            way,
            "b.example",
            "GET /",
            "authorization: Bearer own\r\n",
            "",
        )
        .assert_ok("ok");
    }
}

#[test]
fn c10_not_elsewhere_in_the_head() {
    let server = Server::http("ok");
    let (gate, token, key) = gate_for(&server);
    let packed = base64(&format!("x:{token}"));
    let encoded = format!("%{:02x}{}", token.as_bytes()[0], &token[1..]);
    let cases = [
        ("a.example", format!("GET /{token}"), String::new()),
        ("a.example", format!("GET /?t={token}"), String::new()),
        ("a.example", format!("GET /?t={encoded}"), String::new()),
        ("a.example", "GET /".into(), format!("x-other: {token}\r\n")),
        (
            "a.example",
            "GET /".into(),
            format!("cookie: t={token}\r\n"),
        ),
        (
            "a.example",
            "GET /".into(),
            format!("x-other: Basic {packed}\r\n"),
        ),
        // The placeholder of another credential, where this one's own is expected.
        (
            "a.example",
            "GET /".into(),
            format!("authorization: Bearer {key}\r\n"),
        ),
        ("q.example", format!("GET /?key={token}"), String::new()),
        ("q.example", format!("GET /?other={key}"), String::new()),
        (
            "q.example",
            "GET /".into(),
            format!("authorization: Bearer {key}\r\n"),
        ),
        ("b.example", format!("GET /{key}"), String::new()),
    ];
    for (host, start, lines) in cases {
        gate.ask(Way::Forward, host, &start, &lines, "")
            .assert_denied(403, "placeholder");
        assert!(server.is_untouched(), "{host} {start} {lines}");
    }
    gate.ask(
        Way::Forward,
        "a.example",
        "GET /?t=own",
        "x-other: own\r\n",
        "",
    )
    .assert_ok("ok");
}

#[test]
fn c10_never_in_bodies() {
    let server = Server::http("ok");
    let (gate, token, _) = gate_for(&server);
    for body in [
        token.clone(),
        format!("{{\"token\":\"{token}\"}}"),
        format!("--x\r\n\r\n{token}\r\n--x--"),
        base64(&format!("ab{token}")),
    ] {
        for host in ["a.example", "b.example"] {
            let lines = format!("content-length: {}\r\n", body.len());
            gate.ask(Way::Forward, host, "POST /", &lines, &body)
                .assert_denied(403, "placeholder");
        }
        assert!(server.is_untouched(), "{body}");
    }
    gate.ask(
        Way::Forward,
        "a.example",
        "POST /",
        "content-length: 2\r\n",
        "ok",
    )
    .assert_ok("ok");
}

#[test]
fn c10_over_any_border_of_a_body() {
    let server = Server::new(|mut session| while session.receive().is_some() {});
    let (gate, token, _) = gate_for(&server);
    for cut in [1, 7, token.len() / 2, token.len() - 1] {
        let (first, second) = token.split_at(cut);
        let mut client = gate.proxy();
        let lines = "transfer-encoding: chunked\r\n";
        client.send(request(Way::Forward, "a.example", "POST /", lines, ""));
        for part in ["begin", first, second, "end"] {
            client.send(format!("{:x}\r\n{part}\r\n", part.len()));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        client.response().assert_denied(403, "placeholder");
    }
    let text = server.text();
    assert!(
        text.contains("begin"),
        "the head and what came before had gone"
    );
    assert!(!text.contains("end\r\n"), "nothing after it: {text}");
    assert!(!text.contains("0\r\n\r\n"), "no end: {text}");
}

#[test]
fn c10_within_the_frames_of_a_websocket() {
    let server = Server::new(|mut session| {
        session.request();
        session.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: y\r\n\r\n");
        while session.receive().is_some() {}
    });
    let (gate, token, _) = gate_for(&server);
    let text = format!("say {token}");
    let (one, two) = text.split_at("say plc_".len() + 8);
    let whole = vec![masked(0x81, text.as_bytes())];
    // What is said between two parts of a message is no part of it.
    let cut = vec![
        masked(0x01, one.as_bytes()),
        masked(0x89, b"ping"),
        masked(0x80, two.as_bytes()),
    ];
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n";
    for (count, said) in [whole, cut].into_iter().enumerate() {
        let mut client = gate.proxy();
        client.send(request(Way::Forward, "b.example", "GET /", upgrade, ""));
        client.head();
        client.send(masked(0x81, b"harmless"));
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.send(said.concat());
        assert_eq!(client.rest(), b"");
        let record = gate.sink.wait(count + 1).pop().unwrap();
        assert_eq!(record.reason, Some("placeholder"));
        assert_eq!(record.credential.as_deref(), Some("TOKEN"));
        let seen = server.bytes();
        let holds = |bytes: &[u8]| seen.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(&masked(0x81, b"harmless")), "the control");
        assert!(!holds(said.last().unwrap()));
    }
}

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let payload = payload.iter().enumerate();
    let payload: Vec<u8> = payload.map(|(at, b)| b ^ mask[at % 4]).collect();
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length][..], &mask, &payload].concat()
}

#[test]
fn c11_the_person_is_told_once_a_place() {
    let server = Server::http("ok");
    let (gate, token, _) = gate_for(&server);
    let lines = format!("x-other: {token}\r\n");
    for host in ["a.example", "a.example", "b.example"] {
        gate.ask(Way::Forward, host, "GET /", &lines, "")
            .assert_denied(403, "placeholder");
    }
    gate.sink.wait(3);
    let told = gate.notices.lines();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("TOKEN") && told[0].contains("a.example"),
        "{told:?}"
    );
    gate.get(Way::Forward, "b.example").assert_ok("ok");
    gate.sink.wait(4);
    assert_eq!(gate.notices.lines().len(), 2);
}

#[test]
fn c11_a_request_that_is_refused_anyway_is_recorded_with_it() {
    let server = Server::http("ok");
    let (gate, token, _) = gate_for(&server);
    let lines = format!("authorization: Bearer {token}\r\n");
    gate.ask(Way::Forward, "evil.example", "GET /", &lines, "")
        .assert_denied(403, "not-allowed");
    let record = gate.sink.only();
    assert_eq!(record.credential.as_deref(), Some("TOKEN"));
    gate.ask(Way::Forward, "evil.example", "GET /", "", "")
        .assert_denied(403, "not-allowed");
    assert_eq!(gate.sink.wait(2)[1].credential, None);
}

#[test]
fn c07_c10_c11_within_tls() {
    let authority = TestAuthority::new();
    let echo = Server::new(|mut session| {
        while let Some(head) = session.request() {
            let length = head.len();
            session.send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}"
            ));
        }
    });
    let echo = echo.within_tls(&authority, &["a.example", "b.example"], &["http/1.1"]);
    let all = credentials(vec![bearer("TOKEN")]);
    let token = placeholder(&all, "TOKEN");
    let looked_into = Rule {
        intercept: Some(true),
        ..rule("b.example")
    };
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .rule(looked_into)
        .map("a.example", 443, &echo)
        .map("b.example", 443, &echo)
        .intercept(&authority)
        .credentials(all)
        .start();
    let ask = |host: &str, start: &str, lines: &str, body: &str| {
        let client = gate.tunnel(Way::Connect, host, 443);
        let (mut client, _) = client.secure(&gate.trust, host, &["http/1.1"]).unwrap();
        client.send(request(Way::Connect, host, start, lines, body));
        client.response()
    };
    let bearer = format!("authorization: Bearer {token}\r\n");
    let response = ask("a.example", "GET /x", &bearer, "");
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(text.contains("authorization: Bearer *****"), "{text}");
    assert!(
        !text.contains(&secret("TOKEN")) && !text.contains(&token),
        "{text}"
    );
    assert!(echo.text().contains(&secret("TOKEN")));
    let seen = echo.bytes().len();
    ask("b.example", "GET /x", &bearer, "").assert_denied(403, "placeholder");
    ask("a.example", &format!("GET /{token}"), "", "").assert_denied(403, "placeholder");
    let lines = format!("content-length: {}\r\n", token.len());
    ask("a.example", "POST /", &lines, &token).assert_denied(403, "placeholder");
    assert_eq!(echo.bytes().len(), seen, "nothing of them left");
    assert_eq!(ask("b.example", "GET /x", "", "").status, 200);
}

#[test]
fn sessions_without_placeholders_look_for_none() {
    let server = Server::http("ok");
    let gate = Setup::default().allow("a.example", 80, &server).start();
    let lines = "authorization: Bearer ghp_000000000000000000000000000000000000\r\n";
    gate.ask(Way::Forward, "a.example", "GET /", lines, "")
        .assert_ok("ok");
}

#[test]
fn c10_a_quotable_one_passes_in_bodies_to_its_own_host_alone() {
    let server = Server::http("ok");
    let quotable = |quotable| {
        let definition = palisade_credential::Definition {
            quotable,
            ..bearer("TOKEN")
        };
        let all = credentials(vec![definition, query("KEY", "key")]);
        let (token, key) = (placeholder(&all, "TOKEN"), placeholder(&all, "KEY"));
        let gate = Setup::default()
            .rule(carrying("a.example", "TOKEN"))
            .map("a.example", 80, &server)
            .allow("b.example", 80, &server)
            .credentials(all)
            .start();
        (gate, token, key)
    };
    let post = |gate: &TestGate, host: &str, body: &str| {
        let lines = format!("content-length: {}\r\n", body.len());
        gate.ask(Way::Forward, host, "POST /", &lines, body)
    };
    let (gate, token, key) = quotable(true);
    post(&gate, "a.example", &format!("I saw {token}")).assert_ok("ok");
    let text = server.text();
    assert!(
        text.contains(&format!("I saw {token}")),
        "it is not replaced: {text}"
    );
    assert_eq!(
        text.matches(&secret("TOKEN")).count(),
        1,
        "in the field alone"
    );
    post(&gate, "a.example", &key).assert_denied(403, "placeholder");
    post(&gate, "b.example", &token).assert_denied(403, "placeholder");
    gate.ask(Way::Forward, "a.example", &format!("GET /{token}"), "", "")
        .assert_denied(403, "placeholder");
    let (gate, token, _) = quotable(false);
    post(&gate, "a.example", &token).assert_denied(403, "placeholder");
}
