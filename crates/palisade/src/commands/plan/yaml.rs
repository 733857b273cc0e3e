//! A compose file as text: blocks of YAML 1.2, whose plain values are written as JSON has them, which YAML holds.

use std::fmt::Write as _;

use serde_json::Value;

/// The text of a value that is a mapping.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value, 0);
    out
}

fn put(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                // Writing to a string does not fail.
                let _ = write!(out, "{indent}{}:", plain(&key.as_str().into()));
                put_below(out, value, depth);
            }
        }
        Value::Array(list) => {
            for value in list {
                let _ = write!(out, "{indent}-");
                put_below(out, value, depth);
            }
        }
        other => {
            let _ = writeln!(out, "{indent}{}", plain(other));
        }
    }
}

fn put_below(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            put(out, value, depth + 1);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            put(out, value, depth + 1);
        }
        other => {
            let _ = writeln!(out, " {}", plain(other));
        }
    }
}

/// Compose takes `$` for the beginning of a variable's name, and two for one.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string().replace('$', "$$"),
    }
}

/// One that means nothing but itself.
fn is_word(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    !text.is_empty() && text.bytes().all(word) && !special.contains(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_something_to_yaml_or_compose_is_written_so_that_it_does_not() {
        let value = json!({
            "services": { "a.b": { "list": ["x", "no", "$HOME: \"#\"\n"], "none": [], "on": false, "n": 3 } },
        });
        let expected = "services:\n  \"a.b\":\n    list:\n      - x\n      - \"no\"\n      - \"$$HOME: \\\"#\\\"\\n\"\n    \"n\": 3\n    \
                        none: []\n    \"on\": false\n";
        assert_eq!(text(&value), expected);
    }
}
