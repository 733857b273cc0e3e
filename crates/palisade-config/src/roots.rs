//! PEM files with the operator's own roots.

/// Why a file is no set of roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootsError {
    /// It has no certificate.
    None,
    /// It has a private key, which would be shown to the agent.
    PrivateKey,
    /// A block is not closed, or holds no DER.
    Broken,
}

impl RootsError {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "holds no PEM certificate",
            Self::PrivateKey => {
                "holds a private key, and roots are shown to the agent; keep the key elsewhere"
            }
            Self::Broken => "holds a broken PEM block",
        }
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of a PEM file (RFC 7468) and nothing else of it: the result is shown to the agent.
pub(crate) fn certificates(text: &str) -> Result<String, RootsError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(RootsError::PrivateKey);
    }
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let body = &rest[at + BEGIN.len()..];
        let end = body.find(END).ok_or(RootsError::Broken)?;
        let base64: String = body[..end].split_whitespace().collect();
        if !looks_like_certificate(&base64) {
            return Err(RootsError::Broken);
        }
        kept.push_str(BEGIN);
        kept.push('\n');
        // 64 characters a line, as RFC 7468 section 2 has it: some readers take no longer ones.
        for line in base64.as_bytes().chunks(64) {
            kept.extend(line.iter().map(|b| char::from(*b)));
            kept.push('\n');
        }
        kept.push_str(END);
        kept.push('\n');
        rest = &body[end + END.len()..];
    }
    if kept.is_empty() {
        return Err(RootsError::None);
    }
    Ok(kept)
}

/// Base64 of a DER sequence: every certificate starts with 0x30 and a long length (0x82, or 0x81), `MII` or `MIG` and kin.
/// The certificate itself is read by the TLS library.
fn looks_like_certificate(base64: &str) -> bool {
    let body = base64.trim_end_matches('=');
    base64.len().is_multiple_of(4)
        && base64.len() - body.len() <= 2
        && body.len() > 64
        && body.starts_with("MI")
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    #[test]
    fn only_certificates_are_kept() {
        let body = format!("MIIB{}", "A".repeat(96));
        let text = format!("# Corp root\nsubject=x\n{}junk\n{}", pem(&body), pem(&body));
        let kept = certificates(&text).unwrap();
        assert_eq!(kept.matches(BEGIN).count(), 2);
        assert!(!kept.contains("junk") && !kept.contains("Corp"));
        assert!(kept.lines().all(|line| line.len() <= 64));
        assert_eq!(certificates(&kept).unwrap(), kept);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let good = pem(&format!("MIIB{}", "A".repeat(96)));
        assert_eq!(certificates(""), Err(RootsError::None));
        assert_eq!(certificates("MIIB"), Err(RootsError::None));
        assert_eq!(certificates(BEGIN), Err(RootsError::Broken));
        assert_eq!(certificates(&pem("hello")), Err(RootsError::Broken));
        assert_eq!(
            certificates(&good.replace("AAAA", "AA!A")),
            Err(RootsError::Broken)
        );
        let key = format!("{good}-----BEGIN EC PRIVATE KEY-----\n");
        assert_eq!(certificates(&key), Err(RootsError::PrivateKey));
    }
}
