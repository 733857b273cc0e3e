//! A policy file as written: the format, version 1. Nothing is checked here but names and types.
//!
//! Values keep their place in the text ([`Spanned`]), so that what is wrong with one can be shown where it stands. Neither
//! `flatten` nor untagged enums: both lose that place, and accept what nobody meant.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::gate_limits::WrittenGateLimits;
use crate::spanned::Spanned;

mod container;
mod credential;
mod gvisor;

pub(crate) use container::{Container, Engine, Root};
pub(crate) use credential::{
    Credential, Inject, InjectTable, InnerSource, Keyring, OAuth2, Parts, SourceTable, TextOrParts,
    Vault,
};

pub(crate) use gvisor::{Gvisor, Platform, Via};

/// The only version there is.
pub(crate) const VERSION: i64 = 1;

/// A Palisade policy, version 1: what an agent may read, write, reach and spend.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// The version of the format: 1.
    #[cfg_attr(feature = "schema", schemars(with = "u8", extend("const" = 1)))]
    pub version: Spanned<i64>,
    /// Built-in profiles (`"claude-code"`) or files (`"team.toml"`, relative to this file) that come before this one.
    #[serde(default)]
    pub extends: Vec<Spanned<String>>,
    /// What separates the agent from the host.
    #[serde(default)]
    pub boundary: Boundary,
    /// What the agent sees of the host's files.
    #[serde(default)]
    pub filesystem: Filesystem,
    /// What the agent may reach. Nothing, unless a rule allows it.
    #[serde(default)]
    pub network: Network,
    /// Secrets that the gate adds to permitted requests, and that the agent never sees.
    #[serde(default)]
    pub credentials: BTreeMap<Spanned<String>, Credential>,
    /// The agent's environment variables. Nothing is inherited that is not named.
    #[serde(default)]
    pub environment: Environment,
    /// What the whole session may use.
    #[serde(default)]
    pub limits: Limits,
}

/// What separates the agent from the host.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Boundary {
    /// The backend, such as `"native"`.
    pub backend: Option<Spanned<String>>,
    /// Every control has to be held as its words say. So it is without this key; written, it takes back what was accepted
    /// before.
    pub require: Option<Spanned<Require>>,
    /// Controls that may be held less well than their words say, such as `"limits.cpus"` (`palisade plan` lists them).
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(extend("items" = crate::schema::controls()))
    )]
    pub accept_weaker: Vec<Spanned<String>>,
    /// How gVisor is run, where it is the backend.
    #[serde(default)]
    pub gvisor: Gvisor,
    /// The container backend's own settings.
    pub container: Option<Spanned<Container>>,
}

/// Which controls have to be held as their words say.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Require {
    /// Every one.
    All,
}

/// What the agent sees of the host's files.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Filesystem {
    /// The project folder, relative to this file. Without it: the folder palisade is started in.
    pub workspace: Option<Spanned<String>>,
    /// How the agent may use the workspace.
    pub access: Option<Spanned<Access>>,
    /// What changes may take of the memory where `access = "scratch"`, such as `"2GiB"`.
    pub scratch_size: Option<Spanned<Size>>,
    /// More files and folders to show, read-only. `~` is the home folder.
    #[serde(default)]
    pub read: Vec<Spanned<String>>,
    /// More files and folders to show, writable. `~` is the home folder.
    #[serde(default)]
    pub write: Vec<Spanned<String>>,
    /// Files and folders that are not shown though a profile names them.
    #[serde(default)]
    pub withhold: Vec<Spanned<String>>,
    /// Names and paths that are hidden wherever they lie in what is shown, beside those that are hidden by themselves.
    #[serde(default)]
    pub mask: Vec<Spanned<String>>,
    /// Names and paths that are not hidden though something above says so.
    #[serde(default)]
    pub unmask: Vec<Spanned<String>>,
    /// Whether paths that the host would execute later are read-only in a writable workspace. They are, unless `false`.
    pub protect: Option<Spanned<bool>>,
    /// Folders that are kept between sessions, apart from the host's own.
    #[serde(default)]
    pub volume: Vec<Volume>,
    /// File systems in memory, gone with the session.
    #[serde(default)]
    pub tmpfs: Vec<Tmpfs>,
}

/// A folder that is kept between sessions.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    /// Where it is inside. `~` is the home folder.
    pub path: Spanned<String>,
    /// Its name. Sessions that name the same one share it.
    pub name: Spanned<String>,
}

