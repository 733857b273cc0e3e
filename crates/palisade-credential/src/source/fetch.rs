//! Fetching one credential, as a conversation without I/O of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_policy::Authority;
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::local::Local;
use super::{oauth2, vault};
use crate::definition::{Definition, Injection, Part, Source};
use crate::material::Material;
use crate::secret::Secret;

/// What has to be done next to fetch a credential.
pub enum Step {
    /// Run this where blocking is fine; it ends by itself (see the limits of each source).
    Blocking(Box<dyn FnOnce() -> Answer + Send>),
    /// Make this HTTP request.
    Http(HttpAsk),
    /// It is there.
    Done(Material),
}

/// What came of a [`Step`].
pub enum Answer {
    /// A response came, of whatever status.
    Http {
        /// Its status.
        status: u16,
        /// Its body, content codings undone, at most [`HttpAsk::MAX_ANSWER`] bytes.
        body: Zeroizing<Vec<u8>>,
    },
    /// A blocking step's own answer.
    Local(Result<Material, SourceError>),
    /// No response came: which operation failed, and why. It must not hold anything of the request.
    Failed(String),
}

/// An HTTP request to a server of secrets. The maker adds `host`, `content-length`, `connection` and nothing
/// else, verifies the server's certificate, and follows no redirect.
pub struct HttpAsk {
    /// Whether to speak TLS.
    pub secure: bool,
    /// Where to.
    pub authority: Authority,
    /// The method.
    pub method: &'static str,
    /// Path and query. There is never a secret in it.
    pub target: String,
    /// Header fields, names in lower case. Values may be secret.
    pub fields: Vec<(&'static str, Zeroizing<Vec<u8>>)>,
    /// The body. May be secret.
    pub body: Zeroizing<Vec<u8>>,
}

impl HttpAsk {
    /// Longest answer that is read: a KV secret with many fields, a JWT of the longest kind.
    pub const MAX_ANSWER: usize = 256 * 1024;
}

/// One credential being fetched.
pub struct Fetch {
    context: Context,
    ttl: Option<Duration>,
    talk: Talk,
}

impl Fetch {
    pub(super) fn new(context: &Context, definition: &Definition) -> Self {
        let reading = match definition.injection {
            Injection::AwsSigV4 => Reading::AwsProcess,
            _ => Reading::Plain,
        };
        Self {
            context: context.clone(),
            ttl: definition.ttl,
            talk: Talk::new(context, &definition.source, reading),
        }
    }

    /// Goes on: first with `None`, then with the answer to each [`Step`].
    ///
    /// # Errors
    /// The source did not yield the credential. The fetch is over then.
    pub fn next(&mut self, answer: Option<Answer>) -> Result<Step, SourceError> {
        match self.talk.next(&self.context, answer)? {
            Step::Done(material) => Ok(Step::Done(material.bounded(self.ttl))),
            step => Ok(step),
        }
    }
}

/// How the bytes of a file, a program or a keyring entry are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All of them are the value.
    Plain,
    /// They are what an AWS `credential_process` prints.
    AwsProcess,
}

/// The conversation with one source.
pub(super) enum Talk {
    Local(Local),
    Vault(Box<vault::Conversation>),
    OAuth2(Box<oauth2::Conversation>),
}

impl Talk {
    pub(super) fn new(context: &Context, source: &Source, reading: Reading) -> Self {
        match source {
            Source::Environment(_)
            | Source::File(_)
            | Source::Command(_)
            | Source::Keyring { .. } => Self::Local(Local::new(source, reading)),
            Source::Vault(source) => {
                Self::Vault(Box::new(vault::Conversation::new(context, source)))
            }
            Source::OAuth2(source) => {
                Self::OAuth2(Box::new(oauth2::Conversation::new(context, source)))
            }
        }
    }

    pub(super) fn next(
        &mut self,
        context: &Context,
        answer: Option<Answer>,
    ) -> Result<Step, SourceError> {
        match self {
            Self::Local(local) => local.next(context, answer),
            Self::Vault(vault) => vault.next(context, answer),
            Self::OAuth2(oauth2) => oauth2.next(context, answer),
        }
    }
}

/// The values that a source draws on, fetched one after the other.
pub(super) struct Gather {
    waiting: Vec<(Part, Talk)>,
    have: BTreeMap<Part, Secret>,
}

impl Gather {
    /// Fetches the value of each source and keeps it under the given part.
    pub(super) fn new(context: &Context, sources: &[(Part, &Source)]) -> Self {
        let talk =
            |(part, source): &(Part, &Source)| (*part, Talk::new(context, source, Reading::Plain));
        Self {
            // Taken from the end.
            waiting: sources.iter().rev().map(talk).collect(),
            have: BTreeMap::new(),
        }
    }

    /// Goes on; none when all are there.
    pub(super) fn next(
        &mut self,
        context: &Context,
        mut answer: Option<Answer>,
    ) -> Result<Option<Step>, SourceError> {
        while let Some((part, talk)) = self.waiting.last_mut() {
            match talk.next(context, answer.take())? {
                Step::Done(material) => {
                    let part = *part;
                    let value = material.into_parts().remove(&Part::Value);
                    self.have.extend(value.map(|value| (part, value)));
                    self.waiting.pop();
                }
                step => return Ok(Some(step)),
            }
        }
        Ok(None)
    }

    /// One of the values.
    pub(super) fn value(&self, context: &Context, part: Part) -> Result<&Secret, SourceError> {
        let missing = || context.error("one of its sources", Failure::Missing, "yielded nothing");
        self.have.get(&part).ok_or_else(missing)
    }
}

/// The error of a conversation that got an answer it did not wait for: a mistake of the caller.
pub(super) fn out_of_turn(context: &Context, source: impl Into<String>) -> SourceError {
    context.error(
        source,
        Failure::Unavailable,
        "got an answer that nothing had asked for",
    )
}
