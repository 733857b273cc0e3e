//! Putting a credential into a request.
//!
//! Whatever the agent sent in the places an injection writes is removed first, in every spelling a server may
//! understand: it can neither use an account of its own, nor double or strip what is injected.

mod error;
mod field;
mod query;

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_policy::CredentialName;
use zeroize::Zeroizing;

pub use self::error::InjectError;
pub(crate) use self::query::remove_parameters;
use crate::head::OutgoingHead;
use crate::sigv4::{self, Keys};
use crate::{Definition, Injection, Material, Part, Redactor};

/// What has to be known of a request's body before its head can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: head and body stream.
    None,
    /// Its SHA-256. So the body is read first, and one longer than `max` bytes is refused (413).
    Hash {
        /// Longest body, in bytes.
        max: usize,
    },
}

/// One credential with its secrets, ready to be put into requests.
pub struct Prepared {
    name: CredentialName,
    material: Material,
    injection: Injection,
    bound_fields: Vec<String>,
    bound_parameters: Vec<String>,
    redactor: Arc<Redactor>,
}

impl Prepared {
    /// Readies a credential.
    ///
    /// # Errors
    /// A part the injection needs is missing; a field name is none, or one of those that frame a message; a secret is
    /// shorter than [`Redactor::MIN_SECRET`]. Such a secret could be found by guessing at a server that echoes
    /// (what comes back starred was right), and its encoded forms could not be told from honest content.
    pub fn new(definition: &Definition, material: Material) -> Result<Self, InjectError> {
        let name = &definition.name;
        check_material(name, &definition.injection, &material)?;
        let (bound_fields, bound_parameters) = bound(&definition.injection);
        for field in &bound_fields {
            field::check(name, field)?;
        }
        let rendered = match &definition.injection {
            Injection::Basic { username } => {
                if username.contains(':') || username.bytes().any(|b| b.is_ascii_control()) {
                    return Err(InjectError::Username {
                        credential: name.clone(),
                    });
                }
                Some(login(username, part(name, &material, Part::Value)?))
            }
            _ => None,
        };
        let secrets = material.parts().map(|(_, secret)| secret.expose());
        let redactor = Redactor::new(secrets.chain(rendered.as_ref().map(|r| r.as_slice())));
        Ok(Self {
            name: name.clone(),
            injection: definition.injection.clone(),
            bound_fields,
            bound_parameters,
            redactor: Arc::new(redactor),
            material,
        })
    }

    /// What has to be known of the body before [`Prepared::inject`].
    pub fn payload(&self, head: &OutgoingHead) -> Payload {
        match self.injection {
            Injection::AwsSigV4 => sigv4::payload(head),
            _ => Payload::None,
        }
    }

    /// Puts the credential in: call it last, when nothing else of the head will change. `now` is the time that a
    /// signature carries.
    ///
    /// # Errors
    /// The request cannot carry the credential, or cannot be signed. The head must not be sent then.
    pub fn inject(
        &self,
        head: &mut OutgoingHead,
        payload_sha256: Option<[u8; 32]>,
        now: SystemTime,
    ) -> Result<(), InjectError> {
        // A signature is read before it is removed.
        if self.injection != Injection::AwsSigV4 {
            for name in &self.bound_fields {
                head.remove(name);
            }
        }
        match &self.injection {
            Injection::Header {
                name,
                format,
                append,
                ..
            } => {
                let value = format.render(self.part(Part::Value)?);
                head.add(&name.to_ascii_lowercase(), &value);
                for (name, member) in append {
                    field::append_member(head, name, member);
                }
                Ok(())
            }
            Injection::Basic { username } => {
                let login = login(username, self.part(Part::Value)?);
                let encoded = Zeroizing::new(STANDARD.encode(&*login));
                let mut value = Zeroizing::new(Vec::with_capacity(BASIC.len() + encoded.len()));
                value.extend_from_slice(BASIC);
                value.extend_from_slice(encoded.as_bytes());
                head.add(AUTHORIZATION, &value);
                Ok(())
            }
            Injection::Query { name } => {
                let secret = self.part(Part::Value)?;
                query::set(head, name, secret).map_err(|_| InjectError::Target {
                    credential: self.name.clone(),
                })
            }
            Injection::AwsSigV4 => {
                let keys = Keys {
                    access_key: self.part(Part::AccessKey)?,
                    secret_key: self.part(Part::SecretKey)?,
                    session_token: self.material.part(Part::SessionToken).map(|s| s.expose()),
                };
                sigv4::sign_anew(head, &keys, payload_sha256, now).map_err(|reason| {
                    InjectError::Sign {
                        credential: self.name.clone(),
                        reason,
                    }
                })
            }
        }
    }

