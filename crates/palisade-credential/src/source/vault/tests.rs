//! Vault by its documented answers.

mod real;

use super::super::testing::{
    begin, definition, drive, endpoint, error_text, field, http, prepare, value, variable,
};
use super::*;
use crate::definition::Source;

const VARIABLES: [(&str, &str); 3] = [
    ("VAULT_TOKEN", "hvs.the-token"),
    ("ROLE", "role \"1\""),
    ("SECRET_ID", "secret-id"),
];

const FOUND: &str = r#"{"lease_id":"","lease_duration":0,"data":{"data":{"token":"real-one","n":5},
    "metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"",
    "destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#;

fn by_token(authority: &str) -> VaultSource {
    VaultSource {
        address: endpoint(authority, ""),
        mount: "secret".to_owned(),
        path: "app/data base".to_owned(),
        fields: [(Part::Value, "token".to_owned())].into(),
        namespace: None,
        login: VaultLogin::Token(Box::new(variable("VAULT_TOKEN"))),
    }
}

fn by_role(authority: &str) -> VaultSource {
    VaultSource {
        login: VaultLogin::AppRole {
            mount: "approle".to_owned(),
            role_id: Box::new(variable("ROLE")),
            secret_id: Box::new(variable("SECRET_ID")),
        },
        ..by_token(authority)
    }
}

fn fetch(source: VaultSource, answer: Answer) -> Result<Material, SourceError> {
    let mut answer = Some(answer);
    drive(begin(Source::Vault(source), &VARIABLES), |_| {
        answer.take().expect("one request only")
    })
}

#[test]
fn a_secret_is_read_with_a_token() {
    let source = VaultSource {
        namespace: Some("team/a".to_owned()),
        address: endpoint("vault.example.com:8200", "/behind"),
        ..by_token("unused")
    };
    let mut asked = 0;
    let material = drive(begin(Source::Vault(source), &VARIABLES), |ask| {
        asked += 1;
        assert_eq!(ask.method, "GET");
        assert_eq!(ask.target, "/behind/v1/secret/data/app/data%20base");
        assert_eq!(field(ask, "x-vault-token"), Some("hvs.the-token"));
        assert_eq!(field(ask, "x-vault-request"), Some("true"));
        assert_eq!(field(ask, "x-vault-namespace"), Some("team/a"));
        assert!(ask.body.is_empty());
        http(200, FOUND)
    })
    .expect("read");
    assert_eq!(asked, 1);
    assert_eq!(value(&material), "real-one");
    assert_eq!(material.good_for(), None);
}

#[test]
fn a_role_logs_in_first() {
    let mut asked = Vec::new();
    let material = drive(begin(Source::Vault(by_role("v")), &VARIABLES), |ask| {
        asked.push(format!("{} {}", ask.method, ask.target));
        if ask.method == "POST" {
            assert_eq!(field(ask, "x-vault-token"), None);
            let body = r#"{"role_id":"role \"1\"","secret_id":"secret-id"}"#;
            assert_eq!(std::str::from_utf8(&ask.body), Ok(body));
            return http(
                200,
                r#"{"auth":{"client_token":"hvs.new","lease_duration":3600}}"#,
            );
        }
        assert_eq!(field(ask, "x-vault-token"), Some("hvs.new"));
        http(200, FOUND)
    })
    .expect("read");
    assert_eq!(value(&material), "real-one");
    assert_eq!(
        asked,
        [
            "POST /v1/auth/approle/login",
            "GET /v1/secret/data/app/data%20base"
        ]
    );
}

#[test]
fn c13_each_way_to_fail_has_its_own_words_and_no_value() {
    let deleted = FOUND
        .replace(r#"{"token":"real-one","n":5}"#, "null")
        .replace(
            r#""deletion_time":"""#,
            r#""deletion_time":"2026-01-02T00:00:00Z""#,
        );
    let no_route =
        r#"{"errors":["no handler for route \"secret/data/x\". route entry not found."]}"#;
    let leased = FOUND.replace(r#""lease_duration":0"#, r#""lease_duration":60"#);
    let cases = [
        (
            http(403, "hunter2"),
            Failure::Refused,
            "refuses secret/app/data base: the token",
        ),
        (
            http(404, r#"{"errors":[]}"#),
            Failure::Missing,
            "has no secret secret/app/data base",
        ),
        (
            http(404, &deleted),
            Failure::Missing,
            "its latest version is deleted",
        ),
        (
            http(404, no_route),
            Failure::Missing,
            "has no secrets engine mounted at secret",
        ),
        (
            http(503, r#"{"errors":["Vault is sealed"]}"#),
            Failure::Unavailable,
            "is sealed",
        ),
        (
            http(307, ""),
            Failure::Unavailable,
            "name the active server",
        ),
        (
            http(429, ""),
            Failure::Unavailable,
            "asks for fewer requests",
        ),
        (
            http(500, "hunter2"),
            Failure::Unavailable,
            "answered with status 500",
        ),
        (
            http(200, "hunter2"),
            Failure::Malformed,
            "is the mount KV version 2?",
        ),
        (
            http(200, r#"{"data":{"token":"hunter2"}}"#),
            Failure::Malformed,
            "is the mount KV version 2?",
        ),
        (
            http(200, r#"{"data":{"data":{"other":"hunter2"}}}"#),
            Failure::Missing,
            "but without a field token",
        ),
        (
            http(200, r#"{"data":{"data":{"token":{"a":["hunter2"]}}}}"#),
            Failure::Malformed,
            "its field token is no text",
        ),
        (
            http(200, r#"{"data":{"data":{"token":"hunter2\n"}}}"#),
            Failure::Malformed,
            "field token of secret/app/data base in vault http://v:80 yields no secret: it holds \
             a control byte",
        ),
        (
            Answer::Failed("resolving v: no such host".to_owned()),
            Failure::Unavailable,
            "could not be reached: resolving v: no such host",
        ),
    ];
    for (answer, failure, expected) in cases {
        let result = fetch(by_token("v"), answer);
        assert_eq!(
            result.as_ref().err().map(SourceError::failure),
            Some(failure),
            "{expected}"
        );
        let text = error_text(result, &["hunter2", "hvs.the-token"]);
        assert!(text.contains(expected), "{text}");
    }
    let material = fetch(by_token("v"), http(200, &leased)).expect("read");
    assert_eq!(material.good_for(), Some(Duration::from_secs(60)));
}

#[test]
fn c13_a_login_that_fails_is_named() {
    for (answer, failure, expected) in [
        (
            http(400, r#"{"errors":["invalid role or secret ID hunter2"]}"#),
            Failure::Refused,
            "refused the login",
        ),
        (
            http(404, ""),
            Failure::Missing,
            "has no AppRole login there",
        ),
        (http(503, ""), Failure::Unavailable, "is sealed"),
        (
            http(200, r#"{"auth":null}"#),
            Failure::Malformed,
            "without a token",
        ),
        (http(200, "hunter2"), Failure::Malformed, "without a token"),
    ] {
        let result = fetch(by_role("v"), answer);
        assert_eq!(
            result.as_ref().err().map(SourceError::failure),
            Some(failure),
            "{expected}"
        );
        let text = error_text(result, &["hunter2", "secret-id", "role \"1\""]);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_vault_path_with_dots_is_refused() {
    for path in ["../sys", "a//b", "", "a/./b", "/a", "a/"] {
        let source = VaultSource {
            path: path.to_owned(),
            ..by_token("v")
        };
        let result = prepare(vec![definition(Source::Vault(source))], &[]);
        assert!(result.is_err(), "{path}");
    }
}
