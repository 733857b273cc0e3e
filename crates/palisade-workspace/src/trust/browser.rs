//! Browsers read neither the system's store nor a variable, but they obey policy files of the machine's administrator.

use palisade_protocol::TreeEntry;

use super::{EXTRA_ROOTS, file, pem};

/// Chromium's own folder for policies (also of Playwright's builds).
const CHROMIUM: &str = "/etc/chromium/policies/managed";
/// Those of Google's builds, which hold the same.
const CHROME: [&str; 2] = [
    "/etc/opt/chrome/policies/managed",
    "/etc/opt/chrome_for_testing/policies/managed",
];
/// Firefox's.
const FIREFOX: &str = "/etc/firefox/policies/policies.json";

/// Policies that add these roots.
///
/// `CACertificates` takes DER in base64 (Chromium's policy list, since version 128); the older way, a database of NSS in
/// the home folder, would have to be written there before each start and is not read by every build any more.
/// `Certificates.Install` takes absolute paths (Firefox's policy templates, since version 65 on Linux).
pub(super) fn policies(extra_pem: &[u8]) -> Vec<TreeEntry> {
    let roots: Vec<String> = pem::base64_bodies(extra_pem)
        .map(|body| format!("\"{body}\""))
        .collect();
    let chromium = format!("{{\"CACertificates\":[{}]}}\n", roots.join(","));
    let firefox =
        format!("{{\"policies\":{{\"Certificates\":{{\"Install\":[\"{EXTRA_ROOTS}\"]}}}}}}\n");
    let mut entries = vec![file(format!("{CHROMIUM}/palisade.json"), chromium.into())];
    entries.extend(CHROME.map(|path| TreeEntry::Symlink {
        path: path.into(),
        target: CHROMIUM.into(),
    }));
    entries.push(file(FIREFOX, firefox.into()));
    entries
}