    /// The header fields an injection removes and writes, lower case: a placeholder is expected there.
    pub fn bound_fields(&self) -> &[String] {
        &self.bound_fields
    }

    /// The query parameters it removes and writes: a placeholder is expected there too.
    pub fn bound_parameters(&self) -> &[String] {
        &self.bound_parameters
    }

    /// What takes the credential's secrets out of responses.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    fn part(&self, wanted: Part) -> Result<&[u8], InjectError> {
        part(&self.name, &self.material, wanted)
    }
}

fn part<'a>(
    name: &CredentialName,
    material: &'a Material,
    part: Part,
) -> Result<&'a [u8], InjectError> {
    let secret = material.part(part).ok_or_else(|| InjectError::Part {
        credential: name.clone(),
        part,
    })?;
    Ok(secret.expose())
}

/// The fields and parameters an injection removes and writes.
fn bound(injection: &Injection) -> (Vec<String>, Vec<String>) {
    let mut fields = Vec::new();
    let mut parameters = Vec::new();
    match injection {
        Injection::Header { name, remove, .. } => {
            fields.push(name.to_ascii_lowercase());
            fields.extend(remove.iter().map(|name| name.to_ascii_lowercase()));
        }
        Injection::Basic { .. } => fields.push(AUTHORIZATION.to_owned()),
        Injection::Query { name } => parameters.push(name.clone()),
        Injection::AwsSigV4 => {
            fields.extend(sigv4::FIELDS.map(str::to_owned));
            parameters.extend(sigv4::PARAMETERS.map(str::to_owned));
        }
    }
    if fields.iter().any(|field| field == AUTHORIZATION) {
        fields.push("proxy-authorization".to_owned());
    }
    (fields, parameters)
}

const AUTHORIZATION: &str = "authorization";

/// The scheme's name (RFC 7617).
const BASIC: &[u8] = b"Basic ";

fn check_material(
    name: &CredentialName,
    injection: &Injection,
    material: &Material,
) -> Result<(), InjectError> {
    let needed: &[Part] = match injection {
        Injection::AwsSigV4 => &[Part::AccessKey, Part::SecretKey],
        _ => &[Part::Value],
    };
    for &needed in needed {
        part(name, material, needed)?;
    }
    for (part, secret) in material.parts() {
        if secret.expose().len() < Redactor::MIN_SECRET {
            return Err(InjectError::Short {
                credential: name.clone(),
                part,
            });
        }
        // The access key stands between `=` and `/` in a header field, the token in one of its own.
        let fits = match part {
            Part::AccessKey => secret
                .expose()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'_'),
            Part::SessionToken => secret.expose().iter().all(u8::is_ascii_graphic),
            _ => true,
        };
        if *injection == Injection::AwsSigV4 && !fits {
            return Err(InjectError::Characters {
                credential: name.clone(),
                part,
            });
        }
    }
    Ok(())
}

/// `username:secret`.
fn login(username: &str, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut login = Zeroizing::new(Vec::with_capacity(username.len() + 1 + secret.len()));
    login.extend_from_slice(username.as_bytes());
    login.push(b':');
    login.extend_from_slice(secret);
    login
}

#[cfg(test)]
mod tests;
