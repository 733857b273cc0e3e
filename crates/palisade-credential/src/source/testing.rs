//! For the tests of sources: definitions in one line, and someone who does what a fetch asks for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use palisade_policy::{Authority, CredentialName};
use zeroize::Zeroizing;

use super::{Answer, Credentials, CredentialsError, Fetch, HttpAsk, SourceError, Step};
use crate::definition::{Definition, Endpoint, HeaderFormat, Injection, Part, Source};
use crate::material::Material;
use crate::secret::Secret;

pub(super) fn name(text: &str) -> CredentialName {
    CredentialName::new(text).expect("a name")
}

/// A credential of the name `test` that goes into a header.
pub(super) fn definition(source: Source) -> Definition {
    Definition {
        name: name("test"),
        source,
        injection: Injection::Header {
            name: "authorization".to_owned(),
            format: HeaderFormat::bare(),
            remove: Vec::new(),
            append: BTreeMap::new(),
        },
        ttl: None,
        placeholders: BTreeMap::new(),
        quotable: false,
    }
}

pub(super) fn variable(name: &str) -> Source {
    Source::Environment([(Part::Value, name.to_owned())].into())
}

pub(super) fn endpoint(authority: &str, path: &str) -> Endpoint {
    Endpoint {
        secure: false,
        authority: Authority::parse(authority.as_bytes(), Some(80)).expect("an authority"),
        path: path.to_owned(),
    }
}

/// Prepares definitions with these variables outside.
pub(super) fn prepare(
    definitions: Vec<Definition>,
    variables: &[(&str, &str)],
) -> Result<Credentials, CredentialsError> {
    Credentials::new(definitions, |name| {
        let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
        Some(Secret::new(value.as_bytes().to_vec()))
    })
}

/// Begins to fetch the credential `test` from this source.
pub(super) fn begin(source: Source, variables: &[(&str, &str)]) -> Fetch {
    prepare(vec![definition(source)], variables)
        .unwrap_or_else(|error| panic!("{error}"))
        .begin(&name("test"))
        .expect("it is defined")
}

/// Does all that a fetch asks for. `http` makes its requests.
pub(super) fn drive(
    mut fetch: Fetch,
    mut http: impl FnMut(&HttpAsk) -> Answer,
) -> Result<Material, SourceError> {
    let mut answer = None;
    loop {
        answer = Some(match fetch.next(answer)? {
            Step::Blocking(step) => step(),
            Step::Http(ask) => http(&ask),
            Step::Done(material) => return Ok(material),
        });
    }
}

/// Fetches from a source that needs no network.
pub(super) fn fetch(source: Source, variables: &[(&str, &str)]) -> Result<Material, SourceError> {
    drive(begin(source, variables), |_| panic!("no network needed"))
}

pub(super) fn value(material: &Material) -> &str {
    part(material, Part::Value)
}

pub(super) fn part(material: &Material, part: Part) -> &str {
    let secret = material.part(part).expect("the part is there");
    std::str::from_utf8(secret.expose()).expect("text")
}

/// The text of the error, which must not hold any of the given values.
pub(super) fn error_text(result: Result<Material, SourceError>, secrets: &[&str]) -> String {
    let Err(error) = result else {
        panic!("this should have failed");
    };
    let text = format!("{error} {error:?}");
    for secret in secrets {
        assert!(!text.contains(secret), "{text}");
    }
    error.to_string()
}

pub(super) fn field<'a>(ask: &'a HttpAsk, name: &str) -> Option<&'a str> {
    let (_, value) = ask.fields.iter().find(|(field, _)| *field == name)?;
    std::str::from_utf8(value).ok()
}

pub(super) fn http(status: u16, body: &str) -> Answer {
    Answer::Http {
        status,
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

/// Makes a request for real.
pub(super) fn send(ask: &HttpAsk) -> Answer {
    try_send(ask).unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn try_send(ask: &HttpAsk) -> std::io::Result<Answer> {
    assert!(!ask.secure, "tests speak clear text to loopback");
    let mut stream = TcpStream::connect(ask.authority.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n",
        ask.method,
        ask.target,
        ask.authority,
        ask.body.len()
    )
    .into_bytes();
    for (name, value) in &ask.fields {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&ask.body);
    stream.write_all(&request)?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    Ok(http(status.expect("a status"), body))
}
