//! The JSON schema of the format, for editors.

use crate::format::PolicyFile;

/// The schema of a policy file, version 1 (JSON Schema 2020-12).
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(PolicyFile).to_value()
}
