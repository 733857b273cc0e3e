//! Which scripts of a `package.json` changed.

use std::collections::BTreeMap;

use serde_json::Value;

/// Scripts that are new or say something else now, and what else of the file runs code of others.
pub(super) fn changed(old: &[u8], new: &[u8]) -> Option<String> {
    let Some(new) = scripts(new) else {
        return Some("package.json is not readable as JSON".into());
    };
    let old = scripts(old).unwrap_or_default();
    let differs = |(name, value): (String, Value)| (old.get(&name) != Some(&value)).then_some(name);
    let names: Vec<String> = new.into_iter().filter_map(differs).collect();
    (!names.is_empty()).then(|| format!("scripts: {}", names.join(", ")))
}

fn scripts(text: &[u8]) -> Option<BTreeMap<String, Value>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let scripts = value.as_object()?.get("scripts");
    Some(match scripts {
        Some(Value::Object(scripts)) => scripts.clone().into_iter().collect(),
        _ => BTreeMap::new(),
    })
}
