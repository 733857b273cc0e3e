//! Trust stores of Java virtual machines.
//!
//! A virtual machine reads `lib/security/cacerts` below its own folder and knows no variable, but for an option that makes
//! it print a line (`JAVA_TOOL_OPTIONS`). So the file is covered. What it is covered with is a Java key store, the one
//! format that every version reads whatever the file's name promises (`keystore.type.compat`, JEP 229).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use palisade_protocol::TreeEntry;
use sha1::{Digest as _, Sha1};

use super::{BUNDLE_LIMIT, file, pem, place_inside};
use crate::system::on_host;

/// Where distributions keep one store for all machines: Debian and Red Hat.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"];
/// Folders of which each entry is a virtual machine.
const MACHINES: [&str; 2] = ["/usr/lib/jvm", "/opt"];
/// The store of a machine, from version 9 on and before.
const WITHIN: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];

/// What a Java key store begins with: a magic number and version 2 (`sun.security.provider.JavaKeyStore`).
const HEAD: [u8; 8] = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
/// The digest at its end.
const DIGEST: usize = 20;
/// The password every such store has; it holds nothing secret. `keytool` asks for it.
const PASSWORD: &str = "changeit";

/// A store of the host's, where it appears inside.
#[derive(Clone, Debug)]
pub(super) struct Store {
    place: PathBuf,
    content: Vec<u8>,
}

/// The stores of all virtual machines that are shown. Mostly they are links to one.
pub(super) fn stores(host: &Path) -> io::Result<Vec<Store>> {
    let mut found: Vec<Store> = Vec::new();
    for path in candidates(host) {
        let Ok(real) = on_host(host, &path).canonicalize() else {
            continue;
        };
        let place = place_inside(host, &path, &real);
        if found.iter().any(|store| store.place == place) || !real.is_file() {
            continue;
        }
        let size = fs::metadata(&real)?.len();
        if size > BUNDLE_LIMIT {
            let message = format!("trust store {} has {size} bytes", real.display());
            return Err(io::Error::other(message));
        }
        let content = fs::read(&real)?;
        found.push(Store { place, content });
    }
    Ok(found)
}

fn candidates(host: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    for folder in MACHINES {
        // Most hosts have no such folder, or none that may be read.
        for entry in fs::read_dir(on_host(host, Path::new(folder)))
            .into_iter()
            .flatten()
            .flatten()
        {
            let machine = Path::new(folder).join(entry.file_name());
            paths.extend(WITHIN.iter().map(|within| machine.join(within)));
        }
    }
    paths
}

impl Store {
    /// The file to cover it with: its own certificates and the added ones. A store of another format (PKCS #12) is
    /// replaced by one of the host's bundle.
    pub(super) fn cover(&self, bundle: &[u8], extra_pem: &[u8]) -> Option<TreeEntry> {
        let content = match self.certificates() {
            Some((count, certificates)) => key_store(count, certificates, extra_pem),
            None => key_store(0, &[], bundle),
        };
        Some(file(&self.place, content))
    }

    /// How many entries it has, and their bytes.
    fn certificates(&self) -> Option<(u32, &[u8])> {
        let rest = self.content.strip_prefix(&HEAD)?;
        let (count, rest) = rest.split_first_chunk()?;
        let entries = rest.len().checked_sub(DIGEST)?;
        Some((u32::from_be_bytes(*count), &rest[..entries]))
    }
}

/// A key store of `count` entries that are there already and one for each certificate of `more`.
fn key_store(count: u32, entries: &[u8], more: &[u8]) -> Vec<u8> {
    let mut store = Vec::with_capacity(HEAD.len() + 4 + entries.len() + more.len() + DIGEST);
    store.extend_from_slice(&HEAD);
    let at = store.len();
    store.extend_from_slice(&count.to_be_bytes());
    store.extend_from_slice(entries);
    let mut count = count;
    for certificate in pem::certificates(more) {
        put_trusted(&mut store, &format!("palisade-{count}"), &certificate);
        count += 1;
    }
    store[at..at + 4].copy_from_slice(&count.to_be_bytes());
    let digest = digest(&store);
    store.extend_from_slice(&digest);
    store
}

/// A trusted certificate: tag 2, name, time of creation, type, length, DER.
fn put_trusted(store: &mut Vec<u8>, name: &str, certificate: &[u8]) {
    store.extend_from_slice(&2u32.to_be_bytes());
    put_text(store, name);
    store.extend_from_slice(&[0; 8]);
    put_text(store, "X.509");
    // A bundle of at most 8 MiB holds no certificate whose length would not fit.
    let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
    store.extend_from_slice(&length.to_be_bytes());
    store.extend_from_slice(certificate);
}

/// `DataOutput.writeUTF`, for short ASCII.
fn put_text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    store.extend_from_slice(&length.to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

/// SHA-1 of the password in UTF-16, a whitener, and the store. Nothing rests on it: it finds accidents.
fn digest(store: &[u8]) -> [u8; DIGEST] {
    let mut digest = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(b"Mighty Aphrodite");
    digest.update(store);
    digest.finalize().into()
}
