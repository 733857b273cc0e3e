//! The certificate bundle inside, where the operator has roots of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use palisade_protocol::TreeEntry;

/// Public roots and the operator's own, for programs that are told of one bundle by a variable (`SSL_CERT_FILE`).
pub const TRUST_BUNDLE: &str = "/etc/palisade/ca.pem";

/// The operator's own roots alone, for programs that add a file to theirs (`NODE_EXTRA_CA_CERTS`).
pub const EXTRA_ROOTS: &str = "/etc/palisade/extra-ca.pem";

/// Where distributions keep the bundle: Debian, Red Hat, Alpine and SUSE. Programs without a variable read these alone.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// The largest bundle read. Mozilla's list with all comments is 0.25 MB.
const BUNDLE_LIMIT: u64 = 8 << 20;

/// Files that add `extra_pem` to the host's certificate bundle; no file at all if `extra_pem` is empty.
///
/// `host` is the root of the host's file system. Each bundle the host has is covered where it really lies, so that
/// links to it lead to the new one.
///
/// # Errors
/// The host's bundle exists and cannot be read, or is absurdly large.
pub fn trust_tree(host: &Path, extra_pem: &[u8]) -> io::Result<Vec<TreeEntry>> {
    if extra_pem.is_empty() {
        return Ok(Vec::new());
    }
    let mut covered: Vec<PathBuf> = Vec::new();
    let mut bundle = Vec::new();
    for path in BUNDLES {
        let Ok(real) = super::system::on_host(host, Path::new(path)).canonicalize() else {
            continue;
        };
        if bundle.is_empty() {
            bundle = read_bundle(&real)?;
        }
        let inside = Path::new("/").join(real.strip_prefix(host).unwrap_or(&real));
        if inside.starts_with("/etc") && !covered.contains(&inside) {
            covered.push(inside);
        }
    }
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(extra_pem);
    let mut entries: Vec<TreeEntry> = [
        (TRUST_BUNDLE, bundle.clone()),
        (EXTRA_ROOTS, extra_pem.to_vec()),
    ]
    .into_iter()
    .map(|(path, content)| TreeEntry::File {
        path: path.into(),
        content,
    })
    .collect();
    entries.extend(covered.into_iter().map(|path| TreeEntry::File {
        path,
        content: bundle.clone(),
    }));
    Ok(entries)
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn roots_are_added_where_the_bundle_really_lies() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
        fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "PUBLIC").unwrap();
        symlink("certs/ca-certificates.crt", root.join("etc/ssl/cert.pem")).unwrap();

        assert_eq!(trust_tree(&root, b"").unwrap(), []);
        let files: Vec<_> = trust_tree(&root, b"OWN\n")
            .unwrap()
            .into_iter()
            .map(|entry| match entry {
                TreeEntry::File { path, content } => (path, String::from_utf8(content).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            files,
            [
                (TRUST_BUNDLE.into(), "PUBLIC\nOWN\n".to_owned()),
                (EXTRA_ROOTS.into(), "OWN\n".to_owned()),
                (
                    "/etc/ssl/certs/ca-certificates.crt".into(),
                    "PUBLIC\nOWN\n".to_owned()
                ),
            ]
        );
    }
}
