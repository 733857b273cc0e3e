//! Fetching one credential, as a conversation without I/O of its own.

use std::collections::BTreeMap;

use palisade_policy::Authority;
use zeroize::Zeroizing;

use super::error::SourceError;
use crate::definition::Part;
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
    Local(Result<BTreeMap<Part, Secret>, SourceError>),
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
pub struct Fetch {}

impl Fetch {
    pub(super) fn new() -> Self {
        Self {}
    }

    /// Goes on: first with `None`, then with the answer to each [`Step`].
    ///
    /// # Errors
    /// The source did not yield the credential. The fetch is over then.
    pub fn next(&mut self, answer: Option<Answer>) -> Result<Step, SourceError> {
        let _ = answer;
        Ok(Step::Done(Material::new(BTreeMap::new(), None)))
    }
}
