//! Which cipher suites are preferred.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;

/// The library's suites, AES-128 first. Its own order begins with AES-256, whose handshake hashes with SHA-384: processors
/// have instructions for SHA-256 alone, and that was 12 % of a new connection. Both are out of reach of any attack.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    let is_first = |suite: CipherSuite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    // Stable, so that TLS 1.3 stays before 1.2 among those.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_first(suite.suite()));
    provider
}
