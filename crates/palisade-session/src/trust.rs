//! What is trusted on both sides of the gate: inside, the session's own authority beside the host's roots and the
//! operator's; at the gate, the host's roots and the operator's.

use std::io;
use std::path::Path;

use palisade_gate::{AuthorityError, ConstrainedName, SessionAuthority, TlsConfig};
use palisade_policy::{Host, HostPattern};
use palisade_protocol::TreeEntry;
use palisade_workspace::{HostTrust, TreeError};

use crate::SessionId;

/// Both sides.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// For the gate: what it ends TLS with.
    pub(crate) authority: Option<SessionAuthority>,
    /// For the gate: what it verifies servers with, PEM.
    pub(crate) roots: Vec<u8>,
    /// For the inside: files with the added roots. Empty if none are added.
    pub(crate) tree: Vec<TreeEntry>,
    /// Whether the inside has a system store that they were added to.
    pub(crate) in_store: bool,
}

/// What a session trusts depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The session's name.
    pub(crate) session: &'a SessionId,
    /// The hosts whose TLS the gate may have to end.
    pub(crate) intercepted: &'a [&'a HostPattern],
    /// The operator's own roots, PEM.
    pub(crate) extra_ca: &'a str,
    /// Whether the inside's system is that of an image.
    pub(crate) image: bool,
    /// Whether the gate itself connects to servers: for interception, or to fetch a credential.
    pub(crate) gate_connects: bool,
}

/// Why no authority could be made, or no bundle read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The session's authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The host's bundle.
    #[error(transparent)]
    Bundle(#[from] TreeError),
}

impl Trust {
    /// Makes the authority and reads the host's bundle, as far as they are needed. A session that adds no root and ends
    /// no TLS reads nothing. `host` is the root of the host's file system.
    pub(crate) fn new(host: &Path, wanted: &Wanted<'_>) -> Result<Self, TrustError> {
        let intercepts = !wanted.intercepted.is_empty();
        if !intercepts && wanted.extra_ca.is_empty() && !wanted.gate_connects {
            return Ok(Self::default());
        }
        let authority = intercepts.then(|| {
            let names: Vec<_> = wanted.intercepted.iter().copied().map(name).collect();
            SessionAuthority::new(wanted.session.as_str(), &names)
        });
        let authority = authority.transpose()?;
        let found = HostTrust::read(host).map_err(unreadable)?;
        let own = authority.as_ref().map_or("", |own| own.certificate_pem());
        let connects = intercepts || wanted.gate_connects;
        let added = format!("{}{own}", wanted.extra_ca);
        Ok(Self {
            roots: if connects {
                [found.bundle(), wanted.extra_ca.as_bytes()].concat()
            } else {
                Vec::new()
            },
            tree: if wanted.image {
                found.tree_of_image(added.as_bytes())
            } else {
                found.tree(added.as_bytes())
            },
            in_store: wanted.image || found.has_store(),
            authority,
        })
    }

    /// The gate's part, to be handed over.
    pub(crate) fn take_gate_part(&mut self) -> TlsConfig {
        TlsConfig {
            authority: self.authority.take(),
            roots: std::mem::take(&mut self.roots),
        }
    }
}

fn unreadable(cause: io::Error) -> TreeError {
    TreeError {
        path: "/etc/ssl".into(),
        cause,
    }
}

/// A wildcard covers the name it stands below too (RFC 5280, section 4.2.1.10, knows no narrower form); the gate never
/// signs for that one, since the policy does not match it.
fn name(pattern: &HostPattern) -> ConstrainedName {
    match pattern {
        HostPattern::Exact(Host::Name(name)) | HostPattern::Below(name) => {
            ConstrainedName::Name(name.as_str().to_owned())
        }
        HostPattern::Exact(Host::Ip(address)) => ConstrainedName::Address(*address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn trust(intercepted: &[&str], extra_ca: &str, gate_connects: bool) -> Trust {
        let host = tempfile::tempdir().unwrap();
        let certs = host.path().join("etc/ssl/certs");
        std::fs::create_dir_all(&certs).unwrap();
        std::fs::write(certs.join("ca-certificates.crt"), "PUBLIC\n").unwrap();
        let session = SessionId::new(SystemTime::now(), 7);
        let patterns: Vec<_> = intercepted
            .iter()
            .map(|text| HostPattern::parse(text).unwrap())
            .collect();
        let wanted = Wanted {
            session: &session,
            intercepted: &patterns.iter().collect::<Vec<_>>(),
            extra_ca,
            image: false,
            gate_connects,
        };
        Trust::new(host.path(), &wanted).unwrap()
    }

    fn text_inside(trust: &Trust, at: &str) -> String {
        let content = trust.tree.iter().find_map(|entry| match entry {
            TreeEntry::File { path, content } if path == Path::new(at) => Some(content.clone()),
            _ => None,
        });
        String::from_utf8(content.unwrap()).unwrap()
    }

    #[test]
    fn nothing_is_made_that_is_not_needed() {
        let plain = trust(&[], "", false);
        assert!(plain.authority.is_none() && plain.roots.is_empty() && plain.tree.is_empty());
        let fetches = trust(&[], "", true);
        assert_eq!(fetches.roots, b"PUBLIC\n");
        assert!(fetches.tree.is_empty() && fetches.authority.is_none());
        let corporate = trust(&[], "CORP\n", false);
        assert!(corporate.authority.is_none() && corporate.roots.is_empty());
        assert_eq!(
            text_inside(&corporate, palisade_workspace::EXTRA_ROOTS),
            "CORP\n"
        );
    }

    #[test]
    fn the_gate_never_verifies_servers_with_the_sessions_own_authority() {
        let trust = trust(
            &["api.example.com", "*.example.org", "192.0.2.1"],
            "CORP\n",
            false,
        );
        assert_eq!(trust.roots, b"PUBLIC\nCORP\n");
        let own = trust.authority.as_ref().unwrap().certificate_pem();
        let extra = text_inside(&trust, palisade_workspace::EXTRA_ROOTS);
        assert_eq!(extra, format!("CORP\n{own}"));
        let bundle = text_inside(&trust, "/etc/ssl/certs/ca-certificates.crt");
        assert_eq!(bundle, format!("PUBLIC\nCORP\n{own}"));
    }
}
