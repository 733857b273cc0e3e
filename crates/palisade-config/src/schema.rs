//! The JSON schema of the format, for editors.

use palisade_boundary::Control;
use serde_json::Value;

use crate::format::PolicyFile;

/// The schema of a policy file, version 1 (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(PolicyFile).to_value();
    forbid_null(&mut schema);
    schema
}

/// The names that `accept_weaker` knows.
pub(crate) fn controls() -> Value {
    serde_json::json!({ "type": "string", "enum": Control::ALL.map(Control::name) })
}

/// TOML has no null: a key that may be left out is simply not there.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    keys["type"] = only.clone();
                }
            }
            if let Some(Value::Array(choices)) = keys.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    keys.remove("anyOf");
                    keys.extend(only);
                }
            }
            keys.values_mut().for_each(forbid_null);
        }
        _ => {}
    }
}
