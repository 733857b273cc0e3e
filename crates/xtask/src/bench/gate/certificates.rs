//! Certificates of one run: an authority for the origin, and one for the proxies that bring none of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::Done;

/// The folder they are in.
pub(super) struct Certificates(PathBuf);

impl Certificates {
    /// Makes all of them.
    pub(super) fn make(folder: &Path) -> Done<Self> {
        let own = Self(folder.to_owned());
        let config = own.file("openssl.cnf");
        fs::write(&config, "[req]\ndistinguished_name = dn\n[dn]\n")
            .map_err(|error| format!("write {}: {error}", config.display()))?;
        for authority in ["origin-ca", "proxy-ca"] {
            let extensions = [
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign",
            ];
            own.certify(authority, None, &extensions)?;
        }
        let names = "subjectAltName=DNS:bench.example,DNS:*.mint.example,IP:127.0.0.1";
        let extensions = ["basicConstraints=critical,CA:FALSE", names];
        own.certify("origin", Some("origin-ca"), &extensions)?;
        own.certify("proxy", Some("proxy-ca"), &extensions)?;
        let both = [own.certificate("proxy-ca"), own.key("proxy-ca")].map(fs::read_to_string);
        let both = both.into_iter().collect::<Result<String, _>>();
        both.and_then(|both| fs::write(own.file("proxy-ca-both.pem"), both))
            .map_err(|error| format!("join certificate and key: {error}"))?;
        Ok(own)
    }

    /// A file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The certificate of this name.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.pem"))
    }

    /// Its key.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.key"))
    }

    fn certify(&self, name: &str, by: Option<&str>, extensions: &[&str]) -> Done {
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ]);
        command
            .args(["-nodes", "-days", "3", "-config"])
            .arg(self.file("openssl.cnf"));
        command.args(["-subj", &format!("/CN=palisade bench {name}")]);
        command
            .arg("-keyout")
            .arg(self.key(name))
            .arg("-out")
            .arg(self.certificate(name));
        if let Some(by) = by {
            command
                .arg("-CA")
                .arg(self.certificate(by))
                .arg("-CAkey")
                .arg(self.key(by));
        }
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        let done = command
            .output()
            .map_err(|error| format!("start openssl: {error}"))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{command:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            )),
        }
    }
}
