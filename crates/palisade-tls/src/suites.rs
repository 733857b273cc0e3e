//! Which cipher suites are preferred, and whose code runs them.

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};

/// aws-lc's cryptography. Its own order of suites begins with AES-256, whose handshake hashes with SHA-384: processors have
/// instructions for SHA-256 alone, and that was 12 % of a new connection, so AES-128 comes first. Both are out of reach
/// of any attack.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if has_wide_aes() {
        provider.cipher_suites = ring::default_provider().cipher_suites;
    }
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

/// Vector AES in 256-bit registers and not in 512-bit ones (AMD before Zen 4, Intel's processors for desktops): ring has
/// code for that, aws-lc for the wider alone and else works with half the speed. Only the suites are ring's, which encrypt
/// records; keys are agreed and signatures made and checked by aws-lc.
fn has_wide_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        has!("vaes") && has!("vpclmulqdq") && has!("avx2") && !has!("avx512f")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
