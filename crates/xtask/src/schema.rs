//! `cargo xtask schema`: the JSON schema of the policy format, written from the structs that parse it, or compared.

use std::fs;

use crate::shell::{self, Done};

/// Where it is stored; the binary carries a copy.
const FILE: &str = "docs/palisade-policy.schema.json";

/// Writes it.
pub(crate) fn run() -> Done {
    let path = shell::root().join(FILE);
    fs::write(&path, current()?).map_err(|error| format!("write {}: {error}", path.display()))
}

/// Says if the stored one is not what the code makes now.
pub(crate) fn check() -> Done {
    let stored = fs::read_to_string(shell::root().join(FILE)).unwrap_or_default();
    match stored == current()? {
        true => Ok(()),
        false => Err(format!("{FILE} is out of date: run `cargo xtask schema`")),
    }
}

fn current() -> Done<String> {
    let text = serde_json::to_string_pretty(&palisade_config::schema());
    text.map(|text| text + "\n")
        .map_err(|error| format!("write the schema as JSON: {error}"))
}
