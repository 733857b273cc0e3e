//! HashiCorp Vault and OpenBao, secrets engine KV version 2: log in if need be, then read one secret.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::fetch::{Answer, Gather, HttpAsk, Step, out_of_turn};
use super::json::{Text, push_string};
use crate::definition::{Part, VaultLogin, VaultSource};
use crate::material::Material;
use crate::secret::Secret;

/// Under which parts the login's values are gathered.
const TOKEN: Part = Part::Value;
const ROLE_ID: Part = Part::ClientId;
const SECRET_ID: Part = Part::ClientSecret;

/// The conversation with a vault.
pub(super) struct Conversation {
    source: VaultSource,
    gather: Gather,
    state: State,
}

enum State {
    Gathering,
    LoggingIn,
    Reading,
    Over,
}

impl Conversation {
    pub(super) fn new(context: &Context, source: &VaultSource) -> Self {
        let gather = match &source.login {
            VaultLogin::Token(token) => Gather::new(context, &[(TOKEN, token)]),
            VaultLogin::AppRole {
                role_id, secret_id, ..
            } => Gather::new(context, &[(ROLE_ID, role_id), (SECRET_ID, secret_id)]),
        };
        Self {
            source: source.clone(),
            gather,
            state: State::Gathering,
        }
    }

    pub(super) fn next(
        &mut self,
        context: &Context,
        answer: Option<Answer>,
    ) -> Result<Step, SourceError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Gathering => {
                if let Some(step) = self.gather.next(context, answer)? {
                    self.state = State::Gathering;
                    return Ok(step);
                }
                self.log_in(context)
            }
            State::LoggingIn => {
                let (status, body) = self.http(context, answer)?;
                let token = self.logged_in(context, status, &body)?;
                Ok(self.read(&token))
            }
            State::Reading => {
                let (status, body) = self.http(context, answer)?;
                self.check_read(context, status, &body)?;
                self.secret(context, &body).map(Step::Done)
            }
            State::Over => Err(out_of_turn(context, self.name())),
        }
    }

    fn name(&self) -> String {
        format!("vault {}", self.source.address)
    }

    /// The secret as a person would name it.
    fn secret_name(&self) -> String {
        format!("{}/{}", self.source.mount, self.source.path)
    }

    fn error(&self, context: &Context, failure: Failure, what: impl Into<String>) -> SourceError {
        context.error(self.name(), failure, what)
    }

    fn http(
        &self,
        context: &Context,
        answer: Option<Answer>,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), SourceError> {
        match answer {
            Some(Answer::Http { status, body }) => Ok((status, body)),
            Some(Answer::Failed(what)) => Err(self.error(
                context,
                Failure::Unavailable,
                format!("could not be reached: {what}"),
            )),
            None | Some(Answer::Local(_)) => Err(out_of_turn(context, self.name())),
        }
    }

    fn log_in(&mut self, context: &Context) -> Result<Step, SourceError> {
        let VaultLogin::AppRole { mount, .. } = &self.source.login else {
            let token = self.gather.value(context, TOKEN)?.duplicate();
            return Ok(self.read(&token));
        };
        let role_id = self.gather.value(context, ROLE_ID)?.expose();
        let secret_id = self.gather.value(context, SECRET_ID)?.expose();
        let most = 2 * (role_id.len() + secret_id.len()) + 64;
        let mut body = Zeroizing::new(Vec::with_capacity(most));
        body.extend_from_slice(b"{\"role_id\":");
        push_string(&mut body, role_id);
        body.extend_from_slice(b",\"secret_id\":");
        push_string(&mut body, secret_id);
        body.push(b'}');
        let target = format!("/v1/auth/{}/login", escaped(mount));
        self.state = State::LoggingIn;
        Ok(self.ask("POST", &target, None, body))
    }

    fn logged_in(
        &self,
        context: &Context,
        status: u16,
        body: &[u8],
    ) -> Result<Secret, SourceError> {
        let refused =
            "refused the login: the role id or the secret id is wrong, used up or expired";
        match status {
            200 => {}
            400 | 401 | 403 => return Err(self.error(context, Failure::Refused, refused)),
            404 => {
                let what = "has no AppRole login there; check the mount of the auth method";
                return Err(self.error(context, Failure::Missing, what));
            }
            other => return Err(self.other_status(context, other)),
        }
        let answer: Option<Login> = serde_json::from_slice(body).ok();
        let token = answer.and_then(|login| login.auth?.client_token.0);
        match token {
            Some(mut token) => context.secret(&self.name(), std::mem::take(&mut *token)),
            None => Err(self.error(
                context,
                Failure::Malformed,
                "answered the login without a token",
            )),
        }
    }

    fn read(&mut self, token: &Secret) -> Step {
        let (mount, path) = (escaped(&self.source.mount), escaped(&self.source.path));
        let target = format!("/v1/{mount}/data/{path}");
        self.state = State::Reading;
        self.ask("GET", &target, Some(token), Zeroizing::default())
    }

    fn ask(
        &self,
        method: &'static str,
        target: &str,
        token: Option<&Secret>,
        body: Zeroizing<Vec<u8>>,
    ) -> Step {
        let plain = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        // An agent or proxy of the vault in between takes requests with this mark only (against requests
        // that something was tricked into making).
        let mut fields = vec![
            ("accept", plain("application/json")),
            ("x-vault-request", plain("true")),
        ];
        if !body.is_empty() {
            fields.push(("content-type", plain("application/json")));
        }
        if let Some(namespace) = &self.source.namespace {
            fields.push(("x-vault-namespace", plain(namespace)));
        }
        if let Some(token) = token {
            fields.push(("x-vault-token", Zeroizing::new(token.expose().to_vec())));
        }
        Step::Http(HttpAsk {
            secure: self.source.address.secure,
            authority: self.source.address.authority.clone(),
            method,
            target: format!("{}{target}", self.source.address.path),
            fields,
            body,
        })
    }

    fn check_read(&self, context: &Context, status: u16, body: &[u8]) -> Result<(), SourceError> {
        let secret = self.secret_name();
        let (failure, what) = match status {
            200 => return Ok(()),
            400 => (
                Failure::Malformed,
                format!("does not take {secret}: the mount may not be KV version 2"),
            ),
            403 => (
                Failure::Refused,
                format!("refuses {secret}: the token may not read it, is wrong or has expired"),
            ),
            404 if is_deleted(body) => (
                Failure::Missing,
                format!("has {secret}, but its latest version is deleted"),
            ),
            404 if contains(body, b"no handler for route") => (
                Failure::Missing,
                format!("has no secrets engine mounted at {}", self.source.mount),
            ),
            404 => (Failure::Missing, format!("has no secret {secret}")),
            other => return Err(self.other_status(context, other)),
        };
        Err(self.error(context, failure, what))
    }

    fn other_status(&self, context: &Context, status: u16) -> SourceError {
        let what = match status {
            300..=399 => "sends us elsewhere (it is a standby); name the active server".to_owned(),
            429 => "asks for fewer requests (429)".to_owned(),
            503 => "is sealed or under maintenance (503)".to_owned(),
            other => format!("answered with status {other}"),
        };
        self.error(context, Failure::Unavailable, what)
    }

    fn secret(&self, context: &Context, body: &[u8]) -> Result<Material, SourceError> {
        let secret = self.secret_name();
        let not_kv2 = || {
            let what = format!("answered without data for {secret}: is the mount KV version 2?");
            self.error(context, Failure::Malformed, what)
        };
        let answer: Read = serde_json::from_slice(body).map_err(|_| not_kv2())?;
        let mut data = answer.data.and_then(|data| data.data).ok_or_else(not_kv2)?;
        let mut parts = BTreeMap::new();
        for (part, field) in &self.source.fields {
            let text = match data.remove(field) {
                Some(Text(Some(text))) => text,
                Some(Text(None)) => {
                    let what = format!("holds {secret}, but its field {field} is no text");
                    return Err(self.error(context, Failure::Malformed, what));
                }
                None if part.optional() => continue,
                None => {
                    let what = format!("holds {secret}, but without a field {field}");
                    return Err(self.error(context, Failure::Missing, what));
                }
            };
            let mut text = text;
            let name = format!("field {field} of {secret} in {}", self.name());
            parts.insert(*part, context.secret(&name, std::mem::take(&mut *text))?);
        }
        let lease = Some(answer.lease_duration).filter(|seconds| *seconds > 0);
        Ok(Material::new(parts, lease.map(Duration::from_secs)))
    }
}

#[derive(Deserialize)]
struct Login {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Text,
}

/// The answer to a read: the secret's fields are the inner `data`, beside them stands its metadata.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    lease_duration: u64,
    data: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    data: Option<BTreeMap<String, Text>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// A deleted version is answered with 404 and its metadata.
fn is_deleted(body: &[u8]) -> bool {
    let read: Option<Read> = serde_json::from_slice(body).ok();
    let metadata = read.and_then(|read| read.data?.metadata);
    metadata.is_some_and(|metadata| metadata.destroyed || !metadata.deletion_time.is_empty())
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|part| part == text)
}

/// A path with whatever is no unreserved character percent-encoded (RFC 3986, section 2.3).
fn escaped(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests;