/// A file system in memory.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Tmpfs {
    /// Where it is inside. `~` is the home folder.
    pub path: Spanned<String>,
    /// What it may hold, such as `"500MB"`.
    pub size: Option<Spanned<Size>>,
    /// Whether programs on it can be run. Not, unless `true`.
    pub exec: Option<Spanned<bool>>,
}

/// How the agent may use the workspace.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    /// Shown, not to be changed.
    Read,
    /// Changes live in memory and are gone with the session.
    Scratch,
    /// Changes are kept apart until they are applied (`palisade review`, `palisade apply`).
    Review,
    /// Changes land on the host at once.
    Write,
}

/// What the agent may reach.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// Destinations mapped to addresses, as `curl --resolve` does: `"host:port" = "address:port"`. The address is
    /// permitted; the destination still needs a rule.
    #[serde(default)]
    pub resolve: BTreeMap<Spanned<String>, Spanned<String>>,
    /// PEM files with more roots for TLS servers, relative to this file.
    #[serde(default)]
    pub extra_ca: Vec<Spanned<String>>,
    /// A proxy that all permitted traffic goes through: `"http://[user:password@]host:port"`.
    pub upstream_proxy: Option<Spanned<String>>,
    /// Destinations the agent may reach.
    pub allow: Option<Vec<AllowRule>>,
    /// Destinations the agent may not reach, whatever allows them.
    #[serde(default)]
    pub deny: Vec<DenyRule>,
    /// Bounds of the gate.
    pub limits: Option<Spanned<WrittenGateLimits>>,
}

/// One destination the agent may reach.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowRule {
    /// A host name, an address, or `"*.example.com"` for every name below it (not for `example.com` itself).
    pub host: Spanned<String>,
    /// Ports. Without them: 80 and 443.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<Vec<std::num::NonZeroU16>>")
    )]
    pub ports: Option<Spanned<Vec<Spanned<i64>>>>,
    /// Whether the name may resolve to a private, loopback or link-local address.
    pub private: Option<Spanned<bool>>,
    /// What may be spoken.
    pub protocol: Option<Spanned<Protocol>>,
    /// Methods, as they are sent (`"GET"`). Without them: every one.
    pub methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// Paths: `*` is any part of one segment, `**` any number of segments. Without them: every one.
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
    /// Whether TLS is ended at the gate. Without a word: where a rule has to look inside. `false` passes it unread, for
    /// clients that trust no roots but their own.
    pub intercept: Option<Spanned<bool>>,
    /// The name of the credential that the gate adds.
    pub credential: Option<Spanned<String>>,
    /// Whether the credential may be sent in clear text (`http://`), where everybody on the way can read it.
    pub dangerous_plaintext: Option<Spanned<bool>>,
}

/// What may be spoken on a permitted connection.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP, or TLS that names the host. The default.
    Http,
    /// WebSocket, from its handshake on.
    WebSocket,
    /// gRPC.
    Grpc,
    /// Any bytes, unread.
    Tcp,
}

/// One destination the agent may not reach.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyRule {
    /// A host name, an address, or `"*.example.com"` for every name below it (not for `example.com` itself).
    pub host: Spanned<String>,
    /// Ports. Without them: every port.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<Vec<std::num::NonZeroU16>>")
    )]
    pub ports: Option<Spanned<Vec<Spanned<i64>>>>,
    /// Methods, as they are sent (`"DELETE"`). Without them: every one.
    pub methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// Paths: `*` is any part of one segment, `**` any number of segments. Without them: every one.
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The agent's environment variables.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    /// Names of variables to take over from the host.
    #[serde(default)]
    pub pass: Vec<Spanned<String>>,
    /// Names of variables that are not taken over though a profile names them.
    #[serde(default)]
    pub withhold: Vec<Spanned<String>>,
    /// Variables to set.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// What the whole session may use.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Memory, such as `"2GiB"` or `"500MB"`, or plain bytes.
    pub memory: Option<Spanned<Size>>,
    /// Processors, such as 1.5.
    pub cpus: Option<Spanned<f64>>,
    /// Processes and threads.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u32>"))]
    pub processes: Option<Spanned<i64>>,
}

/// A size as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Plain bytes.
    Bytes(i64),
    /// A number with a unit.
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"2GiB\", or a number of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Ok(Size::Text(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                Ok(Size::Bytes(bytes))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A size such as \"2GiB\", or a number of bytes.",
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": "^[0-9]+(\\.[0-9]+)? ?([KMGTkmgt]i?)?[Bb]$"
        })
    }
}
