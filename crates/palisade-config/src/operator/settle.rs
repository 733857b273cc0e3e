//! What can only be said of the operator's layer as a whole: which credentials there are, who uses them, and what of them
//! would reach the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use palisade_credential::{Definition, Source};
use palisade_policy::{CredentialName, FileAccess, HostPattern, Rule};
use palisade_workspace::{SESSION_VARIABLES, WorkspaceAccess};

use super::Draft;
use super::files::not_the_workspace;
use super::siblings::meet;
use crate::effective::Sourced;
use crate::error::PolicyError;
use crate::parse::suggestion;
use crate::profile;

/// A credential, and where its words stand.
#[derive(Debug)]
pub(crate) struct Written {
    pub definition: Sourced<Definition>,
    /// Errors without words, at the place of the name and of the placeholder.
    pub at_name: PolicyError,
    pub at_placeholder: PolicyError,
}

/// Checks what all parts together say.
pub(crate) fn settle(draft: &mut Draft, workspace: &Path) -> Result<(), PolicyError> {
    withhold(draft);
    not_the_workspace(draft, workspace)?;
    credentials_exist(draft)?;
    placeholders(draft)?;
    secrets_stay_outside(draft)?;
    sources_stay_outside(draft, workspace)?;
    let notes = notes(draft);
    draft.notes.extend(notes);
    Ok(())
}

/// Takes out what a profile gives and another part withholds.
fn withhold(draft: &mut Draft) {
    let Draft {
        pass,
        withheld,
        shown,
        withheld_paths,
        ..
    } = draft;
    pass.retain(|name, source| !(withheld.contains(name) && profile::is_profile(source)));
    shown.retain(|shown| {
        let below = |path: &PathBuf| shown.path.written.starts_with(path);
        !(profile::is_profile(&shown.source) && withheld_paths.iter().any(below))
    });
}

/// Each credential that a rule names is defined.
fn credentials_exist(draft: &Draft) -> Result<(), PolicyError> {
    let missing = draft
        .wanted
        .iter()
        .find(|(name, _)| !draft.credentials.contains_key(name));
    let Some((name, place)) = missing else {
        return Ok(());
    };
    let known: Vec<&str> = draft
        .credentials
        .keys()
        .map(CredentialName::as_str)
        .collect();
    let hint = suggestion(name.as_str(), &known, "the credentials here are");
    let hint = hint.unwrap_or_else(|| format!("define it in `[credentials.{name}]`"));
    Err(place
        .clone()
        .saying(format!("there is no credential `{name}`"))
        .hint(hint))
}

/// Whether programs inside read a variable for something else: who they are, where the gate is, whom to trust. A random text in
/// it would break them.
fn is_taken(variable: &str) -> bool {
    SESSION_VARIABLES.iter().any(|(name, _)| *name == variable)
        || variable == "TERM"
        || variable.starts_with("LD_")
        || variable.to_ascii_lowercase().ends_with("_proxy")
}

/// A variable that holds a placeholder holds nothing else.
fn placeholders(draft: &mut Draft) -> Result<(), PolicyError> {
    let mut taken: BTreeMap<&str, &CredentialName> = BTreeMap::new();
    let mut given_way = Vec::new();
    for (name, written) in &draft.credentials {
        for variable in written.definition.value.placeholders.values() {
            let place = || written.at_placeholder.clone();
            if is_taken(variable) {
                let message = format!(
                    "{variable} says something else to programs inside, and cannot hold a placeholder"
                );
                let hint = "name the variable that the tool reads its token from";
                return Err(place().saying(message).hint(hint));
            }
            if let Some(other) = taken.insert(variable, name) {
                return Err(place().saying(format!(
                    "{variable} holds the placeholder of `{other}` and cannot hold that of `{name}` as well"
                )));
            }
            if let Some(set) = draft.set.get(variable) {
                return Err(place().saying(format!(
                    "{variable} is to hold a placeholder, and is set by {}",
                    set.source
                )));
            }
            match draft.pass.get(variable) {
                Some(source) if profile::is_profile(source) => given_way.push(variable.clone()),
                Some(source) => {
                    return Err(place().saying(format!(
                        "{variable} is to hold a placeholder, and is taken over from outside by {source}"
                    )));
                }
                None => {}
            }
        }
    }
    draft.pass.retain(|name, _| !given_way.contains(name));
    Ok(())
}

