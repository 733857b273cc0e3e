//! Credentials: who gets them, and what becomes of what the agent sent in their place.

use palisade_audit::Spoken;
use palisade_policy::{PathPattern, Rule};
use palisade_test_support::authority::Authority as TestAuthority;

use crate::harness::{
    PLAIN_WAYS, Server, Setup, TestGate, Way, bearer, carrying, credentials, placeholder, query,
    request, rule, secret,
};

/// `a.example` gets the credential, `b.example` is allowed without one.
fn gate_for(server: &Server) -> TestGate {
    Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, server)
        .allow("b.example", 80, server)
        .credentials(credentials(vec![bearer("TOKEN")]))
        .start()
}

fn injected() -> String {
    format!("authorization: Bearer {}", secret("TOKEN"))
}

#[test]
fn a_permitted_request_carries_the_credential() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server);
        gate.get(way, "a.example").assert_ok("ok");
        assert_eq!(server.authorizations(), [injected()], "{way:?}");
        let records = gate.sink.wait(1);
        let record = records.iter().find(|r| r.method.as_deref() == Some("GET"));
        let record = record.unwrap();
        assert_eq!(record.credential.as_deref(), Some("TOKEN"));
        assert_eq!(record.spoken, Some(Spoken::H1));
        assert!(!record.intercepted);
        gate.get(way, "b.example").assert_ok("ok");
        assert_eq!(
            server.authorizations().len(),
            1,
            "{way:?}: not another host"
        );
        gate.assert_unwritten(&secret("TOKEN"));
    }
}

#[test]
fn within_tls_too() {
    let authority = TestAuthority::new();
    let server = Server::http("ok").within_tls(&authority, &["a.example"], &["http/1.1"]);
    let rule = Rule {
        dangerous_plaintext: false,
        ..carrying("a.example", "TOKEN")
    };
    let gate = Setup::default()
        .rule(rule)
        .map("a.example", 443, &server)
        .map("a.example", 80, &server)
        .intercept(&authority)
        .credentials(credentials(vec![bearer("TOKEN")]))
        .start();
    for _ in 0..2 {
        let client = gate.tunnel(Way::Connect, "a.example", 443);
        let (mut client, _) = client
            .secure(&gate.trust, "a.example", &["http/1.1"])
            .unwrap();
        client.send(request(Way::Connect, "a.example", "GET /x", "", ""));
        client.response().assert_ok("ok");
    }
    assert_eq!(server.authorizations(), [injected(), injected()]);
    let records = gate.sink.wait(2);
    let inner = records.iter().find(|r| r.path.is_some()).unwrap();
    assert!(inner.intercepted);
    // C20: the same request in clear text is refused, and nothing of it leaves.
    gate.get(Way::Forward, "a.example")
        .assert_denied(403, "plaintext-credential");
    assert_eq!(server.authorizations().len(), 2);
}

#[test]
fn c01_what_the_agent_sent_in_its_place_is_gone() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let gate = gate_for(&server);
        let lines = "Authorization: Basic mine\r\nAUTHORIZATION: Bearer mine\r\nX-Api-Key: mine\r\n\
            proxy-authorization: Basic mine\r\nx-other: kept\r\n";
        gate.ask(way, "a.example", "GET /", lines, "")
            .assert_ok("ok");
        assert_eq!(server.authorizations(), [injected()], "{way:?}");
        let text = server.text();
        assert!(!text.contains("mine"), "{way:?}: {text}");
        assert!(text.contains("x-other: kept\r\n"), "{way:?}: {text}");
        // Where nothing is added, what the agent has is its own business; only the proxy's field never goes on (C04).
        gate.ask(way, "b.example", "GET /", lines, "")
            .assert_ok("ok");
        let text = server.text();
        assert!(text.contains("Authorization: Basic mine\r\n"), "{text}");
        assert!(!text.to_lowercase().contains("proxy-auth"), "{text}");
    }
}

#[test]
fn c02_look_alikes_are_refused() {
    let server = Server::http("ok");
    let gate = gate_for(&server);
    for line in [
        "Authorization_: mine\r\n",
        "X_Api_Key: mine\r\n",
        "x.api.key: mine\r\n",
    ] {
        gate.ask(Way::Forward, "a.example", "GET /", line, "")
            .assert_denied(400, "bad-request");
        assert!(server.is_untouched(), "{line}");
    }
    gate.ask(Way::Forward, "a.example", "GET /", "x_other: fine\r\n", "")
        .assert_ok("ok");
    assert_eq!(server.authorizations(), [injected()]);
}

#[test]
fn c01_connection_cannot_strip_the_credential() {
    let server = Server::http("ok");
    let gate = gate_for(&server);
    let lines = "connection: authorization, x-own\r\nauthorization: mine\r\nx-own: y\r\n";
    gate.ask(Way::Forward, "a.example", "GET /", lines, "")
        .assert_ok("ok");
    assert_eq!(server.authorizations(), [injected()]);
    assert!(!server.text().contains("x-own"));
}

