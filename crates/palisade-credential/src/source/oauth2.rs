//! OAuth2, client credentials grant (RFC 6749, section 4.4): the gate's own access token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::fetch::{Answer, Gather, HttpAsk, Step, out_of_turn};
use super::json::Text;
use crate::definition::{ClientAuthentication, OAuth2Source, Part};
use crate::material::Material;

/// How long before its end a token is renewed: a request that has just been sent has to arrive with it.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a token is used whose server does not say how long it lives.
const UNSTATED: Duration = Duration::from_secs(300);

/// The conversation with a token endpoint.
pub(super) struct Conversation {
    source: OAuth2Source,
    gather: Gather,
    state: State,
}

enum State {
    Gathering,
    Asking,
    Over,
}

impl Conversation {
    pub(super) fn new(context: &Context, source: &OAuth2Source) -> Self {
        let sources = [
            (Part::ClientId, &*source.client_id),
            (Part::ClientSecret, &*source.client_secret),
        ];
        Self {
            source: source.clone(),
            gather: Gather::new(context, &sources),
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
                self.state = State::Asking;
                self.ask(context).map(Step::Http)
            }
            State::Asking => match answer {
                Some(Answer::Http { status: 200, body }) => self.token(context, &body),
                Some(Answer::Http { status, body }) => Err(self.refused(context, status, &body)),
                Some(Answer::Failed(what)) => Err(self.error(
                    context,
                    Failure::Unavailable,
                    format!("could not be reached: {what}"),
                )),
                None | Some(Answer::Local(_)) => Err(out_of_turn(context, self.name())),
            },
            State::Over => Err(out_of_turn(context, self.name())),
        }
    }

    fn name(&self) -> String {
        format!("token endpoint {}", self.source.token_url)
    }

    fn error(&self, context: &Context, failure: Failure, what: impl Into<String>) -> SourceError {
        context.error(self.name(), failure, what)
    }

    fn ask(&self, context: &Context) -> Result<HttpAsk, SourceError> {
        let id = self.gather.value(context, Part::ClientId)?.expose();
        let password = self.gather.value(context, Part::ClientSecret)?.expose();
        let plain = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let mut fields = vec![
            ("accept", plain("application/json")),
            ("content-type", plain("application/x-www-form-urlencoded")),
        ];
        let scopes = self.source.scopes.join(" ");
        let audience = self.source.audience.as_deref().unwrap_or_default();
        // Three characters a byte at most, and the names.
        let texts = [id.len(), password.len(), scopes.len(), audience.len()];
        let most = texts.iter().sum::<usize>() * 3 + 128;
        let mut body = Zeroizing::new(Vec::with_capacity(most));
        body.extend_from_slice(b"grant_type=client_credentials");
        if !scopes.is_empty() {
            push_pair(&mut body, b"&scope=", scopes.as_bytes());
        }
        if !audience.is_empty() {
            push_pair(&mut body, b"&audience=", audience.as_bytes());
        }
        match self.source.authentication {
            ClientAuthentication::Post => {
                push_pair(&mut body, b"&client_id=", id);
                push_pair(&mut body, b"&client_secret=", password);
            }
            ClientAuthentication::Basic => fields.push(("authorization", basic(id, password))),
        }
        Ok(HttpAsk {
            secure: self.source.token_url.secure,
            authority: self.source.token_url.authority.clone(),
            method: "POST",
            target: match self.source.token_url.path.as_str() {
                "" => "/".to_owned(),
                path => path.to_owned(),
            },
            fields,
            body,
        })
    }

    fn token(&self, context: &Context, body: &[u8]) -> Result<Step, SourceError> {
        let malformed = |what| self.error(context, Failure::Malformed, what);
        let granted: Granted = serde_json::from_slice(body)
            .map_err(|_| malformed("answered with something that is no token in JSON"))?;
        let bearer = granted
            .token_type
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !bearer {
            return Err(malformed("granted a token that is not of type Bearer"));
        }
        let Text(Some(mut token)) = granted.access_token else {
            return Err(malformed("granted an access token that is no text"));
        };
        let token = context.secret(&self.name(), std::mem::take(&mut *token))?;
        let good_for = match granted.expires_in {
            None => UNSTATED,
            Some(seconds) => with_margin(seconds.0),
        };
        let parts = [(Part::Value, token)].into();
        Ok(Step::Done(Material::new(parts, Some(good_for))))
    }

    /// The codes of RFC 6749, section 5.2, are named; nothing else of the answer is repeated.
    fn refused(&self, context: &Context, status: u16, body: &[u8]) -> SourceError {
        let code: Option<Refused> = serde_json::from_slice(body).ok();
        let code = code.map(|refused| refused.error).unwrap_or_default();
        let known = CODES.iter().find(|(name, _)| *name == code);
        let (failure, what) = match (known, status) {
            (Some((name, meaning)), _) => (Failure::Refused, format!("refused: {name}, {meaning}")),
            (None, 300..=399) => (
                Failure::Unavailable,
                format!("sends us elsewhere ({status}); name the address it moved to"),
            ),
            (None, 400..=499) if status != 408 && status != 429 => {
                (Failure::Refused, format!("refused with status {status}"))
            }
            (None, _) => (
                Failure::Unavailable,
                format!("answered with status {status}"),
            ),
        };
        self.error(context, failure, what)
    }
}

/// The error codes and what they mean for the person.
const CODES: [(&str, &str); 6] = [
    (
        "invalid_request",
        "it does not take a request like ours; check its documentation",
    ),
    (
        "invalid_client",
        "the client id or the client secret is wrong",
    ),
    ("invalid_grant", "it does not accept this grant"),
    (
        "unauthorized_client",
        "the client may not use the client credentials grant",
    ),
    (
        "unsupported_grant_type",
        "it has no client credentials grant",
    ),
    ("invalid_scope", "the client may not have these scopes"),
];

#[derive(Deserialize)]
struct Granted {
    access_token: Text,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// A number of seconds; some servers write it as a text.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let number = match &value {
            serde_json::Value::Number(number) => number.as_f64(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        };
        // The cast saturates; a negative lifetime is none.
        number
            .map(|seconds: f64| Self(seconds as u64))
            .ok_or_else(|| serde::de::Error::custom("expires_in is no number"))
    }
}

/// How long a token is used that lives so long.
fn with_margin(seconds: u64) -> Duration {
    let lives = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
    let used = lives.saturating_sub(MARGIN).max(lives / 2);
    used.max(Duration::from_secs(1))
}

/// `Basic` with name and password, each form-encoded first (RFC 6749, section 2.3.1).
fn basic(id: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let most = (id.len() + password.len()) * 3 + 1;
    let mut pair = Zeroizing::new(Vec::with_capacity(most));
    push_pair(&mut pair, b"", id);
    push_pair(&mut pair, b":", password);
    let mut value = Zeroizing::new(vec![0; 6 + pair.len().div_ceil(3) * 4]);
    value[..6].copy_from_slice(b"Basic ");
    let written = STANDARD.encode_slice(&*pair, &mut value[6..]);
    value.truncate(6 + written.unwrap_or_default());
    value
}

/// Appends a name and a form-encoded value.
fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(name);
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(&[
                b'%',
                HEX[usize::from(other >> 4)],
                HEX[usize::from(other & 15)],
            ]),
        }
    }
}

#[cfg(test)]
mod tests;
