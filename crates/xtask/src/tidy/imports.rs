//! Who may import whom. The table is the project's map; ARCHITECTURE.md tells why.

use std::fs;
use std::path::Path;

use super::Findings;

/// A crate and those of ours that it may depend on.
const MAY_IMPORT: [(&str, &[&str]); 19] = [
    ("palisade-policy", &[]),
    ("palisade-protocol", &[]),
    ("palisade-sys", &[]),
    ("palisade-tls", &[]),
    ("palisade-audit", &["policy"]),
    ("palisade-credential", &["policy"]),
    ("palisade-boundary", &["protocol"]),
    ("palisade-workspace", &["protocol", "sys"]),
    (
        "palisade-gate",
        &["policy", "audit", "credential", "tls", "protocol", "sys"],
    ),
    ("palisade-native", BACKEND),
    ("palisade-oci", BACKEND),
    ("palisade-microvm", BACKEND),
    (
        "palisade-config",
        &["policy", "credential", "boundary", "workspace", "protocol"],
    ),
    (
        "palisade-session",
        &[
            "policy",
            "audit",
            "credential",
            "boundary",
            "workspace",
            "gate",
            "config",
            "protocol",
            "sys",
        ],
    ),
    (
        "palisade",
        &[
            "policy",
            "audit",
            "credential",
            "boundary",
            "workspace",
            "gate",
            "config",
            "protocol",
            "session",
            "native",
            "oci",
            "microvm",
            "conformance",
        ],
    ),
    ("palisade-conformance", &["sys"]),
    ("palisade-guest", &["protocol", "sys"]),
    ("palisade-test-support", &[]),
    ("xtask", &["config"]),
];

/// What each backend may use.
const BACKEND: &[&str] = &["boundary", "workspace", "protocol", "sys", "guest"];

/// Libraries that one crate alone may name, tests aside.
const ONE_HOME: [(&str, &[&str]); 4] = [
    ("rustls", &["palisade-tls", "palisade-test-support"]),
    ("tokio-rustls", &["palisade-tls", "palisade-test-support"]),
    ("rcgen", &["palisade-tls", "palisade-test-support"]),
    ("clap", &["palisade"]),
];

/// Checks each crate's manifest.
pub(super) fn check(root: &Path, findings: &mut Findings) {
    let Ok(folders) = fs::read_dir(root.join("crates")) else {
        findings.errors.push("read the folder crates".into());
        return;
    };
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let manifest = folder.path().join("Cargo.toml");
        let parsed = fs::read_to_string(&manifest)
            .ok()
            .and_then(|text| text.parse::<toml::Table>().ok());
        match parsed {
            Some(table) => check_crate(&name, &table, &mut findings.errors),
            None => findings
                .errors
                .push(format!("{}: no manifest to read", manifest.display())),
        }
    }
}

fn check_crate(name: &str, manifest: &toml::Table, errors: &mut Vec<String>) {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(krate, _)| *krate == name) else {
        errors.push(format!(
            "crates/{name}: say in xtask/src/tidy/imports.rs what it may import"
        ));
        return;
    };
    for section in ["dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            let ours = dependency.strip_prefix("palisade-");
            if ours.is_some_and(|ours| !allowed.contains(&ours)) {
                errors.push(format!("crates/{name} may not import {dependency}"));
            }
            let home = ONE_HOME.iter().find(|(library, _)| library == dependency);
            if home.is_some_and(|(_, homes)| !homes.contains(&name)) {
                errors.push(format!("crates/{name} may not name {dependency}"));
            }
        }
    }
    let lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        errors.push(format!("crates/{name} does not take the workspace's lints"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, manifest: &str) -> Vec<String> {
        let mut errors = Vec::new();
        check_crate(name, &manifest.parse().unwrap(), &mut errors);
        errors
    }

    #[test]
    fn forbidden_imports_are_found_and_permitted_ones_are_not() {
        let lints = "[lints]\nworkspace = true\n[dependencies]\n";
        let found = errors(
            "palisade-gate",
            &format!("{lints}palisade-policy = {{}}\npalisade-boundary = {{}}\nrustls = \"0\""),
        );
        assert_eq!(
            found,
            [
                "crates/palisade-gate may not import palisade-boundary",
                "crates/palisade-gate may not name rustls"
            ]
        );
        assert_eq!(
            errors("palisade-tls", &format!("{lints}rustls = \"0\"")),
            [""; 0]
        );
    }

    #[test]
    fn a_new_crate_has_to_be_placed() {
        assert_eq!(errors("palisade-new", "").len(), 1);
    }
}
