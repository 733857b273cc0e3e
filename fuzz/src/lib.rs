//! What several targets need.
#![forbid(unsafe_code)]

use palisade_credential::{Credentials, Definition, HeaderFormat, Injection, Part, Secret, Source};
use palisade_policy::CredentialName;

/// One credential with one placeholder, and this as its secret.
pub fn one_credential(secret: &'static [u8]) -> Credentials {
    let definition = Definition {
        name: CredentialName::new("one").expect("a name"),
        source: Source::Environment([(Part::Value, "TOKEN".to_owned())].into()),
        injection: Injection::Header {
            name: "authorization".to_owned(),
            format: HeaderFormat::parse("Bearer {secret}").expect("a format"),
            remove: Vec::new(),
            append: Default::default(),
        },
        ttl: None,
        placeholders: [(Part::Value, "TOKEN".to_owned())].into(),
        quotable: false,
    };
    let outside = |_: &str| Some(Secret::new(secret.to_vec()));
    Credentials::new(vec![definition], outside).expect("credentials")
}
