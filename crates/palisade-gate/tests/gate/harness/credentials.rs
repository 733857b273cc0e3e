//! Credentials of tests: made up, and easy to find in whatever was written.

use std::collections::BTreeMap;
use std::sync::Mutex;

use palisade_credential::{Credentials, Definition, HeaderFormat, Injection, Part, Secret, Source};
use palisade_gate::Notice;
use palisade_policy::{CredentialName, Rule};

use super::{Server, TestGate, rule};

/// What a variable outside holds.
pub(crate) fn secret(variable: &str) -> String {
    format!("real-{variable}-8Jq2kLmZ0vXcB7nT")
}

pub(crate) fn name(text: &str) -> CredentialName {
    CredentialName::new(text).unwrap()
}

/// `Authorization: Bearer …` from the variable outside that has the credential's name; a placeholder stands in the
/// variable inside of the same name.
pub(crate) fn bearer(text: &str) -> Definition {
    Definition {
        name: name(text),
        source: Source::Environment(BTreeMap::from([(Part::Value, text.to_owned())])),
        injection: Injection::Header {
            name: "authorization".into(),
            format: HeaderFormat::parse("Bearer {secret}").unwrap(),
            remove: vec!["x-api-key".into()],
            append: BTreeMap::new(),
        },
        ttl: None,
        placeholders: BTreeMap::from([(Part::Value, text.to_owned())]),
        quotable: false,
    }
}

/// The same as a parameter of the query.
pub(crate) fn query(text: &str, parameter: &str) -> Definition {
    Definition {
        injection: Injection::Query {
            name: parameter.into(),
        },
        ..bearer(text)
    }
}

/// All variables outside hold something but those whose name begins with `UNSET`.
pub(crate) fn credentials(definitions: Vec<Definition>) -> Credentials {
    let environment = |variable: &str| {
        let set = !variable.starts_with("UNSET") && variable != "PATH";
        let path = (variable == "PATH").then(|| "/usr/bin:/bin".to_owned());
        let value = path.or(set.then(|| secret(variable)));
        value.map(|value| Secret::new(value.into_bytes()))
    };
    Credentials::new(definitions, environment).unwrap()
}

/// The placeholder that the agent finds in this variable.
pub(crate) fn placeholder(credentials: &Credentials, variable: &str) -> String {
    let inner = credentials.inner_variables();
    let found = inner.iter().find(|(name, _)| name == variable);
    found.unwrap().1.to_string()
}

/// A rule that adds this credential, in clear text too.
pub(crate) fn carrying(pattern: &str, credential: &str) -> Rule {
    Rule {
        credential: Some(name(credential)),
        dangerous_plaintext: true,
        ..rule(pattern)
    }
}

/// What the person was told.
#[derive(Default)]
pub(crate) struct Notices(Mutex<Vec<String>>);

impl Notices {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Notice for Notices {
    fn notice(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Server {
    /// The lines of `Authorization` that it saw.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            name.eq_ignore_ascii_case("authorization")
        });
        lines.map(str::to_owned).collect()
    }
}

impl TestGate {
    /// Nothing that the gate wrote for people or programs holds this.
    #[track_caller]
    pub(crate) fn assert_unwritten(&self, secret: &str) {
        let written = format!("{:?} {:?}", self.sink.records(), self.notices.lines());
        assert!(!written.contains(secret), "{written}");
    }
}
