//! A request that botocore signed with placeholders, signed anew, is what botocore would have signed with the real keys.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use palisade_credential::{
    Definition, Injection, Material, OutgoingHead, Part, Payload, Prepared, Secret, Source,
};
use palisade_policy::CredentialName;
use palisade_test_support::{Need, Outcome, conclude, need, program};
use serde_json::Value;

/// 2026-03-04 05:06:07 UTC.
const NOW: u64 = 1_772_600_767;

#[test]
fn what_is_signed_anew_is_what_botocore_signs() {
    fn run() -> Outcome {
        need(&[Need::PythonModule("botocore", "python3-botocore")])?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/botocore/sign.py");
        let output = Command::new(program("python3", "python3")?)
            .arg(script)
            .arg(NOW.to_string())
            .output()
            .expect("run python3");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sign.py failed: {errors}");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON of sign.py");
        let cases = answer["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 40);
        for case in cases {
            check(&answer["keys"], case);
        }
        Ok(())
    }
    conclude("what_is_signed_anew_is_what_botocore_signs", run());
}

fn check(keys: &Value, case: &Value) {
    let name = text(&case["name"]);
    let prepared = prepared(keys, case["session"] == true);
    let mut head = head(&case["agent"]);
    let hash = match prepared.payload(&head) {
        Payload::None => None,
        Payload::Hash { .. } => Some(sha256(&text(&case["body_sha256"]))),
    };
    let s3 = name.starts_with("s3");
    assert_eq!(hash.is_none(), s3, "{name}");
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    prepared.inject(&mut head, hash, now).expect(&name);

    let expected = self::head(&case["real"]);
    assert_eq!(fields(&head), fields(&expected), "{name}");
    assert_eq!(query(&head), query(&expected), "{name}");
    let sent = format!("{}{:?}", head.target, fields(&head)).to_lowercase();
    assert!(!sent.contains("placeholder"), "{name}: {sent}");
}

fn prepared(keys: &Value, session: bool) -> Prepared {
    let secret = |key: &str| Secret::new(text(&keys[key]).into_bytes()).expect(key);
    let mut parts = BTreeMap::from([
        (Part::AccessKey, secret("access_key")),
        (Part::SecretKey, secret("secret_key")),
    ]);
    if session {
        parts.insert(Part::SessionToken, secret("token"));
    }
    let definition = Definition {
        name: CredentialName::new("aws").expect("a name"),
        source: Source::Environment(BTreeMap::new()),
        injection: Injection::AwsSigV4,
        ttl: None,
        placeholders: BTreeMap::new(),
        quotable: false,
    };
    Prepared::new(&definition, Material::new(parts, None)).expect("prepare")
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn head(value: &Value) -> OutgoingHead {
    let fields = value["fields"].as_array().expect("fields");
    OutgoingHead {
        method: text(&value["method"]),
        secure: true,
        host: text(&value["host"]),
        target: text(&value["target"]),
        fields: fields
            .iter()
            .map(|field| (text(&field[0]), text(&field[1]).into_bytes()))
            .collect(),
    }
}

/// Fields by lower-case name: their order means nothing.
fn fields(head: &OutgoingHead) -> BTreeMap<String, String> {
    let fields = head.fields.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value).into_owned();
        (name.to_ascii_lowercase(), value)
    });
    let map: BTreeMap<_, _> = fields.collect();
    assert_eq!(map.len(), head.fields.len(), "a field is there twice");
    map
}

/// Path, and the parameters in the order of their names: their order means nothing either.
fn query(head: &OutgoingHead) -> (String, Vec<String>) {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let mut parameters: Vec<String> = query.split('&').map(str::to_owned).collect();
    parameters.sort();
    (path.to_owned(), parameters)
}

fn sha256(digits: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).expect("digits");
    }
    hash
}