#[test]
fn c05_the_credential_follows_the_connection_and_not_the_host_field() {
    let server = Server::http("ok");
    let gate = gate_for(&server);
    for (way, host) in [(Way::Connect, "b.example"), (Way::Transparent, "b.example")] {
        let mut client = gate.tunnel(way, host, 80);
        client.send("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
        client.response().assert_denied(421, "host-mismatch");
    }
    let mut client = gate.proxy();
    client.send("GET http://b.example/ HTTP/1.1\r\nhost: a.example\r\n\r\n");
    client.response().assert_denied(421, "host-mismatch");
    assert!(server.is_untouched());
    gate.get(Way::Connect, "a.example").assert_ok("ok");
    assert_eq!(server.authorizations(), [injected()]);
}

#[test]
fn d26_each_request_is_judged_afresh() {
    let server = Server::http("ok");
    let gate = gate_for(&server);
    let mut client = gate.proxy();
    let ask = |host| request(Way::Forward, host, "GET /", "", "");
    client.send([ask("a.example"), ask("b.example"), ask("a.example")].concat());
    for _ in 0..3 {
        client.response().assert_ok("ok");
    }
    assert_eq!(server.authorizations(), [injected(), injected()]);
}

#[test]
fn method_and_path_bind_it_too() {
    let server = Server::http("ok");
    let bound = Rule {
        methods: Some(["GET".into()].into()),
        paths: Some([PathPattern::parse("/mine/**").unwrap()].into()),
        ..carrying("a.example", "TOKEN")
    };
    let gate = Setup::default()
        .rule(bound)
        .allow("a.example", 80, &server)
        .credentials(credentials(vec![bearer("TOKEN")]))
        .start();
    for start in ["POST /mine/x", "GET /other", "GET /mine/%2e%2e/other"] {
        gate.ask(Way::Forward, "a.example", start, "", "");
    }
    assert_eq!(server.authorizations(), [""; 0]);
    gate.ask(Way::Forward, "a.example", "GET /mine/x?q=1", "", "")
        .assert_ok("ok");
    assert_eq!(server.authorizations(), [injected()]);
}

#[test]
fn a_redirect_is_passed_on_and_followed_without_the_credential() {
    let server = Server::answers(
        b"HTTP/1.1 302 Found\r\nlocation: http://b.example/\r\ncontent-length: 0\r\n\r\n",
    );
    let gate = gate_for(&server);
    let response = gate.get(Way::Forward, "a.example");
    assert_eq!(response.status, 302);
    assert_eq!(response.field("location"), Some("http://b.example/"));
    gate.get(Way::Forward, "b.example");
    assert_eq!(server.authorizations(), [injected()]);
}

#[test]
fn c01_a_parameter_of_the_query_is_replaced() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(carrying("a.example", "KEY"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![query("KEY", "api_key")]))
        .start();
    gate.ask(Way::Forward, "a.example", "GET /s?api_key=mine&q=x", "", "")
        .assert_ok("ok");
    let text = server.text();
    let expected = format!("api_key={}", secret("KEY"));
    assert!(text.contains(&expected) && text.contains("q=x"), "{text}");
    assert!(!text.contains("mine"), "{text}");
    let record = gate.sink.only();
    assert_eq!(record.path.as_deref(), Some("/s"));
    gate.assert_unwritten(&secret("KEY"));
}

#[test]
fn c13_nothing_the_gate_writes_holds_the_secret() {
    let echo = Server::new(|mut session| {
        while let Some(head) = session.request() {
            let body = head.clone();
            session.send(&format!(
                "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let all = credentials(vec![bearer("TOKEN")]);
    let inside = placeholder(&all, "TOKEN");
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &echo)
        .credentials(all)
        .start();
    let mut responses = Vec::new();
    let bound = format!("authorization: Bearer {inside}\r\n");
    for (start, lines) in [
        ("GET /", bound.as_str()),
        ("GET /x?q=1", ""),
        ("GET /#", ""),
        ("POST /", "content-length: 2\r\n"),
        ("GET /", "authorization_: x\r\n"),
    ] {
        responses.push(gate.ask(Way::Forward, "a.example", start, lines, "xx"));
    }
    assert!(
        echo.text().contains(&secret("TOKEN")),
        "it was there to be echoed"
    );
    assert!(!echo.text().contains(&inside), "replaced where it is bound");
    let seen: String = responses
        .iter()
        .map(|response| format!("{}{}", response.head, response.text()))
        .collect();
    assert!(seen.contains("authorization: Bearer ****"), "{seen}");
    assert!(!seen.contains(&secret("TOKEN")), "{seen}");
    gate.sink.wait(5);
    gate.assert_unwritten(&secret("TOKEN"));
    assert!(gate.sink.requests()[0].redacted > 0);
}

#[test]
fn c20_not_in_clear_text_unless_the_rule_says_so() {
    for way in PLAIN_WAYS {
        let server = Server::http("ok");
        let careful = Rule {
            dangerous_plaintext: false,
            ..carrying("a.example", "TOKEN")
        };
        let gate = Setup::default()
            .rule(careful)
            .map("a.example", 80, &server)
            .rule(carrying("c.example", "TOKEN"))
            .map("c.example", 80, &server)
            .rule(rule("b.example"))
            .credentials(credentials(vec![bearer("TOKEN")]))
            .start();
        gate.get(way, "a.example")
            .assert_denied(403, "plaintext-credential");
        assert_eq!(server.authorizations(), [""; 0], "{way:?}");
        gate.get(way, "c.example").assert_ok("ok");
        assert_eq!(server.authorizations(), [injected()], "{way:?}");
    }
}
