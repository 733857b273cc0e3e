//! What fetching needs from the outside, gathered once when the session starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_policy::CredentialName;

use super::error::{CredentialsError, Failure, SourceError};
use super::sources;
use crate::definition::{Definition, Source};
use crate::secret::{Secret, SecretError};

/// The variables a [`Source::Command`] gets, as far as they are set outside, and no others: what password
/// tools need to find their store, their agent and the desktop. `PATH` is cut to its absolute entries.
pub const COMMAND_ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "SSH_AUTH_SOCK",
];

/// `PATH` of a program if none is set outside.
const USUAL_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The variables, the command environment and the programs of a session.
#[derive(Default)]
pub(super) struct Surroundings {
    variables: BTreeMap<String, Secret>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    programs: BTreeMap<String, PathBuf>,
}

impl Surroundings {
    pub(super) fn gather(
        definitions: &BTreeMap<CredentialName, Definition>,
        mut ask: impl FnMut(&str) -> Option<Result<Secret, SecretError>>,
    ) -> Result<Self, CredentialsError> {
        let mut gathered = Self::default();
        let mut commands = Vec::new();
        for (name, definition) in definitions {
            for source in sources(&definition.source) {
                match source {
                    Source::Environment(variables) => {
                        for variable in variables.values() {
                            gathered.take_variable(name, variable, &mut ask)?;
                        }
                    }
                    Source::Command(line) => commands.extend(line.first()),
                    _ => {}
                }
            }
        }
        if !commands.is_empty() {
            gathered.take_environment(&mut ask);
            for program in commands {
                if let Some(path) = gathered.find_program(program) {
                    gathered.programs.insert(program.clone(), path);
                }
            }
        }
        Ok(gathered)
    }

    /// The value of a variable outside, if it is set.
    pub(super) fn variable(&self, variable: &str) -> Option<&Secret> {
        self.variables.get(variable)
    }

    /// Where a program was found.
    pub(super) fn program(&self, name: &str) -> Option<&PathBuf> {
        self.programs.get(name)
    }

    fn take_variable(
        &mut self,
        credential: &CredentialName,
        variable: &str,
        ask: &mut impl FnMut(&str) -> Option<Result<Secret, SecretError>>,
    ) -> Result<(), CredentialsError> {
        if self.variables.contains_key(variable) {
            return Ok(());
        }
        match ask(variable) {
            Some(Ok(secret)) => {
                self.variables.insert(variable.to_owned(), secret);
                Ok(())
            }
            // An empty variable is how scripts unset one.
            None | Some(Err(SecretError::Empty)) => Ok(()),
            Some(Err(reason)) => Err(CredentialsError::Variable {
                credential: credential.clone(),
                variable: variable.to_owned(),
                reason,
            }),
        }
    }

    fn take_environment(
        &mut self,
        ask: &mut impl FnMut(&str) -> Option<Result<Secret, SecretError>>,
    ) {
        for variable in COMMAND_ENVIRONMENT {
            if let Some(Ok(value)) = ask(variable) {
                let value = match *variable {
                    "PATH" => absolute_entries(value.expose()),
                    _ => value.expose().to_vec(),
                };
                let value = OsString::from_vec(value);
                self.environment.push((variable, value));
            }
        }
        if !self.environment.iter().any(|(name, _)| *name == "PATH") {
            let usual = OsString::from_vec(USUAL_PATH.to_vec());
            self.environment.push(("PATH", usual));
        }
    }

    fn find_program(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &Path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        if name.starts_with('/') {
            return Some(PathBuf::from(name)).filter(|path| runs(path));
        }
        let (_, path) = self.environment.iter().find(|(name, _)| *name == "PATH")?;
        path.as_bytes()
            .split(|b| *b == b':')
            .map(|folder| Path::new(OsStr::from_bytes(folder)).join(name))
            .find(|path| runs(path))
    }
}

/// A `PATH` without the entries that mean a folder under the current directory.
fn absolute_entries(path: &[u8]) -> Vec<u8> {
    let entries: Vec<&[u8]> = path
        .split(|b| *b == b':')
        .filter(|entry| entry.starts_with(b"/"))
        .collect();
    entries.join(&b':')
}

/// Whose fetch it is, and what it may draw on.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) credential: CredentialName,
    pub(super) surroundings: Arc<Surroundings>,
}

impl Context {
    /// An error: the source, as the subject of a sentence, and the rest of the sentence.
    pub(super) fn error(
        &self,
        source: impl Into<String>,
        failure: Failure,
        what: impl Into<String>,
    ) -> SourceError {
        SourceError {
            credential: self.credential.clone(),
            source: source.into(),
            failure,
            what: what.into(),
        }
    }

    /// Bytes that came out of a source, as a secret.
    pub(super) fn secret(&self, source: &str, bytes: Vec<u8>) -> Result<Secret, SourceError> {
        let failure = |error: SecretError| {
            self.error(
                source,
                Failure::Malformed,
                format!("yields no secret: {error}"),
            )
        };
        Secret::new(bytes).map_err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_to_its_absolute_entries() {
        assert_eq!(absolute_entries(b"/a::.:bin:/b"), b"/a:/b");
        assert_eq!(absolute_entries(b"."), b"");
    }
}
