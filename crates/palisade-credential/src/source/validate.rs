//! Definitions that cannot work are refused when the session starts, not when a request needs them.

use std::collections::BTreeMap;
use std::path::Path;

use palisade_policy::CredentialName;

use super::CredentialsError;
use crate::definition::{Definition, Injection, Part, Source};

/// How deep sources may draw on sources: an OAuth2 client secret in a Vault that is logged in to with a role
/// from a file has three.
const DEEPEST: usize = 3;

/// The definitions by name, each checked.
pub(super) fn by_name(
    definitions: Vec<Definition>,
) -> Result<BTreeMap<CredentialName, Definition>, CredentialsError> {
    let mut checked = BTreeMap::new();
    let mut variables: BTreeMap<String, CredentialName> = BTreeMap::new();
    for definition in definitions {
        check(&definition)?;
        for variable in definition.placeholders.values() {
            if let Some(first) = variables.insert(variable.clone(), definition.name.clone()) {
                return Err(CredentialsError::VariableTwice {
                    variable: variable.clone(),
                    first,
                    second: definition.name,
                });
            }
        }
        if checked.contains_key(&definition.name) {
            return Err(CredentialsError::Twice(definition.name));
        }
        checked.insert(definition.name.clone(), definition);
    }
    Ok(checked)
}

fn check(definition: &Definition) -> Result<(), CredentialsError> {
    let signs = matches!(definition.injection, Injection::AwsSigV4);
    let needed: &[Part] = if signs {
        &[Part::AccessKey, Part::SecretKey]
    } else {
        &[Part::Value]
    };
    let lacking = needed
        .iter()
        .find(|part| !yields(&definition.source, **part, signs));
    if let Some(part) = lacking {
        return Err(CredentialsError::Part {
            credential: definition.name.clone(),
            part: *part,
        });
    }
    check_source(&definition.source, 0).map_err(|reason| CredentialsError::Definition {
        credential: definition.name.clone(),
        reason,
    })
}

/// Whether a source can yield a part. What a file, program or keyring entry holds is read as AWS's
/// `credential_process` output when the injection signs.
fn yields(source: &Source, part: Part, signs: bool) -> bool {
    match source {
        Source::Environment(variables) => variables.contains_key(&part),
        Source::Vault(vault) => vault.fields.contains_key(&part),
        Source::File(_) | Source::Command(_) | Source::Keyring { .. } => {
            signs || part == Part::Value
        }
        Source::OAuth2(_) => part == Part::Value,
    }
}

fn check_source(source: &Source, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!(
            "its sources draw on each other more than {DEEPEST} deep"
        ));
    }
    check_own(source)?;
    for inner in source.inner() {
        if !yields(inner, Part::Value, false) {
            return Err(format!(
                "the {} source that its {} source draws on yields no value",
                inner.kind(),
                source.kind()
            ));
        }
        check_source(inner, depth + 1)?;
    }
    Ok(())
}

fn check_own(source: &Source) -> Result<(), String> {
    match source {
        Source::File(path) if !path.is_absolute() => {
            Err(format!("{} is no absolute path", path.display()))
        }
        Source::Command(line) => match line.first() {
            None => Err("its command is empty".to_owned()),
            Some(program) if program.is_empty() => Err("its command has no program".to_owned()),
            Some(program) if program.contains('/') && !Path::new(program).is_absolute() => Err(
                format!("{program} is neither a plain name nor an absolute path"),
            ),
            Some(_) if line.iter().any(|word| word.contains('\0')) => {
                Err("its command holds a NUL byte".to_owned())
            }
            Some(_) => Ok(()),
        },
        Source::Vault(vault) => {
            let parts = [vault.mount.as_str(), vault.path.as_str()];
            let dotted = |text: &str| text.split('/').any(|s| matches!(s, "" | "." | ".."));
            match parts.into_iter().find(|text| dotted(text)) {
                Some(text) => Err(format!(
                    "`{text}` is no path of the vault: an empty or dotted segment"
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
