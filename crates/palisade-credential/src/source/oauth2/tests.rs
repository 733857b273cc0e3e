//! The client credentials grant, message by message.

use super::super::testing::{begin, drive, endpoint, error_text, field, http, value, variable};
use super::*;
use crate::definition::Source;

const SECRETS: [(&str, &str); 2] = [("CRM_ID", "my client"), ("CRM_SECRET", "pa:ss/wörd+1")];

fn source() -> OAuth2Source {
    OAuth2Source {
        token_url: endpoint("auth.example.com:8443", "/oauth/token"),
        client_id: Box::new(variable("CRM_ID")),
        client_secret: Box::new(variable("CRM_SECRET")),
        scopes: vec!["read".to_owned(), "write:all".to_owned()],
        audience: None,
        authentication: ClientAuthentication::Basic,
    }
}

/// Fetches with one answer to the one request; gives the request's body too.
fn grant(source: OAuth2Source, answer: Answer) -> (Result<Material, SourceError>, String) {
    let mut answer = Some(answer);
    let mut body = String::new();
    let fetch = begin(Source::OAuth2(source), &SECRETS);
    let result = drive(fetch, |ask| {
        body = String::from_utf8(ask.body.to_vec()).expect("text");
        answer.take().expect("one request only")
    });
    (result, body)
}

#[test]
fn the_request_is_as_the_standard_says() {
    let mut seen = false;
    let fetch = begin(Source::OAuth2(source()), &SECRETS);
    let material = drive(fetch, |ask| {
        seen = true;
        assert_eq!((ask.method, ask.target.as_str()), ("POST", "/oauth/token"));
        assert_eq!(ask.authority.to_string(), "auth.example.com:8443");
        assert_eq!(
            field(ask, "content-type"),
            Some("application/x-www-form-urlencoded")
        );
        assert_eq!(
            &**ask.body,
            b"grant_type=client_credentials&scope=read+write%3Aall"
        );
        let basic = field(ask, "authorization").and_then(|v| v.strip_prefix("Basic "));
        let pair = STANDARD.decode(basic.expect("basic")).expect("base64");
        assert_eq!(pair, b"my+client:pa%3Ass%2Fw%C3%B6rd%2B1");
        http(
            200,
            r#"{"access_token":"tok","token_type":"bearer","expires_in":3600}"#,
        )
    })
    .expect("granted");
    assert!(seen);
    assert_eq!(value(&material), "tok");
    assert_eq!(material.good_for(), Some(Duration::from_secs(3540)));
}

#[test]
fn a_client_may_show_its_password_in_the_form() {
    let source = OAuth2Source {
        authentication: ClientAuthentication::Post,
        scopes: Vec::new(),
        audience: Some("https://api".to_owned()),
        ..source()
    };
    let (result, body) = grant(source, http(200, r#"{"access_token":"tok"}"#));
    assert_eq!(
        body,
        "grant_type=client_credentials&audience=https%3A%2F%2Fapi&client_id=my+client\
         &client_secret=pa%3Ass%2Fw%C3%B6rd%2B1"
    );
    assert_eq!(result.expect("granted").good_for(), Some(UNSTATED));
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    for (stated, used) in [
        ("3600", 3540),
        ("\"3600\"", 3540),
        ("100", 50),
        ("10", 5),
        ("0", 1),
        ("-5", 1),
        ("3600.7", 3540),
        ("1e300", u64::from(u32::MAX) - 60),
    ] {
        let body = format!(r#"{{"access_token":"tok","expires_in":{stated}}}"#);
        let (result, _) = grant(source(), http(200, &body));
        let good_for = result.expect("granted").good_for();
        assert_eq!(good_for, Some(Duration::from_secs(used)), "{stated}");
    }
}

#[test]
fn c13_refusals_are_named_by_their_code_and_never_quoted() {
    for (name, meaning) in CODES {
        let body = format!(r#"{{"error":"{name}","error_description":"hunter2"}}"#);
        let (result, _) = grant(source(), http(400, &body));
        let failure = result.as_ref().err().map(SourceError::failure);
        assert_eq!(failure, Some(Failure::Refused));
        let text = error_text(result, &["hunter2", "wörd"]);
        let expected = format!(
            "credential test: token endpoint http://auth.example.com:8443/oauth/token refused: \
             {name}, {meaning}"
        );
        assert_eq!(text, expected);
    }
    for (answer, failure, expected) in [
        (
            http(401, "hunter2"),
            Failure::Refused,
            "refused with status 401",
        ),
        (
            http(400, r#"{"error":"hunter2"}"#),
            Failure::Refused,
            "refused with status 400",
        ),
        (
            http(302, ""),
            Failure::Unavailable,
            "sends us elsewhere (302)",
        ),
        (
            http(429, ""),
            Failure::Unavailable,
            "answered with status 429",
        ),
        (
            http(503, "hunter2"),
            Failure::Unavailable,
            "answered with status 503",
        ),
        (http(200, "hunter2"), Failure::Malformed, "no token in JSON"),
        (
            http(200, r#"{"access_token":7}"#),
            Failure::Malformed,
            "that is no text",
        ),
        (
            http(200, r#"{"access_token":"a\nhunter2"}"#),
            Failure::Malformed,
            "control byte",
        ),
        (
            http(200, r#"{"access_token":"hunter2","token_type":"mac"}"#),
            Failure::Malformed,
            "not of type Bearer",
        ),
        (
            Answer::Failed("connecting: refused".to_owned()),
            Failure::Unavailable,
            "could not be reached: connecting: refused",
        ),
    ] {
        let (result, _) = grant(source(), answer);
        assert_eq!(
            result.as_ref().err().map(SourceError::failure),
            Some(failure)
        );
        let text = error_text(result, &["hunter2", "wörd", "my client"]);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_missing_password_is_named_before_anything_is_sent() {
    let fetch = begin(Source::OAuth2(source()), &SECRETS[..1]);
    let result = drive(fetch, |_| panic!("nothing may be sent"));
    let text = error_text(result, &[]);
    assert!(
        text.contains("environment variable CRM_SECRET is not set"),
        "{text}"
    );
}

#[test]
fn a_password_may_come_from_a_program() {
    let line = ["echo", "from-a-program"].map(str::to_owned).to_vec();
    let source = OAuth2Source {
        client_secret: Box::new(Source::Command(line)),
        authentication: ClientAuthentication::Post,
        ..source()
    };
    let (result, body) = grant(source, http(200, r#"{"access_token":"tok"}"#));
    assert!(body.ends_with("&client_secret=from-a-program"), "{body}");
    assert_eq!(value(&result.expect("granted")), "tok");
}
