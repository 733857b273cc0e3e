//! A value of a policy file that knows its place in the text.

use std::ops::Range;

use serde::Deserialize;

/// What `toml` reads, as a type of our own: so that it has a JSON schema, that of the value alone.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
// The schema states the default of a list only if it can be written down.
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
#[serde(transparent)]
pub(crate) struct Spanned<T>(toml::Spanned<T>);

impl<T> Spanned<T> {
    /// The place, in bytes.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }

    pub(crate) fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}
