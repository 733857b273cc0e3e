//! The session's credentials, and the variables they come from, which are taken out of palisade's own environment at once.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStringExt;

use palisade_config::Effective;
use palisade_credential::{Credentials, Secret, SecretError, Source, VaultLogin};
use palisade_session::take_variable;

use crate::failure::Failure;

/// Prepares the credentials a policy defines. Called before anything is forked and before there is a second thread: what is
/// taken here is in no copy of the environment afterwards, neither in `/proc/PID/environ` nor in that of a child.
pub(crate) fn credentials(policy: &Effective) -> Result<Credentials, Failure> {
    if policy.credentials.is_empty() {
        return Ok(Credentials::none());
    }
    let names = variables(policy);
    let mut taken: BTreeMap<&str, Result<Secret, SecretError>> = BTreeMap::new();
    for name in names {
        let value = take_variable(name)
            .map_err(|error| Failure::new(format!("take the variable {name}: {error}")))?;
        // Set and empty is how scripts unset a variable.
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            taken.insert(name, Secret::new(value));
        }
    }
    let definitions = policy.credentials.iter();
    let definitions = definitions.map(|found| found.value.clone()).collect();
    let ask = |name: &str| {
        taken.remove(name).or_else(|| {
            // What programs that print secrets need to run, such as `PATH`: no secret, and left in its place.
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some(Secret::new(value.into_vec()))
        })
    };
    Credentials::new(definitions, ask).map_err(Failure::from)
}

/// The variables that credentials come from.
pub(crate) fn variables(policy: &Effective) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for definition in &policy.credentials {
        collect(&definition.value.source, &mut names);
    }
    names
}

/// The variables a source reads.
fn collect<'a>(source: &'a Source, names: &mut BTreeSet<&'a str>) {
    match source {
        Source::Environment(parts) => names.extend(parts.values().map(String::as_str)),
        Source::Vault(vault) => match &vault.login {
            VaultLogin::Token(token) => collect(token, names),
            VaultLogin::AppRole {
                role_id, secret_id, ..
            } => {
                collect(role_id, names);
                collect(secret_id, names);
            }
        },
        Source::OAuth2(client) => {
            collect(&client.client_id, names);
            collect(&client.client_secret, names);
        }
        Source::File(_) | Source::Command(_) | Source::Keyring { .. } => {}
    }
}
