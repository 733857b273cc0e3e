//! A simple index (PEP 503) with one pure wheel.

use std::fs;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::http::{Handler, Request, Response};
use crate::require::{Skip, program};

/// The index.
#[derive(Clone, Debug)]
pub struct PackageIndex {
    wheel: Vec<u8>,
}

impl PackageIndex {
    /// The one package it has; its module is `palisade_sample`.
    pub const PACKAGE: &str = "palisade-sample";
    const WHEEL: &str = "palisade_sample-1.0.0-py3-none-any.whl";

    /// Packs the wheel.
    ///
    /// # Errors
    /// There is no python3 to pack it with.
    ///
    /// # Panics
    /// If packing fails.
    pub fn new() -> Result<Self, Skip> {
        let python = program("python3", "python3")?;
        let directory = tempfile::tempdir().expect("make a directory");
        let info = directory.path().join("palisade_sample-1.0.0.dist-info");
        fs::create_dir(&info).expect("make a directory");
        let files = [
            ("palisade_sample.py", "NAME = 'sample'\n"),
            (
                "palisade_sample-1.0.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: palisade-sample\nVersion: 1.0.0\n",
            ),
            (
                "palisade_sample-1.0.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            ),
            (
                "palisade_sample-1.0.0.dist-info/RECORD",
                "palisade_sample.py,,\npalisade_sample-1.0.0.dist-info/METADATA,,\n\
                 palisade_sample-1.0.0.dist-info/WHEEL,,\npalisade_sample-1.0.0.dist-info/RECORD,,\n",
            ),
        ];
        for (name, content) in files {
            fs::write(directory.path().join(name), content).expect("write");
        }
        let packed = Command::new(python)
            .args(["-m", "zipfile", "-c", Self::WHEEL])
            .args(["palisade_sample.py", "palisade_sample-1.0.0.dist-info"])
            .current_dir(directory.path())
            .status()
            .expect("run python3");
        assert!(packed.success(), "python3 packs the wheel");
        let wheel = fs::read(directory.path().join(Self::WHEEL)).expect("read the wheel");
        Ok(Self { wheel })
    }
}

impl Handler for PackageIndex {
    fn answer(&self, request: &Request) -> Response {
        let wheel = Self::WHEEL;
        match request.path() {
            "/simple/palisade-sample/" => {
                let digest = Sha256::digest(&self.wheel);
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                let page = format!(
                    "<!DOCTYPE html><html><body><a href=\"/files/{wheel}#sha256={digest}\">{wheel}</a></body></html>"
                );
                Response::new(200, "text/html", page)
            }
            path if path == format!("/files/{wheel}") => {
                Response::new(200, "application/octet-stream", self.wheel.clone())
            }
            _ => Response::not_found(),
        }
    }
}
