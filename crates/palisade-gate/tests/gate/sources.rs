//! Where credentials come from: fetched once, renewed, and a source that fails is told to both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_credential::{ClientAuthentication, Definition, Endpoint, OAuth2Source, Part, Source};
use palisade_policy::Authority;

use crate::harness::{Server, Setup, Way, bearer, carrying, credentials, request, secret};

#[test]
fn a_source_that_fails_is_told_to_both_sides() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(carrying("a.example", "UNSET_TOKEN"))
        .map("a.example", 80, &server)
        .allow("b.example", 80, &server)
        .credentials(credentials(vec![bearer("UNSET_TOKEN")]))
        .start();
    for _ in 0..3 {
        let response = gate.get(Way::Forward, "a.example");
        assert_eq!(response.status, 502);
        let text = response.text();
        assert!(
            text.contains("UNSET_TOKEN") && text.contains("missing"),
            "{text}"
        );
        assert!(!text.contains("variable"), "no detail: {text}");
    }
    assert!(server.is_untouched());
    let lines = gate.notices.lines();
    assert_eq!(lines.len(), 1, "asked once: {lines:?}");
    assert!(
        lines[0].contains("variable") && lines[0].contains("15 s"),
        "{lines:?}"
    );
    let records = gate.sink.wait(3);
    let error = records[2].error.as_deref().unwrap();
    assert!(error.contains("variable"), "{error}");
    assert_eq!(records[2].credential.as_deref(), Some("UNSET_TOKEN"));
    gate.get(Way::Forward, "b.example").assert_ok("ok");
}

fn command(script: &str, ttl: Option<Duration>) -> Definition {
    let line = ["sh", "-c", script].map(str::to_owned).to_vec();
    Definition {
        source: Source::Command(line),
        ttl,
        ..bearer("TOKEN")
    }
}

#[test]
fn one_flight_serves_all_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let script = format!(
        "echo x >> {}; sleep 0.3; echo a-secret-from-a-program",
        count.display()
    );
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![command(
            &script,
            Some(Duration::from_secs(2)),
        )]))
        .start();
    let asked = || std::fs::read_to_string(&count).unwrap().lines().count();
    let mut clients: Vec<_> = (0..10).map(|_| gate.proxy()).collect();
    for client in &mut clients {
        client.send(request(Way::Forward, "a.example", "GET /", "", ""));
    }
    for client in &mut clients {
        client.response().assert_ok("ok");
    }
    assert_eq!(asked(), 1);
    assert_eq!(server.authorizations().len(), 10);
    std::thread::sleep(Duration::from_millis(2200));
    gate.get(Way::Forward, "a.example").assert_ok("ok");
    assert_eq!(asked(), 2, "fetched again once its time was over");
    gate.assert_unwritten("a-secret-from-a-program");
}

#[test]
fn f23_a_secret_with_a_line_break_is_no_header_value() {
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![command(
            r"printf 'a-secret-value\r\nx-injected: 1'",
            None,
        )]))
        .start();
    let response = gate.get(Way::Forward, "a.example");
    assert_eq!(response.status, 502);
    assert!(server.is_untouched());
    gate.assert_unwritten("a-secret-value");
    let fine = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![command("printf a-secret-value", None)]))
        .start();
    fine.get(Way::Forward, "a.example").assert_ok("ok");
}

fn oauth2(token_url: Endpoint) -> Definition {
    let variable = |name: &str| {
        let variables = BTreeMap::from([(Part::Value, name.to_owned())]);
        Box::new(Source::Environment(variables))
    };
    Definition {
        source: Source::OAuth2(OAuth2Source {
            token_url,
            client_id: variable("CRM_ID"),
            client_secret: variable("CRM_SECRET"),
            scopes: vec!["read".into()],
            audience: None,
            authentication: ClientAuthentication::Post,
        }),
        ..bearer("TOKEN")
    }
}

const TOKEN_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
    2e\r\n{\"access_token\":\"a-token-of-the-token-endpoint\r\n\
    2a\r\n\",\"token_type\":\"Bearer\",\"expires_in\":3600}\r\n0\r\n\r\n";

#[test]
fn a_token_endpoint_is_asked_by_the_gate() {
    let endpoint = Server::answers(TOKEN_ANSWER);
    let server = Server::http("ok");
    let url = Endpoint {
        secure: false,
        authority: Authority::parse(endpoint.address.to_string().as_bytes(), None).unwrap(),
        path: "/token".into(),
    };
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![oauth2(url)]))
        .start();
    for _ in 0..2 {
        gate.get(Way::Forward, "a.example").assert_ok("ok");
    }
    assert_eq!(endpoint.connections(), 1);
    let asked = endpoint.text();
    assert!(asked.starts_with("POST /token HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&secret("CRM_SECRET")), "{asked}");
    let expected = "authorization: Bearer a-token-of-the-token-endpoint";
    assert_eq!(server.authorizations(), [expected, expected]);
    gate.assert_unwritten("a-token-of-the-token-endpoint");
    gate.assert_unwritten(&secret("CRM_SECRET"));
}

#[test]
fn c19_a_token_endpoint_does_not_lead_into_the_private_network() {
    let endpoint = Server::answers(TOKEN_ANSWER);
    let port = endpoint.address.port();
    let server = Server::http("ok");
    let url = || Endpoint {
        secure: false,
        authority: Authority::parse(format!("auth.example:{port}").as_bytes(), None).unwrap(),
        path: "/token".into(),
    };
    let setup = || {
        Setup::default()
            .rule(carrying("a.example", "TOKEN"))
            .map("a.example", 80, &server)
            .credentials(credentials(vec![oauth2(url())]))
    };
    let gate = setup().address("auth.example", &["127.0.0.1"]).start();
    assert_eq!(gate.get(Way::Forward, "a.example").status, 502);
    assert!(endpoint.is_untouched());
    let lines = gate.notices.lines();
    assert!(lines[0].contains("loopback address"), "{lines:?}");
    let named = setup().map("auth.example", port, &endpoint).start();
    named.get(Way::Forward, "a.example").assert_ok("ok");
}

#[test]
fn a_token_endpoint_that_refuses_is_not_asked_again_at_once() {
    let endpoint = Server::answers(
        b"HTTP/1.1 401 No\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_client\"}",
    );
    let url = Endpoint {
        secure: false,
        authority: Authority::parse(endpoint.address.to_string().as_bytes(), None).unwrap(),
        path: "/token".into(),
    };
    let server = Server::http("ok");
    let gate = Setup::default()
        .rule(carrying("a.example", "TOKEN"))
        .map("a.example", 80, &server)
        .credentials(credentials(vec![oauth2(url)]))
        .start();
    for _ in 0..5 {
        assert_eq!(gate.get(Way::Forward, "a.example").status, 502);
    }
    assert_eq!(endpoint.connections(), 1);
    assert_eq!(gate.notices.lines().len(), 1);
}
