//! The certificates that programs inside trust, where the session adds some: its own authority, the operator's roots.
//!
//! No single place reaches every program. So there is one combined bundle (public roots and the added ones) over the
//! files of the system's store, for programs that read those; the same bundle and the added roots alone at fixed paths, for
//! the variables of programs that carry their own roots; a trust store for Java virtual machines; and policies for browsers.

mod browser;
mod java;
mod pem;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use palisade_protocol::TreeEntry;

use crate::system::on_host;

/// Public roots and the added ones, for programs that are told of one bundle by a variable (`SSL_CERT_FILE`).
pub const TRUST_BUNDLE: &str = "/etc/palisade/ca.pem";

/// The added roots alone, for programs that add a file to theirs (`NODE_EXTRA_CA_CERTS`).
pub const EXTRA_ROOTS: &str = "/etc/palisade/extra-ca.pem";

/// A folder of PHP settings that name the bundle, for a host without a system store.
pub const PHP_SETTINGS: &str = "/etc/palisade/php";

/// Settings of wget that name the bundle, for a host without a system store.
pub const WGET_SETTINGS: &str = "/etc/palisade/wgetrc";

/// Where distributions keep the bundle: Debian, Red Hat, Alpine and SUSE. Programs without a variable read these alone.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// The largest bundle read. Mozilla's list with all comments is 0.25 MB.
const BUNDLE_LIMIT: u64 = 8 << 20;

/// What the host itself trusts.
#[derive(Clone, Debug)]
pub struct HostTrust {
    bundle: Vec<u8>,
    /// Where the bundle appears inside, links resolved.
    shown: Vec<PathBuf>,
    java: Vec<java::Store>,
}

impl HostTrust {
    /// Reads the host's certificate bundle. `host` is the root of its file system, `/` outside tests.
    ///
    /// # Errors
    /// The bundle exists and cannot be read, or is absurdly large.
    pub fn read(host: &Path) -> io::Result<Self> {
        let mut shown: Vec<PathBuf> = Vec::new();
        let mut bundle = Vec::new();
        for path in BUNDLES {
            let Ok(real) = on_host(host, Path::new(path)).canonicalize() else {
                continue;
            };
            if bundle.is_empty() {
                bundle = read_bundle(&real)?;
            }
            let inside = place_inside(host, Path::new(path), &real);
            if !shown.contains(&inside) {
                shown.push(inside);
            }
        }
        if !bundle.is_empty() && !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
        Ok(Self {
            bundle,
            shown,
            java: java::stores(host)?,
        })
    }

    /// The host's bundle, PEM. Empty where it has none.
    pub fn bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// Whether the host has a system store, which [`HostTrust::tree`] then covers. Where it has none, programs that have
    /// no variable of their own need [`PHP_SETTINGS`] and [`WGET_SETTINGS`].
    pub fn has_store(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Files that add `extra_pem` to what the host trusts; no file at all if `extra_pem` is empty.
    ///
    /// Each bundle the host has is covered where it really lies, so that links to it lead to the new one.
    pub fn tree(&self, extra_pem: &[u8]) -> Vec<TreeEntry> {
        if extra_pem.is_empty() {
            return Vec::new();
        }
        let bundle = [&self.bundle, extra_pem].concat();
        let mut entries = vec![file(EXTRA_ROOTS, extra_pem.to_vec())];
        for store in &self.java {
            entries.extend(store.cover(&bundle, extra_pem));
        }
        entries.extend(browser::policies(extra_pem));
        if !self.has_store() {
            entries.extend(settings());
        }
        match self.shown.split_first() {
            // One copy of the bundle is enough where every name leads to it.
            Some((first, more)) => {
                entries.push(TreeEntry::Symlink {
                    path: TRUST_BUNDLE.into(),
                    target: first.clone(),
                });
                entries.extend(more.iter().map(|path| file(path, bundle.clone())));
                entries.push(file(first, bundle));
            }
            None => entries.push(file(TRUST_BUNDLE, bundle)),
        }
        entries
    }
}

impl HostTrust {
    /// The same for the root of an image, which nobody has looked into: the bundle lies at every place where some distribution
    /// keeps it. A virtual machine for Java has its own store in a place of the image's choice, which is left alone.
    pub fn tree_of_image(&self, extra_pem: &[u8]) -> Vec<TreeEntry> {
        if extra_pem.is_empty() {
            return Vec::new();
        }
        let bundle = [&self.bundle, extra_pem].concat();
        let mut entries = vec![file(EXTRA_ROOTS, extra_pem.to_vec())];
        let is_file = |entry: &TreeEntry| matches!(entry, TreeEntry::File { .. });
        entries.extend(browser::policies(extra_pem).into_iter().filter(is_file));
        let places = BUNDLES.into_iter().chain([TRUST_BUNDLE]);
        entries.extend(places.map(|place| file(place, bundle.clone())));
        entries
    }
}

/// [`HostTrust::read`] and [`HostTrust::tree`] in one, for who needs nothing else of them.
///
/// # Errors
/// As [`HostTrust::read`].
pub fn trust_tree(host: &Path, extra_pem: &[u8]) -> io::Result<Vec<TreeEntry>> {
    if extra_pem.is_empty() {
        return Ok(Vec::new());
    }
    Ok(HostTrust::read(host)?.tree(extra_pem))
}

/// What a program reads that has no variable for a bundle, where there is no system store to cover.
fn settings() -> [TreeEntry; 2] {
    let php = format!("openssl.cafile={TRUST_BUNDLE}\ncurl.cainfo={TRUST_BUNDLE}\n");
    let wget = format!("ca_certificate = {TRUST_BUNDLE}\n");
    [
        file(format!("{PHP_SETTINGS}/palisade.ini"), php.into()),
        file(WGET_SETTINGS, wget.into()),
    ]
}

/// Where a file that the host has at `written`, and really at `real`, appears inside. A link that leads out of what is
/// shown is shown as the file it leads to (see `system`), so there it is the written path.
fn place_inside(host: &Path, written: &Path, real: &Path) -> PathBuf {
    let inside = Path::new("/").join(real.strip_prefix(host).unwrap_or(real));
    let shown = ["/etc", "/usr", "/opt", "/nix/store", "/gnu/store"];
    if shown.iter().any(|folder| inside.starts_with(folder)) {
        inside
    } else {
        written.to_path_buf()
    }
}

fn file(path: impl Into<PathBuf>, content: Vec<u8>) -> TreeEntry {
    TreeEntry::File {
        path: path.into(),
        content,
    }
}

fn read_bundle(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > BUNDLE_LIMIT {
        return Err(io::Error::other(format!(
            "certificate bundle {} has {size} bytes",
            path.display()
        )));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests;
