use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::*;

/// The keys and the time of AWS's public test suite.
const KEYS: Keys<'static> = Keys {
    access_key: b"AKIDEXAMPLE",
    secret_key: b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    session_token: None,
};
const SUITE_TOKEN: &[u8] = b"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

fn suite_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

/// A request of the suite: name, method and target, fields, body, signature. Each was checked with botocore.
type Vector = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const FORM: &str = "application/x-www-form-urlencoded";

const VECTORS: [Vector; 26] = [
    (
        "get-vanilla",
        "GET /",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-vanilla-empty-query-key",
        "GET /?Param1=value1",
        &[],
        "",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-key",
        "GET /?Param1=value2&Param1=Value1",
        &[],
        "",
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET /?Param2=value2&Param1=value1",
        &[],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-query-unreserved",
        "GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "get-vanilla-utf8-query",
        "GET /?\u{1234}=bar",
        &[],
        "",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "get-utf8",
        "GET /\u{1234}",
        &[],
        "",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    (
        "get-space",
        "GET /example space/",
        &[],
        "",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    (
        "get-unreserved",
        "GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "get-relative",
        "GET /example/..",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-relative-relative",
        "GET /example1/example2/../..",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash",
        "GET //",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-dot-slash",
        "GET /./",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-pointless-dot",
        "GET /./example",
        &[],
        "",
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    (
        "get-slashes",
        "GET //example//",
        &[],
        "",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    (
        "get-header-key-duplicate",
        "GET /",
        &[
            ("My-Header1", "value2"),
            ("My-Header1", "value2"),
            ("My-Header1", "value1"),
        ],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-order",
        "GET /",
        &[
            ("My-Header1", "value4"),
            ("My-Header1", "value1"),
            ("My-Header1", "value3"),
            ("My-Header1", "value2"),
        ],
        "",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    (
        "get-header-value-trim",
        "GET /",
        &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "post-vanilla",
        "POST /",
        &[],
        "",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "post-vanilla-query",
        "POST /?Param1=value1",
        &[],
        "",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "post-header-key-sort",
        "POST /",
        &[("My-Header1", "value1")],
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    (
        "post-header-value-case",
        "POST /",
        &[("My-Header1", "VALUE1")],
        "",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST /",
        &[("Content-Type", FORM)],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST /",
        &[(
            "Content-Type",
            "application/x-www-form-urlencoded; charset=utf8",
        )],
        "Param1=value1",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
    (
        "post-sts-header-before",
        "POST /",
        &[("X-Amz-Security-Token", "the agent's placeholder")],
        "",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    (
        "post-sts-header-after",
        "POST /",
        &[("X-Amz-Security-Token", "the agent's placeholder")],
        "",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
];

fn request(line: &str, fields: &[(&str, &str)]) -> OutgoingHead {
    let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
    OutgoingHead {
        method: method.to_owned(),
        secure: true,
        host: "example.amazonaws.com".to_owned(),
        target: target.to_owned(),
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect(),
    }
}

/// An `Authorization` as the agent makes it, over these fields.
fn placeholder_login(service: &str, signed: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAPLACEHOLDER/20150101/us-east-1/{service}/aws4_request, SignedHeaders={signed}, Signature=00ff"
    )
}

fn value(head: &OutgoingHead, name: &str) -> Option<String> {
    let mut values = head.values(name);
    let value = values.next()?;
    assert!(values.next().is_none(), "{name} is there twice");
    Some(String::from_utf8_lossy(value).into_owned())
}

fn signature(head: &OutgoingHead) -> String {
    let login = value(head, "authorization").unwrap_or_default();
    login.rsplit('=').next().unwrap_or_default().to_owned()
}

#[test]
fn the_public_test_suite() {
    for (name, line, fields, body, expected) in VECTORS {
        let late = name == "post-sts-header-after";
        let signed: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let mut head = request(line, fields);
        // A stale date of the agent's, and its own login: both have to go.
        head.add("X-Amz-Date", b"20150101T000000Z");
        let login = placeholder_login("service", &format!("host;x-amz-date;{}", signed.join(";")));
        head.add("Authorization", login.as_bytes());
        assert_eq!(
            payload(&head),
            Payload::Hash {
                max: LONGEST_HASHED_BODY
            }
        );
        let keys = Keys {
            session_token: Some(SUITE_TOKEN).filter(|_| name == "post-sts-header-before"),
            ..KEYS
        };
        let hash = Sha256::digest(body.as_bytes()).into();
        let result = sign_anew(&mut head, &keys, Some(hash), suite_time());
        assert_eq!(result, Ok(()), "{name}");
        assert_eq!(signature(&head), expected, "{name}");
        assert_eq!(
            value(&head, "x-amz-date").as_deref(),
            Some("20150830T123600Z")
        );
        if late {
            assert_eq!(value(&head, "x-amz-security-token"), None, "{name}");
        }
    }
}

#[test]
fn c01_nothing_of_the_agents_signature_is_left() {
    let mut head = request("GET /?b=2&a=1", &[("content-type", "text/plain")]);
    head.add("X-Amz-Security-Token", b"placeholder-token");
    head.add("x_amz_security_token", b"placeholder-token");
    head.add("Proxy-Authorization", b"Basic Zm9v");
    head.add(
        "authorization",
        placeholder_login("sqs", "host;content-type;x-missing").as_bytes(),
    );
    let hash = Some([0; 32]);
    assert_eq!(sign_anew(&mut head, &KEYS, hash, suite_time()), Ok(()));
    let all: Vec<String> = head
        .fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    let all = all.join("\n");
    assert!(
        !all.contains("placeholder") && !all.contains("PLACEHOLDER"),
        "{all}"
    );
    assert!(!all.contains("Zm9v"), "{all}");
    assert!(
        all.contains("SignedHeaders=content-type;host;x-amz-date,"),
        "{all}"
    );
    assert!(
        all.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/sqs/aws4_request"),
        "{all}"
    );
    assert_eq!(head.target, "/?b=2&a=1");
}

#[test]
fn the_iot_gateway_gets_its_token_outside_of_the_signature() {
    let mut head = request("GET /mqtt", &[]);
    head.add(
        "authorization",
        placeholder_login("iotdevicegateway", "host").as_bytes(),
    );
    let keys = Keys {
        session_token: Some(b"real-token"),
        ..KEYS
    };
    assert_eq!(
        sign_anew(&mut head, &keys, Some([0; 32]), suite_time()),
        Ok(())
    );
    let login = value(&head, "authorization").unwrap_or_default();
    assert!(login.contains("SignedHeaders=host;x-amz-date,"), "{login}");
    assert_eq!(
        value(&head, "x-amz-security-token").as_deref(),
        Some("real-token")
    );
}

#[test]
fn what_the_client_says_of_its_payload_is_kept() {
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for kept in [
        hash,
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ] {
        let mut head = request("PUT /bucket/key", &[("x-amz-content-sha256", kept)]);
        head.add("authorization", placeholder_login("s3", "host").as_bytes());
        assert_eq!(payload(&head), Payload::None);
        assert_eq!(sign_anew(&mut head, &KEYS, None, suite_time()), Ok(()));
        assert_eq!(value(&head, "x-amz-content-sha256").as_deref(), Some(kept));
        let login = value(&head, "authorization").unwrap_or_default();
        assert!(
            login.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"),
            "{login}"
        );
    }
    let mut head = request("PUT /bucket/key", &[]);
    head.add("authorization", placeholder_login("s3", "host").as_bytes());
    assert_eq!(
        sign_anew(&mut head, &KEYS, None, suite_time()),
        Err(SignError::Payload)
    );
    assert_eq!(
        sign_anew(&mut head, &KEYS, Some([0xab; 32]), suite_time()),
        Ok(())
    );
    assert_eq!(value(&head, "x-amz-content-sha256"), Some("ab".repeat(32)));
}

#[test]
fn what_cannot_be_signed_anew_is_refused_with_the_reason() {
    let refused = |line: &str, fields: &[(&str, &str)]| {
        let mut head = request(line, fields);
        assert_eq!(payload(&head), Payload::None);
        sign_anew(&mut head, &KEYS, Some([0; 32]), suite_time()).err()
    };
    let good = placeholder_login("s3", "host");
    let login = |value: &str| refused("GET /", &[("Authorization", value)]);
    assert_eq!(
        login(&good.replace("AWS4-HMAC-SHA256", "Bearer")),
        Some(SignError::Unsigned)
    );
    assert_eq!(refused("GET /", &[]), Some(SignError::Unsigned));
    assert!(matches!(
        login("AWS AKIA:c2ln"),
        Some(SignError::Algorithm(_))
    ));
    assert!(matches!(
        login(&good.replace("HMAC", "ECDSA-P256")),
        Some(SignError::Algorithm(_))
    ));
    for broken in [
        good.replace("aws4_request", "aws4"),
        good.replace("/us-east-1/", "/us east/"),
        good.replace("/us-east-1/", "/"),
        good.replace("Credential=", "Creds="),
        good.replace("SignedHeaders=", "Headers="),
        "AWS4-HMAC-SHA256 nothing".to_owned(),
    ] {
        assert!(
            matches!(login(&broken), Some(SignError::Malformed(_))),
            "{broken}"
        );
    }
    let twice = format!("{good}, Credential=a/b/c/d/aws4_request");
    assert_eq!(login(&twice), Some(SignError::Ambiguous));
    let both = [
        ("Authorization", good.as_str()),
        ("authorization_", good.as_str()),
    ];
    assert_eq!(refused("GET /", &both), Some(SignError::Ambiguous));
    let with_url = refused("GET /?X-Amz-Signature=00", &[("Authorization", &good)]);
    assert_eq!(with_url, Some(SignError::Ambiguous));

    let streamed = |kind: &str| {
        refused(
            "PUT /",
            &[("Authorization", &good), ("x-amz-content-sha256", kind)],
        )
    };
    let kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    assert_eq!(streamed(kind), Some(SignError::Chunks(kind)));
    assert!(matches!(
        streamed("nonsense"),
        Some(SignError::Malformed(_))
    ));
}

const URL: &str = "/bucket/a%20b?response-content-type=text%2Fplain&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAPLACEHOLDER%2F20150101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20150101T000000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&x-amz-security%2Dtoken=placeholder-token&X-Amz-Signature=00ff";

#[test]
fn a_signed_url_is_signed_anew_in_the_same_form() {
    let keys = Keys {
        session_token: Some(b"real/token=="),
        ..KEYS
    };
    let mut head = request(&format!("GET {URL}"), &[]);
    assert_eq!(payload(&head), Payload::None);
    assert_eq!(sign_anew(&mut head, &keys, None, suite_time()), Ok(()));
    let expected = "/bucket/a%20b?response-content-type=text%2Fplain&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Security-Token=real%2Ftoken%3D%3D&X-Amz-Signature=";
    let signature = head.target.strip_prefix(expected);
    assert_eq!(signature.map(str::len), Some(64), "{}", head.target);
    assert!(head.fields.is_empty());

    let hashed = request(
        &format!("POST {}", URL.replace("%2Fs3%2F", "%2Fsts%2F")),
        &[],
    );
    assert!(matches!(payload(&hashed), Payload::Hash { .. }));
    for broken in [
        URL.replace("Expires=300", "Expires=604801"),
        URL.replace("Expires=300", "Expires=0"),
        URL.replace("Expires=300", "Expires=%2B300"),
        URL.replace("&X-Amz-SignedHeaders=host", ""),
    ] {
        let mut head = request(&format!("GET {broken}"), &[]);
        let error = sign_anew(&mut head, &KEYS, None, suite_time()).err();
        assert!(
            matches!(error, Some(SignError::Malformed(_))),
            "{broken}: {error:?}"
        );
    }
    let twice = format!("GET {URL}&X-Amz-Expires=3");
    let error = sign_anew(&mut request(&twice, &[]), &KEYS, None, suite_time());
    assert_eq!(error, Err(SignError::Ambiguous));
}

#[test]
fn paths_of_s3_are_encoded_once_and_not_normalised() {
    assert_eq!(
        canonical::path("/a//b/../c%2Fd%20e%7Ef+g", true),
        "/a//b/../c%2Fd%20e~f%2Bg"
    );
    assert_eq!(
        canonical::path("/a//b/../c%2Fd%20e", false),
        "/a/c%252Fd%2520e"
    );
    assert_eq!(canonical::path("", false), "/");
    assert_eq!(*canonical::query("b=1+2&a&=c&b=%7e&"), "=c&a=&b=1%202&b=~");
}
