//! Requests that the agent signs with placeholders are signed anew.

use std::collections::BTreeMap;

use palisade_credential::{Definition, Injection, Part, Source};

use crate::harness::{Server, Setup, Way, bearer, carrying, credentials, placeholder, request};

/// A request that a client signed with its placeholders.
pub(crate) fn signed(access: &str, lines: &str) -> String {
    format!(
        "authorization: AWS4-HMAC-SHA256 Credential={access}/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, Signature={}\r\n\
         x-amz-date: 20260101T000000Z\r\ncontent-type: application/x-amz-json-1.0\r\n{lines}",
        "0".repeat(64)
    )
}

/// Made-up keys of AWS.
pub(crate) fn aws() -> Definition {
    let part = |part: Part| {
        (
            part,
            format!("AWS{}", part.as_str().replace('_', "").to_uppercase()),
        )
    };
    let parts = BTreeMap::from([part(Part::AccessKey), part(Part::SecretKey)]);
    Definition {
        source: Source::Command(
            ["echo", r#"{"Version":1,"AccessKeyId":"AKIAREALREALREAL1234","SecretAccessKey":"the/real/secret+key/of/forty/characters0"}"#]
                .map(str::to_owned)
                .to_vec(),
        ),
        injection: Injection::AwsSigV4,
        placeholders: parts,
        ..bearer("AWS")
    }
}

#[test]
fn a_request_signed_with_placeholders_is_signed_anew() {
    let server = Server::http("ok");
    let all = credentials(vec![aws()]);
    let access = placeholder(&all, "AWSACCESSKEY");
    let gate = Setup::default()
        .rule(carrying("dynamodb.us-east-1.amazonaws.com", "AWS"))
        .map("dynamodb.us-east-1.amazonaws.com", 80, &server)
        .credentials(all)
        .start();
    let host = "dynamodb.us-east-1.amazonaws.com";
    let lines = signed(&access, "transfer-encoding: chunked\r\n");
    let body = "5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n";
    gate.ask(Way::Forward, host, "POST /", &lines, body)
        .assert_ok("ok");
    let text = server.text();
    assert!(!text.contains(&access), "{text}");
    assert!(text.contains("Credential=AKIAREALREALREAL1234/"), "{text}");
    assert!(!text.contains(&"0".repeat(64)), "{text}");
    // The body was read first, and goes out as one piece.
    assert!(text.contains("content-length: 7\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n{\"a\":1}"), "{text}");
    let long = format!("content-length: {}\r\n", 26 << 20);
    gate.ask(Way::Forward, host, "POST /", &signed(&access, &long), "x")
        .assert_denied(413, "limit");
    gate.ask(Way::Forward, host, "POST /", "content-length: 2\r\n", "{}")
        .assert_denied(400, "bad-request");
    assert_eq!(server.text().len(), text.len(), "nothing more went out");
    gate.assert_unwritten("the/real/secret");
}

#[test]
fn f04_a_body_that_is_read_first_is_asked_for() {
    let server = Server::http("ok");
    let all = credentials(vec![aws()]);
    let access = placeholder(&all, "AWSACCESSKEY");
    let gate = Setup::default()
        .rule(carrying("a.example", "AWS"))
        .map("a.example", 80, &server)
        .credentials(all)
        .start();
    let mut client = gate.proxy();
    let lines = signed(&access, "expect: 100-continue\r\ncontent-length: 2\r\n");
    client.send(request(Way::Forward, "a.example", "POST /", &lines, ""));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(server.is_untouched());
    client.send("{}");
    client.response().assert_ok("ok");
    assert!(server.text().ends_with("{}"));
}
