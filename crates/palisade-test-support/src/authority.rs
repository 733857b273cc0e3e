//! A certificate authority of one test run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// An authority, its certificate in a file that any user can read.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    directory: TempDir,
}

impl Authority {
    /// A fresh authority.
    ///
    /// # Panics
    /// If keys cannot be made or the file cannot be written.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let mut params = CertificateParams::default();
        // Two authorities of one name would make a client try the wrong key and report a broken signature.
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("palisade test authority {number} of {}", std::process::id());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("make a key");
        let pem = params.self_signed(&key).expect("sign the authority").pem();
        let directory = tempfile::Builder::new()
            .prefix("palisade-test-ca-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("make a directory");
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, &pem).expect("write the certificate");
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file, readable).expect("set permissions");
        Self {
            issuer: Issuer::new(params, key),
            pem,
            directory,
        }
    }

    /// The certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The file that holds it.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Writes the certificate elsewhere too.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_to(&self, path: &Path) {
        std::fs::write(path, &self.pem).expect("write the certificate");
    }

    /// TLS for a server of these names (host names or addresses), HTTP/1.1 only.
    pub(crate) fn server_config(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_config_for(names, &["http/1.1"])
    }

    /// TLS for a server of these names (host names or addresses) that speaks these protocols.
    ///
    /// # Panics
    /// If a name is no name.
    pub fn server_config_for(&self, names: &[&str], protocols: &[&str]) -> Arc<ServerConfig> {
        let (certificate, key) = self.certify(names);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the certificate fits its key");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// The same for a server in another program: the files of its certificate and of its key, PEM, in this folder.
    pub(crate) fn server_files(&self, names: &[&str], folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.certify(names);
        let files = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&files.0, certificate.pem()).expect("write the certificate");
        std::fs::write(&files.1, key.serialize_pem()).expect("write the key");
        files
    }

    fn certify(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).expect("the test's names are valid");
        let key = KeyPair::generate().expect("make a key");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("sign a certificate");
        (certificate, key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("file", &self.file())
            .finish_non_exhaustive()
    }
}
