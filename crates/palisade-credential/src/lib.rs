//! Secrets, where they come from, and how a request gets them, so that the agent never holds one.
//!
//! A policy *defines* a credential ([`Definition`]); a session *prepares* all of them ([`Credentials`]) and
//! gives the agent placeholders; the gate *fetches* one when a permitted request first needs it ([`Fetch`]),
//! puts it into that request (`Prepared`), and takes it out of whatever comes back (`Redactor`).
//!
//! ```text
//!  Definition ─▶ Credentials ──begin──▶ Fetch ──Done──▶ Material ─▶ Prepared ─▶ inject into an OutgoingHead
//!     (data)        │                   │  ▲                          │
//!                   │             Step  ▼  │  Answer                  └──────▶ Redactor: response, redacted
//!                   │        (the gate: blocking pool, HTTP)
//!                   └─▶ Placeholders: what the agent sees, and a scan that finds it wherever it turns up
//! ```
//!
//! Non-goals: no network (a conversation yields requests as data, the gate makes them), no async runtime, no
//! logging, no choice of who may use a credential (that is the policy's permit).
//!
//! Invariants
//! * A [`Secret`] has no `Debug`, `Display`, `Clone`, comparison or serialisation, and is wiped on drop.
//! * No error text holds a byte of a secret, nor of what a source answered.
//! * A secret holds no control byte, so it cannot end a header field (checked when it is loaded).
//! * The environment is never read here; values are handed in. (One library below does: the keyring's D-Bus
//!   client finds the session bus by `DBUS_SESSION_BUS_ADDRESS` of the process.)
//! * Every source has a limit in size and in time.
//!
//! ```
//! use palisade_credential::{Credentials, Definition, HeaderFormat, Injection, Part, Secret, Source, Step};
//! use palisade_policy::CredentialName;
//!
//! let name = CredentialName::new("github").unwrap();
//! let definition = Definition {
//!     name: name.clone(),
//!     source: Source::Environment([(Part::Value, "GITHUB_TOKEN".to_owned())].into()),
//!     injection: Injection::Header {
//!         name: "authorization".to_owned(),
//!         format: HeaderFormat::parse("Bearer {secret}").unwrap(),
//!         remove: Vec::new(),
//!         append: Default::default(),
//!     },
//!     ttl: None,
//!     placeholders: [(Part::Value, "GITHUB_TOKEN".to_owned())].into(),
//!     quotable: false,
//! };
//! let outside = |name: &str| (name == "GITHUB_TOKEN").then(|| Secret::new(b"the-real-one".to_vec()));
//! let credentials = Credentials::new(vec![definition], outside).unwrap();
//!
//! let Ok(Step::Done(material)) = credentials.begin(&name).unwrap().next(None) else { panic!() };
//! # let _ = material;
//! ```
#![forbid(unsafe_code)]

// What a policy says and what a source yields.
mod definition;
mod material;
mod placeholder;
mod secret;
mod source;

pub use definition::{
    ClientAuthentication, Definition, Endpoint, HeaderFormat, HeaderFormatError, Injection,
    OAuth2Source, Part, Source, VaultLogin, VaultSource,
};
pub use material::Material;
pub use placeholder::{Placeholder, PlaceholderScan, Placeholders};
pub use secret::{Secret, SecretError};
pub use source::{
    Answer, COMMAND_ENVIRONMENT, Credentials, CredentialsError, Failure, Fetch, HttpAsk,
    SourceError, Step,
};

// What a request gets and a response loses.
mod decode;
mod head;
mod inject;
mod percent;
mod redact;
mod sigv4;

pub use decode::{Coding, ContentDecoder, DecodeError, Progress};
pub use head::OutgoingHead;
pub use inject::{InjectError, Payload, Prepared};
pub use redact::{RedactStream, Redactor};
pub use sigv4::SignError;
