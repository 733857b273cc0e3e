//! `[credentials.NAME]` as written. No secret stands in a policy file: each form of `source` says where one is found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::spanned::Spanned;

/// A secret that the gate adds to permitted requests.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// Where the secret is fetched.
    pub source: Option<Spanned<SourceTable>>,
    /// What the gate does with it.
    pub inject: Spanned<Inject>,
    /// What the agent sees in its place.
    pub placeholder: Option<Spanned<PlaceholderTable>>,
}

/// Where a secret is fetched: exactly one of `env`, `file`, `command`, `keyring` and `vault`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceTable {
    /// A variable of the environment palisade is started in, or one for each part.
    pub env: Option<Spanned<TextOrParts>>,
    /// A file, relative to this one; `~` is the home folder.
    pub file: Option<Spanned<String>>,
    /// A program and its arguments. What it prints is the secret.
    pub command: Option<Spanned<Vec<Spanned<String>>>>,
    /// An entry of the desktop's key store.
    pub keyring: Option<Spanned<Keyring>>,
    /// A secret of a Vault or OpenBao server (KV version 2).
    pub vault: Option<Spanned<Vault>>,
    /// How long it is used before it is fetched again, such as `"1h"`. Without it: for the whole session, or as long as
    /// the source says.
    pub ttl: Option<Spanned<String>>,
}

/// Where one value is found that another source needs: exactly one of `env`, `file`, `command` and `keyring`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct InnerSource {
    /// A variable of the environment palisade is started in.
    pub env: Option<Spanned<String>>,
    /// A file, relative to this one; `~` is the home folder.
    pub file: Option<Spanned<String>>,
    /// A program and its arguments. What it prints is the value.
    pub command: Option<Spanned<Vec<Spanned<String>>>>,
    /// An entry of the desktop's key store.
    pub keyring: Option<Spanned<Keyring>>,
}

/// One name, or one for each part of a credential.
#[derive(Debug)]
pub(crate) enum TextOrParts {
    Text(String),
    Parts(Parts),
}

/// The parts of an AWS credential.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    /// The access key id.
    pub access_key: Option<Spanned<String>>,
    /// The secret access key.
    pub secret_key: Option<Spanned<String>>,
    /// The session token of temporary credentials.
    pub session_token: Option<Spanned<String>>,
}

/// An entry of the desktop's key store.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyring {
    /// The service, as the program that stored it calls it.
    pub service: Spanned<String>,
    /// The account.
    pub account: Spanned<String>,
}

/// A secret of a Vault or OpenBao server (KV version 2).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Vault {
    /// The server, such as `"https://vault.example.com:8200"`.
    pub address: Spanned<String>,
    /// The secret's path below the mount.
    pub path: Spanned<String>,
    /// The mount of the KV engine. Without it: `"secret"`.
    pub mount: Option<Spanned<String>>,
    /// The field that holds the secret. Without it: `"value"`.
    pub field: Option<Spanned<String>>,
    /// The fields that hold the parts.
    pub fields: Option<Spanned<Parts>>,
    /// The namespace.
    pub namespace: Option<Spanned<String>>,
    /// Where the token is found.
    pub token: Option<Spanned<InnerSource>>,
    /// A login by AppRole.
    pub approle: Option<Spanned<AppRole>>,
    /// Whether the server may be spoken to in clear text.
    pub dangerous_plaintext: Option<Spanned<bool>>,
}

/// A login by AppRole.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AppRole {
    /// Where the role id is found.
    pub role_id: Spanned<InnerSource>,
    /// Where the secret id is found.
    pub secret_id: Spanned<InnerSource>,
    /// The mount of the login. Without it: `"approle"`.
    pub mount: Option<Spanned<String>>,
}

/// What the gate does with a secret: `"aws-sigv4"`, or a table.
#[derive(Debug)]
pub(crate) enum Inject {
    Name(String),
    Table(Box<InjectTable>),
}

/// What the gate does with a secret: exactly one of `header`, `basic`, `query` and `oauth2`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct InjectTable {
    /// The header field it is put into.
    pub header: Option<Spanned<String>>,
    /// The value of that field, with `{secret}` once. Without it: the secret alone.
    pub format: Option<Spanned<String>>,
    /// More header fields that are taken out of the agent's request.
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    /// Elements that are added to list fields of the agent's request, where they are missing.
    #[serde(default)]
    pub append: BTreeMap<Spanned<String>, Spanned<String>>,
    /// The password of HTTP Basic authentication.
    pub basic: Option<Spanned<Basic>>,
    /// The query parameter it is put into.
    pub query: Option<Spanned<String>>,
    /// A token that the gate fetches (OAuth2 client credentials) and sends as `Authorization: Bearer`.
    pub oauth2: Option<Spanned<OAuth2>>,
}

/// HTTP Basic authentication. The secret is the password.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Basic {
    /// The user name.
    pub username: Spanned<String>,
}

/// A token by the client credentials grant (RFC 6749, section 4.4).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuth2 {
    /// Where tokens are given out. Has to be https.
    pub token_url: Spanned<String>,
    /// Where the client's id is found.
    pub client_id: Spanned<InnerSource>,
    /// Where the client's secret is found.
    pub client_secret: Spanned<InnerSource>,
    /// The scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<Spanned<String>>,
    /// The audience to ask for, which some servers want.
    pub audience: Option<Spanned<String>>,
    /// How the client shows its secret: `"basic"` (HTTP Basic authentication, without a word) or `"post"` (in the form).
    pub authentication: Option<Spanned<String>>,
    /// Whether tokens may be fetched in clear text.
    pub dangerous_plaintext: Option<Spanned<bool>>,
}

/// What the agent sees.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceholderTable {
    /// The variable inside that holds the placeholder, or one for each part.
    pub env: Spanned<TextOrParts>,
    /// Whether it may stand in the bodies of requests that carry this credential, as a model's do when they quote what the
    /// agent has seen.
    pub quotable: Option<Spanned<bool>>,
}

/// Reads a string as one thing and a table as another. Not an untagged enum: a mistake in the table keeps its place.
pub(super) struct TextOr<T>(pub(super) &'static str, pub(super) fn(String) -> T);

impl<'de, T> TextOr<T> {
    pub(super) fn read<D: Deserializer<'de>, M: Deserialize<'de>>(
        self,
        deserializer: D,
        table: fn(M) -> T,
    ) -> Result<T, D::Error> {
        struct Both<T, M>(TextOr<T>, fn(M) -> T);
        impl<'de, T, M: Deserialize<'de>> Visitor<'de> for Both<T, M> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.0)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                Ok(self.0.1(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(self.1)
            }
        }
        deserializer.deserialize_any(Both(self, table))
    }
}

impl<'de> Deserialize<'de> for TextOrParts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TextOr("a name, or a table with a name for each part", Self::Text)
            .read(deserializer, Self::Parts)
    }
}

impl<'de> Deserialize<'de> for Inject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TextOr(
            "\"aws-sigv4\", or a table such as { header = \"authorization\" }",
            Self::Name,
        )
        .read(deserializer, |table| Self::Table(Box::new(table)))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TextOrParts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextOrParts".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let parts = generator.subschema_for::<Parts>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, parts] })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Inject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Inject".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<InjectTable>();
        schemars::json_schema!({ "anyOf": [{ "const": "aws-sigv4" }, table] })
    }
}
