//! Files whose name alone does not say whether they hold a secret.

use memchr::memmem;

/// What a file may be masked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A key. Certificates and public keys are none.
    PrivateKey,
    /// A token or password in a file of settings.
    Token,
    /// The key of a Google service account.
    ServiceAccount,
}

/// How much of a file is looked at. A bundle of all roots has a fifth of it; what is larger is masked unseen where its name
/// speaks against it.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// A key of a service account has two to three thousand bytes, most of them the key.
const ACCOUNT_BYTES: std::ops::RangeInclusive<u64> = 300..=64 << 10;

impl Kind {
    /// What a file's size alone says: masked or not; none if it has to be read.
    pub(super) fn by_size(self, bytes: u64) -> Option<bool> {
        match self {
            Self::ServiceAccount => (!ACCOUNT_BYTES.contains(&bytes)).then_some(false),
            Self::PrivateKey | Self::Token if bytes == 0 => Some(false),
            Self::PrivateKey | Self::Token => (bytes > MOST_BYTES).then_some(true),
        }
    }

    /// Whether this is what it is masked for.
    pub(super) fn found_in(self, text: &[u8]) -> bool {
        match self {
            Self::PrivateKey => is_key(text),
            Self::Token => holds_token(text),
            Self::ServiceAccount => {
                holds(text, b"\"private_key\"") && holds(text, b"PRIVATE KEY-----")
            }
        }
    }
}

fn holds(text: &[u8], what: &[u8]) -> bool {
    memmem::find(text, what).is_some()
}

/// A file of PEM blocks (RFC 7468) none of which is private is no key; all else is.
fn is_key(text: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut labels = memmem::find_iter(text, BEGIN).map(|at| {
        let label = &text[at + BEGIN.len()..];
        let end = memmem::find(label, b"-----").unwrap_or(label.len());
        &label[..end]
    });
    let Some(first) = labels.next() else {
        return true;
    };
    let public = |label: &[u8]| {
        let ends = [
            &b"CERTIFICATE"[..],
            b"PUBLIC KEY",
            b"X509 CRL",
            b"CERTIFICATE REQUEST",
            b"PARAMETERS",
            b"PKCS7",
            b"CMS",
        ];
        ends.iter().any(|end| label.ends_with(end))
    };
    !public(first) || !labels.all(public)
}

/// Words that stand before a secret in the settings of package managers, and a login within a URL.
fn holds_token(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 13] = [
        b"_auth",
        b"_password",
        b"authtoken",
        b"authident",
        b"password",
        b"passwd",
        b"token",
        b"secret",
        b"http-basic",
        b"\"bearer\"",
        b"apikey",
        b"api_key",
        b"api-key",
    ];
    let lower = text.to_ascii_lowercase();
    WORDS.iter().any(|word| holds(&lower, word)) || holds_login(&lower)
}

/// `://user:password@`.
fn holds_login(text: &[u8]) -> bool {
    memmem::find_iter(text, b"://").any(|at| {
        let authority = text[at + 3..]
            .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\''))
            .next()
            .unwrap_or_default();
        authority.contains(&b'@')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_certificates() {
        let found = |text: &str| Kind::PrivateKey.found_in(text.as_bytes());
        let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let certificate = block("CERTIFICATE");
        assert!(!found(&certificate));
        assert!(!found(&format!("# comment\n{certificate}{certificate}")));
        assert!(!found(&block("PUBLIC KEY")));
        assert!(!found(&block("TRUSTED CERTIFICATE")));
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        ] {
            assert!(found(&block(label)), "{label}");
            assert!(
                found(&(certificate.clone() + &block(label))),
                "{label} behind"
            );
        }
        assert!(found("0\u{82}binary"));
        assert!(found("a passphrase"));
        assert!(found("-----BEGIN "), "cut off");
    }

    #[test]
    fn settings_are_masked_for_what_they_hold() {
        let found = |text: &str| Kind::Token.found_in(text.as_bytes());
        for secret in [
            "//registry.example/:_authToken=abc",
            "_auth = abc",
            "npmAuthToken: abc",
            "index-url = https://ada:pw@pypi.example/simple",
            "user:password",
        ] {
            assert!(found(secret), "{secret}");
        }
        for harmless in [
            "registry=https://registry.example/\nsave-exact=true\n",
            "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-4.5.0.cjs\n",
            "author=ada@example.com",
        ] {
            assert!(!found(harmless), "{harmless}");
        }
    }

    #[test]
    fn a_service_account_is_found_by_its_key() {
        let found = |text: &str| Kind::ServiceAccount.found_in(text.as_bytes());
        assert!(found(
            r#"{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nA"}"#
        ));
        assert!(!found(r#"{"name":"private_key_of_nothing"}"#));
        assert_eq!(Kind::ServiceAccount.by_size(100), Some(false));
        assert_eq!(Kind::ServiceAccount.by_size(1 << 20), Some(false));
        assert_eq!(Kind::ServiceAccount.by_size(2400), None);
    }

    #[test]
    fn what_is_too_large_to_read_is_masked_where_its_name_speaks_against_it() {
        assert_eq!(Kind::PrivateKey.by_size(MOST_BYTES + 1), Some(true));
        assert_eq!(Kind::Token.by_size(MOST_BYTES + 1), Some(true));
        assert_eq!(Kind::PrivateKey.by_size(0), Some(false));
    }
}
