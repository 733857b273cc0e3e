//! From text to the format, with errors a person can act on.

use crate::error::PolicyError;
use crate::format::{PolicyFile, VERSION};
use crate::spanned::Spanned;
use crate::text::Text;

/// Parses a policy file.
pub(crate) fn parse(text: &Text) -> Result<PolicyFile, PolicyError> {
    let file: PolicyFile = toml::from_str(&text.body).map_err(|error| explain(text, &error))?;
    check_version(text, &file.version)?;
    Ok(file)
}

fn check_version(text: &Text, version: &Spanned<i64>) -> Result<(), PolicyError> {
    let found = *version.get_ref();
    if found == VERSION {
        return Ok(());
    }
    let message = format!("policy version {found} is not known");
    Err(text
        .wrong(version, message)
        .hint(format!("this palisade reads version {VERSION}")))
}

/// Turns the parser's words into ours. Its messages are matched by their fixed parts, which serde's derived code makes; a
/// message of another form is passed on as it is.
fn explain(text: &Text, error: &toml::de::Error) -> PolicyError {
    let span = error.span().unwrap_or(0..0);
    let said = error.message();
    let written = text.body.get(span.clone()).unwrap_or("");
    if let Some(rest) = said.strip_prefix("unknown field ") {
        let key = written.trim_matches(['"', '\'']);
        let known = known_names(rest);
        let hint = suggestion(key, &known, "the keys here are");
        return text
            .error(span, format!("unknown key `{key}`"))
            .hint_if(hint);
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        let known = known_names(rest);
        let value = written.trim_matches(['"', '\'']);
        let hint = match known.as_slice() {
            ["all"] => "use `all`, and name exceptions in `accept_weaker`".to_owned(),
            known => format!("use {}", listed(known)),
        };
        return text
            .error(span, format!("`{value}` is not known here"))
            .hint(hint);
    }
    if let Some(rest) = said.strip_prefix("missing field ") {
        let key = rest.trim_matches('`');
        let error = text.error(
            first_line(text, span),
            format!("the key `{key}` is missing"),
        );
        return error.hint_if(match key {
            "version" => Some(format!("add `version = {VERSION}` as the first line")),
            "host" => Some("each rule names a host, as in `host = \"api.example.com\"`".to_owned()),
            _ => None,
        });
    }
    if let Some(rest) = said.strip_prefix("invalid type: ") {
        return text
            .error(span, format!("wrong type: {}", in_toml_words(rest)))
            .hint_if(type_hint(rest));
    }
    if said.starts_with("wanted string") {
        return text.error(span, "wrong type: expected a string");
    }
    text.error(span, said.replace('\n', ", "))
}

/// Serde's names for types, as a person who writes TOML knows them.
fn in_toml_words(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let found = if found == "map" { "a table" } else { found };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        "f64" => "a number",
        "i64" => "a whole number",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{found}, expected {expected}")
}

fn type_hint(message: &str) -> Option<String> {
    let hint = match message {
        "map, expected a sequence" => {
            "tables of a list are written `[[…]]`, as in `[[network.allow]]`"
        }
        other if other.ends_with("expected a sequence") => "write a list, in brackets: `[…]`",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The names in backticks after `expected`.
fn known_names(message: &str) -> Vec<&str> {
    let Some((_, known)) = message.rsplit_once(", expected ") else {
        return Vec::new();
    };
    known.split('`').skip(1).step_by(2).collect()
}

/// What somebody who wrote `name` may have meant: the nearest of `known`, or all of them.
pub(crate) fn suggestion<S: AsRef<str>>(name: &str, known: &[S], all: &str) -> Option<String> {
    let near = known
        .iter()
        .map(|candidate| (distance(name, candidate.as_ref()), candidate.as_ref()))
        .min();
    match near {
        None => None,
        Some((far, candidate)) if far <= candidate.chars().count() / 3 + 1 => {
            Some(format!("did you mean `{candidate}`?"))
        }
        Some(_) => Some(format!("{all} {}", listed(known))),
    }
}

pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// How many letters are to be put in, taken out or changed to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // Longer than any key: what somebody pastes by mistake is not worth comparing.
    const LONGEST: usize = 40;
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().take(LONGEST).collect(),
        b.to_lowercase().chars().take(LONGEST).collect(),
    );
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The first line of a span that covers a whole table.
fn first_line(text: &Text, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let end = text
        .body
        .get(span.clone())
        .and_then(|covered| covered.find('\n'))
        .map_or(span.end, |at| span.start + at);
    span.start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested() {
        let known = ["host", "ports", "private", "protocol"];
        let cases = [
            ("hots", "did you mean `host`?"),
            ("port", "did you mean `ports`?"),
            ("Host", "did you mean `host`?"),
            (
                "credential",
                "keys: `host`, `ports`, `private` or `protocol`",
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(suggestion(name, &known, "keys:").unwrap(), expected);
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
