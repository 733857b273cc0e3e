use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use super::*;
use crate::{HeaderFormat, Secret, Source};

const TOKEN: &str = "real-token-0123456789";

fn definition(injection: Injection) -> Definition {
    Definition {
        name: CredentialName::new("test").unwrap_or_else(|| unreachable!()),
        source: Source::Environment(BTreeMap::new()),
        injection,
        ttl: None,
        placeholders: BTreeMap::new(),
        quotable: false,
    }
}

fn material(parts: &[(Part, &str)]) -> Material {
    let secret =
        |text: &str| Secret::new(text.as_bytes().to_vec()).unwrap_or_else(|_| unreachable!());
    let parts = parts.iter().map(|(part, text)| (*part, secret(text)));
    Material::new(parts.collect(), None)
}

fn prepared(injection: Injection) -> Prepared {
    Prepared::new(&definition(injection), material(&[(Part::Value, TOKEN)]))
        .unwrap_or_else(|error| unreachable!("{error}"))
}

fn refused(injection: Injection, parts: &[(Part, &str)]) -> Option<InjectError> {
    Prepared::new(&definition(injection), material(parts)).err()
}

fn header(name: &str, format: &str, remove: &[&str], append: &[(&str, &str)]) -> Injection {
    Injection::Header {
        name: name.to_owned(),
        format: HeaderFormat::parse(format).unwrap_or_else(|_| unreachable!()),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        append: append
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

fn head(target: &str, fields: &[(&str, &str)]) -> OutgoingHead {
    OutgoingHead {
        method: "GET".to_owned(),
        secure: true,
        host: "api.example.com".to_owned(),
        target: target.to_owned(),
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
    }
}

/// The head after an injection, as text.
fn injected(prepared: &Prepared, mut head: OutgoingHead) -> String {
    assert_eq!(prepared.payload(&head), Payload::None);
    let result = prepared.inject(&mut head, None, UNIX_EPOCH);
    assert_eq!(result, Ok(()));
    let mut text = head.target.clone();
    for (name, value) in &head.fields {
        text.push_str(&format!("\n{name}: {}", String::from_utf8_lossy(value)));
    }
    text
}

#[test]
fn c01_what_the_agent_sent_is_replaced() {
    let prepared = prepared(header(
        "Authorization",
        "Bearer {secret}",
        &["X-Api-Key"],
        &[],
    ));
    let head = head(
        "/v1?x=y",
        &[
            ("Accept", "*/*"),
            ("Authorization", "Bearer mine"),
            ("X-API-Key", "mine"),
            ("Proxy-Authorization", "Basic bWluZQ=="),
            ("X-Other", "stays"),
        ],
    );
    let expected = format!("/v1?x=y\nAccept: */*\nX-Other: stays\nauthorization: Bearer {TOKEN}");
    assert_eq!(injected(&prepared, head), expected);
    assert_eq!(
        prepared.bound_fields(),
        ["authorization", "x-api-key", "proxy-authorization"]
    );
    assert!(prepared.bound_parameters().is_empty());
}

#[test]
fn c02_no_spelling_of_a_field_survives() {
    let prepared = prepared(header("x-api-key", "{secret}", &["authorization"], &[]));
    let spellings = [
        "X_Api_Key",
        "x-api-key",
        "X-API-KEY",
        "x.api.key",
        "X-Api-Key_",
        "x-api-key ",
        "AUTHORIZATION",
        "Authorization_",
        "_authorization",
        "authorization\t",
    ];
    let fields: Vec<(&str, &str)> = spellings.iter().map(|name| (*name, "mine")).collect();
    let twice = [fields.clone(), fields].concat();
    assert_eq!(
        injected(&prepared, head("/", &twice)),
        format!("/\nx-api-key: {TOKEN}")
    );
    // The control: a field that only looks alike stays.
    let other = head("/", &[("x-api-keys", "mine"), ("x-authorization", "mine")]);
    let expected = format!("/\nx-api-keys: mine\nx-authorization: mine\nx-api-key: {TOKEN}");
    assert_eq!(injected(&prepared, other), expected);
}

#[test]
fn a_member_is_added_to_a_list_unless_it_is_in_it() {
    let beta = [("anthropic-beta", "oauth-2025-04-20")];
    let prepared = prepared(header("authorization", "Bearer {secret}", &[], &beta));
    let after = |fields: &[(&str, &str)]| {
        let text = injected(&prepared, head("/", fields));
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.to_lowercase().starts_with("anthropic"))
            .collect();
        lines.join("|")
    };
    assert_eq!(after(&[]), "anthropic-beta: oauth-2025-04-20");
    assert_eq!(
        after(&[("Anthropic-Beta", "a,b")]),
        "Anthropic-Beta: a,b, oauth-2025-04-20"
    );
    assert_eq!(
        after(&[("anthropic-beta", "a, oauth-2025-04-20 ,b")]),
        "anthropic-beta: a, oauth-2025-04-20 ,b"
    );
    assert_eq!(
        after(&[
            ("anthropic-beta", "oauth-2025-04-20-x"),
            ("anthropic-beta", " ")
        ]),
        "anthropic-beta: oauth-2025-04-20-x, oauth-2025-04-20|anthropic-beta:  "
    );
}

#[test]
fn basic_is_user_name_and_secret() {
    let prepared = prepared(Injection::Basic {
        username: "ci".to_owned(),
    });
    let login = STANDARD.encode(format!("ci:{TOKEN}"));
    let head = head(
        "/",
        &[
            ("authorization", "Basic eDp5"),
            ("proxy_authorization", "Basic eDp5"),
        ],
    );
    assert_eq!(
        injected(&prepared, head),
        format!("/\nauthorization: Basic {login}")
    );
    // The whole login is redacted, not only what of it is the secret's.
    let mut echo = format!("you sent Basic {login}").into_bytes();
    assert_eq!(prepared.redactor().redact(&mut echo), 1);
    let rest = String::from_utf8_lossy(&echo).replace('*', "");
    assert!(rest.len() <= "you sent Basic ".len() + 4, "{rest}");
}

#[test]
fn a_query_parameter_is_the_only_one_of_its_name() {
    let prepared = prepared(Injection::Query {
        name: "api_key".to_owned(),
    });
    let set = format!("api_key={TOKEN}");
    for (before, after) in [
        ("/", "/?"),
        ("/?", "/?"),
        ("/p?a=1", "/p?a=1&"),
        ("/p?api_key=mine", "/p?"),
        ("/p?api_key=mine&a=1&api_key=mine&b", "/p?a=1&b&"),
        ("/p?a=1&api%5Fkey=mine", "/p?a=1&"),
        ("/p?%61%70%69_%6Bey=mine&API_KEY=mine&a=%20", "/p?a=%20&"),
        (
            "/p?api.key=mine&api-key=mine&api+key=mine&api_key[]=mine&api_key%5B0%5D=mine&a=1",
            "/p?a=1&",
        ),
        ("/p?a=1;api_key=mine;b=2", "/p?a=1;b=2&"),
        ("/p?api_key", "/p?"),
        ("/p?xapi_key=1&api_keys=2", "/p?xapi_key=1&api_keys=2&"),
        ("/p?a=b?c=d&api_key=mine", "/p?a=b?c=d&"),
    ] {
        assert_eq!(
            injected(&prepared, head(before, &[])),
            format!("{after}{set}"),
            "{before}"
        );
    }
    assert_eq!(prepared.bound_parameters(), ["api_key"]);
    let error = prepared.inject(&mut head("*", &[]), None, UNIX_EPOCH);
    assert!(matches!(error, Err(InjectError::Target { .. })));
}

#[test]
fn a_secret_in_a_query_is_encoded() {
    let definition = definition(Injection::Query {
        name: "k&y".to_owned(),
    });
    let prepared = Prepared::new(&definition, material(&[(Part::Value, "a&b=c d/+%#é")]))
        .unwrap_or_else(|error| unreachable!("{error}"));
    let text = injected(&prepared, head("/?x=1", &[]));
    assert_eq!(text, "/?x=1&k%26y=a%26b%3Dc%20d%2F%2B%25%23%C3%A9");
    let mut echo = text.clone().into_bytes();
    assert_eq!(prepared.redactor().redact(&mut echo), 1);
    let stars = "*".repeat(text.len() - "/?x=1&k%26y=".len());
    assert_eq!(
        String::from_utf8_lossy(&echo),
        format!("/?x=1&k%26y={stars}")
    );
}

#[test]
fn what_cannot_be_prepared_is_refused() {
    let bearer = || header("authorization", "Bearer {secret}", &[], &[]);
    let value = [(Part::Value, TOKEN)];
    assert!(refused(bearer(), &value).is_none());
    assert!(matches!(
        refused(bearer(), &[]),
        Some(InjectError::Part {
            part: Part::Value,
            ..
        })
    ));
    let short = refused(bearer(), &[(Part::Value, "1234567")]);
    assert!(matches!(&short, Some(InjectError::Short { .. })));
    assert!(refused(bearer(), &[(Part::Value, "12345678")]).is_none());
    assert!(
        !short
            .map(|e| e.to_string())
            .unwrap_or_default()
            .contains("1234567")
    );
    for field in [
        "Host",
        "content_length",
        "Transfer-Encoding",
        "a b",
        "",
        "--",
        "é",
        "connection",
    ] {
        let error = refused(header(field, "{secret}", &[], &[]), &value);
        assert!(matches!(error, Some(InjectError::Field { .. })), "{field}");
        let error = refused(header("authorization", "{secret}", &[field], &[]), &value);
        assert!(matches!(error, Some(InjectError::Field { .. })), "{field}");
    }
    for username in ["a:b", "a\nb"] {
        let error = refused(
            Injection::Basic {
                username: username.to_owned(),
            },
            &value,
        );
        assert!(matches!(error, Some(InjectError::Username { .. })));
    }
    let aws = |access: &str| {
        let parts = [
            (Part::AccessKey, access),
            (Part::SecretKey, "0123456789abcdef"),
        ];
        refused(Injection::AwsSigV4, &parts)
    };
    assert!(aws("AKIAEXAMPLE0").is_none());
    assert!(matches!(
        aws("AKIA/EXAMPLE"),
        Some(InjectError::Characters { .. })
    ));
    assert!(matches!(
        refused(Injection::AwsSigV4, &value),
        Some(InjectError::Part { .. })
    ));
}

#[test]
fn an_unsigned_request_gets_no_signature() {
    let parts = [
        (Part::AccessKey, "AKIAEXAMPLE0"),
        (Part::SecretKey, "0123456789abcdef"),
    ];
    let prepared = Prepared::new(&definition(Injection::AwsSigV4), material(&parts))
        .unwrap_or_else(|error| unreachable!("{error}"));
    let error = prepared.inject(&mut head("/", &[]), Some([0; 32]), UNIX_EPOCH);
    assert!(matches!(
        error,
        Err(InjectError::Sign {
            reason: crate::SignError::Unsigned,
            ..
        })
    ));
}
