//! What a policy says about a credential, as data: where its parts come from, how it is put into a request,
//! what the agent sees in its place. No secret value is in here, so all of it may be printed.

mod header_format;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use palisade_policy::{Authority, CredentialName};

pub use header_format::{HeaderFormat, HeaderFormatError};

/// One value out of those that make up a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The only value of a simple credential: a token, a password.
    Value,
    /// The public half of an AWS key pair.
    AccessKey,
    /// The secret half of an AWS key pair.
    SecretKey,
    /// The token that goes with temporary AWS keys. Always optional.
    SessionToken,
    /// The name of an OAuth2 client.
    ClientId,
    /// The password of an OAuth2 client.
    ClientSecret,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Value,
        Self::AccessKey,
        Self::SecretKey,
        Self::SessionToken,
        Self::ClientId,
        Self::ClientSecret,
    ];

    /// As a policy file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::AccessKey => "access_key",
            Self::SecretKey => "secret_key",
            Self::SessionToken => "session_token",
            Self::ClientId => "client_id",
            Self::ClientSecret => "client_secret",
        }
    }

    /// The part a policy file names so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text)
    }

    /// Whether a credential is complete without it.
    pub const fn optional(self) -> bool {
        matches!(self, Self::SessionToken)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the parts of a credential come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Variables of palisade's own environment, one a part.
    Environment(BTreeMap<Part, String>),
    /// A file whose whole content is the secret. An absolute path.
    File(PathBuf),
    /// A program (found in `PATH` or absolute) and its arguments; what it prints is the secret. No shell.
    Command(Vec<String>),
    /// An entry of the desktop's keyring (Secret Service).
    Keyring {
        /// The entry's service attribute.
        service: String,
        /// The entry's user name attribute.
        account: String,
    },
    /// A secret of HashiCorp Vault or OpenBao, engine KV version 2.
    Vault(VaultSource),
    /// An access token by the client credentials grant of OAuth2.
    OAuth2(OAuth2Source),
}

impl Source {
    /// The kind as a policy file names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Environment(_) => "env",
            Self::File(_) => "file",
            Self::Command(_) => "command",
            Self::Keyring { .. } => "keyring",
            Self::Vault(_) => "vault",
            Self::OAuth2(_) => "oauth2",
        }
    }

    /// The sources that this one draws on itself: a vault's login, an OAuth2 client's name and password.
    pub fn inner(&self) -> Vec<&Self> {
        match self {
            Self::Vault(vault) => match &vault.login {
                VaultLogin::Token(token) => vec![token],
                VaultLogin::AppRole {
                    role_id, secret_id, ..
                } => vec![role_id, secret_id],
            },
            Self::OAuth2(oauth2) => vec![&oauth2.client_id, &oauth2.client_secret],
            _ => Vec::new(),
        }
    }
}

/// A server the gate asks for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is spoken to in TLS.
    pub secure: bool,
    /// Host and port.
    pub authority: Authority,
    /// The path on it, with a leading `/`, without query, not ending in `/` (so it may be empty).
    pub path: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// A secret of Vault or OpenBao, engine KV version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSource {
    /// The server. Its path is what stands before `/v1`, mostly nothing.
    pub address: Endpoint,
    /// Where the engine is mounted, `secret` by default.
    pub mount: String,
    /// The secret's path below the mount.
    pub path: String,
    /// Which field of the secret is which part.
    pub fields: BTreeMap<Part, String>,
    /// Enterprise and OpenBao namespace.
    pub namespace: Option<String>,
    /// How the gate gets its Vault token.
    pub login: VaultLogin,
}

/// How the gate gets its Vault token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultLogin {
    /// It is given one.
    Token(Box<Source>),
    /// It logs in as a machine (auth method `approle`).
    AppRole {
        /// Where the auth method is mounted, `approle` by default.
        mount: String,
        /// The role's id.
        role_id: Box<Source>,
        /// The secret that goes with it.
        secret_id: Box<Source>,
    },
}

/// An access token by the client credentials grant (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Source {
    /// The token endpoint.
    pub token_url: Endpoint,
    /// The client's name.
    pub client_id: Box<Source>,
    /// Its password.
    pub client_secret: Box<Source>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// The API the token is for, where the server wants to know (`audience`).
    pub audience: Option<String>,
    /// How the client shows its password.
    pub authentication: ClientAuthentication,
}

/// How an OAuth2 client shows its password to the token endpoint (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// As HTTP Basic authentication, which every server has to take.
    #[default]
    Basic,
    /// In the form that is posted.
    Post,
}

/// How a credential is put into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// As a header field.
    Header {
        /// The field.
        name: String,
        /// Its value, around the secret.
        format: HeaderFormat,
        /// Further fields that are removed because they would be another way to log in.
        remove: Vec<String>,
        /// List members added to other fields, unless they are there.
        append: BTreeMap<String, String>,
    },
    /// As HTTP Basic authentication: this user name, the secret as password.
    Basic {
        /// The user name.
        username: String,
    },
    /// As a parameter of the query.
    Query {
        /// The parameter.
        name: String,
    },
    /// By signing the request anew (AWS Signature Version 4).
    AwsSigV4,
}

/// One credential, as a policy defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: CredentialName,
    /// Where its parts come from.
    pub source: Source,
    /// How it is put into a request.
    pub injection: Injection,
    /// After how long it is fetched again. None: the source's own word, or never.
    pub ttl: Option<Duration>,
    /// The variables inside that hold a placeholder, one a part.
    pub placeholders: BTreeMap<Part, String>,
    /// Whether a placeholder may stand in the body of a request that carries this credential. Such a request goes to whoever
    /// knows the real one, and a model's has to be able to quote what the agent saw. It is not replaced there.
    pub quotable: bool,
}
