//! All credentials of a session, and the conversations that fetch them.
//!
//! ```text
//! Credentials::begin ─▶ Fetch ─▶ Talk ┬ local: environment (at once), file, command, keyring (blocking)
//!                                     ├ vault:  [login ◀ local] ─▶ read
//!                                     └ oauth2: client id, client secret ◀ any ─▶ token
//! ```

mod command;
mod context;
mod error;
mod fetch;
mod file;
mod json;
mod keyring;
mod local;
mod oauth2;
mod process_json;
mod text;
mod validate;
mod vault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_policy::CredentialName;

use crate::definition::{Definition, Part, Source};
use crate::placeholder::{Placeholder, Placeholders};
use crate::secret::{Secret, SecretError};
use context::{Context, Surroundings};

pub use context::COMMAND_ENVIRONMENT;
pub use error::{CredentialsError, Failure, SourceError};
pub use fetch::{Answer, Fetch, HttpAsk, Step};

/// All credentials of a session: what the policy defines, the variables handed in, the placeholders.
pub struct Credentials {
    definitions: BTreeMap<CredentialName, Definition>,
    surroundings: Arc<Surroundings>,
    placeholders: Arc<Placeholders>,
    inner: Vec<(String, Placeholder)>,
}

impl Credentials {
    /// Prepares all credentials of a session. `environment` answers for a variable outside; it is asked
    /// once for each one that a definition names, and for those of [`COMMAND_ENVIRONMENT`] if a program is
    /// to be run. The answers are kept for renewals. Programs are looked up in `PATH` here and now, so that
    /// nothing that happens later can put another one in their place.
    ///
    /// A variable that is not set, or is empty, is no error here: the credential may never be needed. See
    /// [`Credentials::missing`]. A part that is optional and not there gets no placeholder either.
    ///
    /// # Errors
    /// A variable whose value cannot be a secret, two definitions of one name or of one variable inside, a
    /// definition that cannot work, a kernel without random bytes.
    pub fn new(
        definitions: Vec<Definition>,
        environment: impl FnMut(&str) -> Option<Result<Secret, SecretError>>,
    ) -> Result<Self, CredentialsError> {
        let definitions = validate::by_name(definitions)?;
        let surroundings = Surroundings::gather(&definitions, environment)?;
        let shown: Vec<_> = definitions
            .values()
            .map(|definition| (definition, shown_inside(definition, &surroundings)))
            .collect();
        let wanted: Vec<_> = shown
            .iter()
            .map(|(definition, shown)| (definition.name.clone(), shown))
            .collect();
        let (placeholders, inner) =
            Placeholders::make(&wanted).map_err(CredentialsError::Placeholders)?;
        drop(wanted);
        drop(shown);
        Ok(Self {
            definitions,
            surroundings: Arc::new(surroundings),
            placeholders: Arc::new(placeholders),
            inner,
        })
    }

    /// A session without credentials.
    pub fn none() -> Self {
        Self {
            definitions: BTreeMap::new(),
            surroundings: Arc::new(Surroundings::default()),
            placeholders: Arc::new(Placeholders::none()),
            inner: Vec::new(),
        }
    }

    /// A definition by its name.
    pub fn get(&self, name: &CredentialName) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// Begins to fetch a credential; none if there is none of that name.
    pub fn begin(&self, name: &CredentialName) -> Option<Fetch> {
        let definition = self.get(name)?;
        let context = Context {
            credential: name.clone(),
            surroundings: Arc::clone(&self.surroundings),
        };
        Some(Fetch::new(&context, definition))
    }

    /// What the agent sees in place of secrets.
    pub fn placeholders(&self) -> &Arc<Placeholders> {
        &self.placeholders
    }

    /// The variables inside, and the placeholder each one holds.
    pub fn inner_variables(&self) -> Vec<(String, Placeholder)> {
        self.inner.clone()
    }

    /// Credentials that cannot be fetched as things stand, because a variable is not set or a program is
    /// not to be found: for a note when the session starts.
    pub fn missing(&self) -> Vec<SourceError> {
        let context = |name: &CredentialName| Context {
            credential: name.clone(),
            surroundings: Arc::clone(&self.surroundings),
        };
        self.definitions
            .values()
            .flat_map(|definition| {
                let context = context(&definition.name);
                let missing = move |source| local::missing(&context, source);
                sources(&definition.source).into_iter().filter_map(missing)
            })
            .collect()
    }

    /// The files and programs that sources read. Whoever starts the session has to see to it that the agent
    /// can write none of them, nor a folder or link on the way to one.
    pub fn host_paths(&self) -> Vec<(&CredentialName, &Path)> {
        self.paths(|source| match source {
            Source::File(path) => Some(path),
            Source::Command(line) => self.program(line),
            _ => None,
        })
    }

    /// The files that hold a secret. The agent must not even see them.
    pub fn secret_files(&self) -> Vec<(&CredentialName, &Path)> {
        self.paths(|source| match source {
            Source::File(path) => Some(path),
            _ => None,
        })
    }

    fn paths<'a>(
        &'a self,
        path: impl Fn(&'a Source) -> Option<&'a PathBuf>,
    ) -> Vec<(&'a CredentialName, &'a Path)> {
        let mut paths = Vec::new();
        for (name, definition) in &self.definitions {
            for source in sources(&definition.source) {
                paths.extend(path(source).map(|path| (name, path.as_path())));
            }
        }
        paths
    }

    fn program(&self, line: &[String]) -> Option<&PathBuf> {
        self.surroundings.program(line.first()?)
    }
}

/// The parts of a definition that get a placeholder: all, but for optional ones that are not set outside.
fn shown_inside(definition: &Definition, surroundings: &Surroundings) -> BTreeMap<Part, String> {
    let there = |part: Part| match &definition.source {
        Source::Environment(variables) if part.optional() => variables
            .get(&part)
            .is_some_and(|variable| surroundings.variable(variable).is_some()),
        _ => true,
    };
    definition
        .placeholders
        .iter()
        .filter(|(part, _)| there(**part))
        .map(|(part, variable)| (*part, variable.clone()))
        .collect()
}

/// A source and those it draws on.
fn sources(source: &Source) -> Vec<&Source> {
    let mut all = vec![source];
    let mut next = 0;
    while let Some(source) = all.get(next) {
        let inner = source.inner();
        all.extend(inner);
        next += 1;
    }
    all
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
