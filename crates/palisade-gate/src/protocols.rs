//! What servers speak, as far as it was learned.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palisade_policy::Authority;
use palisade_tls::Alpn;

/// Servers remembered. An agent talks to some dozens; forgetting all of them costs a handshake each.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub(crate) struct Protocols(Mutex<HashMap<Authority, Alpn>>);

impl Protocols {
    pub(crate) fn get(&self, authority: &Authority) -> Option<Alpn> {
        self.lock().get(authority).copied()
    }

    pub(crate) fn put(&self, authority: &Authority, alpn: Alpn) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(authority.clone(), alpn);
    }

    /// It was otherwise than remembered.
    pub(crate) fn forget(&self, authority: &Authority) {
        self.lock().remove(authority);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Authority, Alpn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
