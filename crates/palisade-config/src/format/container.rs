//! `[boundary.container]` as written.

use serde::Deserialize;
use serde::de::Deserializer;

use super::credential::TextOr;
use crate::spanned::Spanned;

/// What only the container backend reads.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    /// The engine. Without it: docker where it answers, else podman.
    pub engine: Option<Spanned<Engine>>,
    /// What the agent's root is. Without it: `"host"`.
    pub root: Option<Spanned<Root>>,
    /// The runtime that the engine is told to use, by a name that it knows. Without it: the engine's default.
    pub runtime: Option<Spanned<String>>,
    /// The agent's user and group by number, such as `"1000:1000"`, inside and on this machine. Without it: your own or, run by
    /// root, the owner of the workspace.
    #[cfg_attr(
        feature = "schema",
        schemars(extend("pattern" = "^[1-9][0-9]*:[1-9][0-9]*$"))
    )]
    pub user: Option<Spanned<String>>,
}

/// The engine.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// docker 20.10 or newer.
    Docker,
    /// podman 4.3 or newer, with root and without.
    Podman,
}

/// What the agent's root is: `"host"`, or a table.
#[derive(Debug)]
pub(crate) enum Root {
    Name(String),
    Image(ImageTable),
}

/// An image in place of the host's system.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageTable {
    /// The image by a name that the engine knows, such as `"node:22"`. It is never pulled.
    pub image: Spanned<String>,
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        TextOr(
            "\"host\", or a table such as { image = \"node:22\" }",
            Self::Name,
        )
        .read(deserializer, Self::Image)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Root {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Root".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<ImageTable>();
        schemars::json_schema!({ "anyOf": [{ "const": "host" }, table] })
    }
}