/// A variable that holds a secret outside is not handed in.
fn secrets_stay_outside(draft: &mut Draft) -> Result<(), PolicyError> {
    let mut given_way = Vec::new();
    for (name, written) in &draft.credentials {
        for source in sources(&written.definition.value.source) {
            let Source::Environment(variables) = source else {
                continue;
            };
            for variable in variables.values() {
                match draft.pass.get(variable) {
                    Some(source) if profile::is_profile(source) => given_way.push(variable.clone()),
                    Some(source) => {
                        return Err(written.at_name.clone().saying(format!(
                            "{variable} holds the secret of `{name}`, and {source} hands it to the agent"
                        )));
                    }
                    None => {}
                }
            }
        }
    }
    draft.pass.retain(|name, _| !given_way.contains(name));
    Ok(())
}

/// A file that holds a secret, or a program that gives one, does not lie where the agent can read or change it.
fn sources_stay_outside(draft: &Draft, workspace: &Path) -> Result<(), PolicyError> {
    // What is reviewed lands as well, in the end.
    let write = draft
        .access
        .as_ref()
        .is_none_or(|access| access.value >= WorkspaceAccess::Review);
    let shown = |path: &Path, writable: bool| {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let by_workspace = real.starts_with(workspace) && (write || !writable);
        let by_rule = draft.shown.iter().find(|shown| {
            real.starts_with(&shown.path.real) && (shown.access == FileAccess::Write || !writable)
        });
        match by_rule {
            Some(shown) => Some(shown.source.to_string()),
            None => by_workspace.then(|| "the workspace".to_owned()),
        }
    };
    for (name, written) in &draft.credentials {
        for source in sources(&written.definition.value.source) {
            let (path, writable, what) = match source {
                Source::File(path) => (path.as_path(), false, "read its secret"),
                Source::Command(argv) => match argv.first() {
                    Some(program) if program.contains('/') => {
                        (Path::new(program), true, "change its program")
                    }
                    _ => continue,
                },
                _ => continue,
            };
            if let Some(by) = shown(path, writable) {
                let message = format!(
                    "the agent could {what}: {} of `{name}` is shown to it by {by}",
                    path.display()
                );
                return Err(written.at_name.clone().saying(message));
            }
        }
    }
    Ok(())
}

/// A source and those that it needs itself.
fn sources(source: &Source) -> Vec<&Source> {
    let mut all = source.inner();
    all.push(source);
    all
}

/// What a person should know of credentials and rules.
fn notes(draft: &Draft) -> Vec<String> {
    let used: BTreeSet<&CredentialName> = draft
        .allow
        .iter()
        .filter_map(|rule| rule.credential.as_ref())
        .collect();
    let unused = draft
        .credentials
        .iter()
        .filter(|(name, _)| !used.contains(name))
        .map(|(name, written)| {
            let source = &written.definition.source;
            format!("{source}: no rule uses the credential `{name}`")
        });
    let broad = draft.allow.iter().filter_map(|rule| {
        let (name, HostPattern::Below(_)) = (rule.credential.as_ref()?, &rule.pattern) else {
            return None;
        };
        Some(format!(
            "{}: every host of {} is sent the credential `{name}`",
            rule.source, rule.pattern
        ))
    });
    unused
        .chain(broad)
        .chain(never_asked(&draft.allow))
        .collect()
}

/// Credentials of rules that another rule always comes before.
fn never_asked(rules: &[Rule]) -> Vec<String> {
    let mut first: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
    let mut notes = Vec::new();
    let whole =
        |rule: &&Rule| rule.methods.is_none() && rule.paths.is_none() && rule.credential.is_some();
    for rule in rules.iter().filter(whole) {
        let earlier = first.entry(rule.pattern.to_string()).or_default();
        let covers =
            |other: &&&Rule| other.protocol == rule.protocol && meet(&other.ports, &rule.ports);
        match earlier.iter().find(covers) {
            Some(other) if other.credential != rule.credential => notes.push(format!(
                "{}: {} adds another credential to every request to {} first",
                rule.source, other.source, rule.pattern
            )),
            _ => earlier.push(rule),
        }
    }
    notes
}
