use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use super::*;

/// A certificate's outside: what stands in it plays no part here.
const OWN: &[u8] = b"-----BEGIN CERTIFICATE-----\nT1dO\n-----END CERTIFICATE-----\n";

/// A host whose bundle lies where Debian has it.
fn debian() -> (tempfile::TempDir, PathBuf) {
    let host = tempfile::tempdir().unwrap();
    let root = host.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "PUBLIC").unwrap();
    symlink("certs/ca-certificates.crt", root.join("etc/ssl/cert.pem")).unwrap();
    (host, root)
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = trust_tree(root, OWN).unwrap().into_iter();
    entries
        .filter_map(|entry| match entry {
            TreeEntry::File { path, content } => Some((path.display().to_string(), content)),
            _ => None,
        })
        .collect()
}

#[test]
fn roots_are_added_where_the_bundle_really_lies() {
    let (_host, root) = debian();
    assert_eq!(trust_tree(&root, b"").unwrap(), []);
    let files = files(&root);
    let combined = [b"PUBLIC\n", OWN].concat();
    assert_eq!(files["/etc/ssl/certs/ca-certificates.crt"], combined);
    assert_eq!(files[EXTRA_ROOTS], OWN);
    assert!(
        !files.contains_key("/etc/ssl/cert.pem"),
        "the link leads there"
    );
    assert!(!files.contains_key(WGET_SETTINGS), "the store is enough");
    let link = TreeEntry::Symlink {
        path: TRUST_BUNDLE.into(),
        target: "/etc/ssl/certs/ca-certificates.crt".into(),
    };
    assert!(trust_tree(&root, OWN).unwrap().contains(&link));
}

#[test]
fn a_bundle_outside_of_what_is_shown_is_covered_where_it_is_shown() {
    let host = tempfile::tempdir().unwrap();
    let root = host.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("etc/ssl")).unwrap();
    fs::create_dir_all(root.join("var/lib/ca-certificates")).unwrap();
    let real = root.join("var/lib/ca-certificates/ca-bundle.pem");
    fs::write(&real, "PUBLIC\n").unwrap();
    symlink(&real, root.join("etc/ssl/ca-bundle.pem")).unwrap();
    assert_eq!(
        files(&root)["/etc/ssl/ca-bundle.pem"],
        [b"PUBLIC\n", OWN].concat()
    );
}

#[test]
fn without_a_system_store_settings_name_the_bundle() {
    let host = tempfile::tempdir().unwrap();
    let files = files(host.path());
    assert_eq!(files[TRUST_BUNDLE], OWN);
    let wget = String::from_utf8(files[WGET_SETTINGS].clone()).unwrap();
    assert!(wget.contains(TRUST_BUNDLE));
    assert!(files.contains_key("/etc/palisade/php/palisade.ini"));
    assert!(!HostTrust::read(host.path()).unwrap().has_store());
}

#[test]
fn a_java_store_keeps_its_own_certificates() {
    let (_host, root) = debian();
    let place = root.join("etc/ssl/certs/java");
    fs::create_dir_all(&place).unwrap();
    // One entry of eight bytes, and a digest.
    let mut store = vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1];
    store.extend_from_slice(b"an-entry");
    store.extend_from_slice(&[7; 20]);
    fs::write(place.join("cacerts"), &store).unwrap();
    let machine = root.join("usr/lib/jvm/j17/lib/security");
    fs::create_dir_all(&machine).unwrap();
    symlink(place.join("cacerts"), machine.join("cacerts")).unwrap();

    let files = files(&root);
    let covered = &files["/etc/ssl/certs/java/cacerts"];
    assert_eq!(covered[..8], store[..8]);
    assert_eq!(covered[8..12], [0, 0, 0, 2]);
    assert_eq!(&covered[12..20], b"an-entry");
    let expected = b"\0\0\0\x02\0\x0apalisade-1\0\0\0\0\0\0\0\0\0\x05X.509\0\0\0\x03OWN";
    assert_eq!(&covered[20..covered.len() - 20], expected);
    assert!(!files.contains_key("/usr/lib/jvm/j17/lib/security/cacerts"));
}

#[test]
fn browsers_are_told_by_policy() {
    let (_host, root) = debian();
    let files = files(&root);
    assert_eq!(
        files["/etc/chromium/policies/managed/palisade.json"],
        b"{\"CACertificates\":[\"T1dO\"]}\n"
    );
    let firefox = String::from_utf8(files["/etc/firefox/policies/policies.json"].clone()).unwrap();
    assert!(firefox.contains(EXTRA_ROOTS));
}
