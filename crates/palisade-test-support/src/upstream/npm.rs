//! An npm registry with one package.

use std::fs;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha512};

use super::http::{Handler, Request, Response};

/// The registry.
#[derive(Clone, Debug)]
pub struct NpmRegistry {
    tarball: Vec<u8>,
}

impl NpmRegistry {
    /// The one package it has.
    pub const PACKAGE: &str = "palisade-sample";

    /// Packs the package.
    ///
    /// # Panics
    /// If `tar` fails.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let package = directory.path().join("package");
        fs::create_dir(&package).expect("make a directory");
        let manifest = json!({ "name": Self::PACKAGE, "version": "1.0.0", "main": "index.js" });
        fs::write(package.join("package.json"), manifest.to_string()).expect("write");
        fs::write(package.join("index.js"), "module.exports = 'sample';\n").expect("write");
        let packed = Command::new("tar")
            .args(["-czf", "-", "package"])
            .current_dir(directory.path())
            .output()
            .expect("run tar");
        assert!(packed.status.success(), "tar packs the sample");
        Self {
            tarball: packed.stdout,
        }
    }

    fn packument(&self, request: &Request) -> Response {
        let name = Self::PACKAGE;
        let tarball = format!("{}/{name}/-/{name}-1.0.0.tgz", request.origin());
        let integrity = format!("sha512-{}", base64(&Sha512::digest(&self.tarball)));
        let version = json!({
            "name": name, "version": "1.0.0", "main": "index.js",
            "dist": { "tarball": tarball, "integrity": integrity },
        });
        Response::json(
            200,
            &json!({ "name": name, "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": version } }),
        )
    }
}

impl Default for NpmRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl Handler for NpmRegistry {
    fn answer(&self, request: &Request) -> Response {
        let name = Self::PACKAGE;
        let path = request.path();
        if path == format!("/{name}") {
            self.packument(request)
        } else if path == format!("/{name}/-/{name}-1.0.0.tgz") {
            Response::new(200, "application/octet-stream", self.tarball.clone())
        } else {
            Response::json(404, &json!({ "error": "not found" }))
        }
    }
}

/// RFC 4648, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) as usize & 63;
            out.push(if at <= group.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (plain, expected) in cases {
            assert_eq!(base64(plain.as_bytes()), expected);
        }
    }
}
