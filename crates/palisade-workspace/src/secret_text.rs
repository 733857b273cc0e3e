//! Text that looks like a secret: a token by its beginning, a private key by its first line.

/// How well-known tokens begin.
const PREFIXES: [&str; 22] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "pk_live_",
    "sk_live_",
    "rk_live_",
    "npm_",
    "pypi-",
    "hf_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "eyJ",
    "hvs.",
    "AIza",
];

/// Shorter than any of them (an AWS access key id has 20 characters).
const SHORTEST: usize = 20;

/// Whether text looks like a token: a known beginning, length, and digits among the letters.
pub fn looks_like_secret(text: &str) -> bool {
    known_beginning(text.as_bytes()).is_some()
}

/// A secret seen in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundSecret {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What it is; never the secret.
    pub(crate) what: String,
}

/// The first secret of the new text that the old one does not hold.
pub(crate) fn new_secret(old: &[u8], new: &[u8]) -> Option<FoundSecret> {
    if memchr::memchr(0, new).is_some() {
        return None;
    }
    let is_new = |token: &[u8]| memchr::memmem::find(old, token).is_none();
    for (number, line) in new.split(|byte| *byte == b'\n').enumerate() {
        let what = token_in(line, is_new).or_else(|| {
            let key = is_private_key(line) && is_new(line.trim_ascii());
            key.then(|| "a private key".to_owned())
        });
        if let Some(what) = what {
            let line = number + 1;
            return Some(FoundSecret { line, what });
        }
    }
    None
}

fn token_in(line: &[u8], is_new: impl Fn(&[u8]) -> bool) -> Option<String> {
    if line.len() < SHORTEST {
        return None;
    }
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+/".contains(byte);
    let mut words = line.split(|byte| !in_token(byte));
    let found =
        words.find_map(|word| Some((word, known_beginning(word)?)).filter(|(w, _)| is_new(w)));
    found.map(|(_, prefix)| format!("what looks like a token ({prefix}…)"))
}

fn known_beginning(word: &[u8]) -> Option<&'static str> {
    let fits = word.len() >= SHORTEST && word.iter().any(u8::is_ascii_digit);
    let mut prefixes = PREFIXES.into_iter();
    prefixes.find(|prefix| fits && word.starts_with(prefix.as_bytes()))
}

/// PEM (RFC 7468), OpenSSH's form and PGP's.
fn is_private_key(line: &[u8]) -> bool {
    let start = memchr::memmem::find(line, b"-----BEGIN ");
    start.is_some_and(|at| memchr::memmem::find(&line[at..], b"PRIVATE KEY").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_secrets_are_found_by_line_and_not_repeated() {
        let token = "ghp_0123456789abcdefghij";
        let found = new_secret(b"", format!("a = 1\nkey = \"{token}\"\n").as_bytes()).unwrap();
        assert_eq!(found.line, 2);
        assert!(!found.what.contains("0123"), "{}", found.what);
        // One that was there before is not the session's doing.
        assert_eq!(
            new_secret(token.as_bytes(), format!("key={token}").as_bytes()),
            None
        );
        let key = b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n";
        assert_eq!(new_secret(b"", key).unwrap().line, 2);
        assert_eq!(
            new_secret(key, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            None
        );
        for fine in [
            &b"npm_config_cafile_of_ours"[..],
            b"-----BEGIN CERTIFICATE-----",
            b"sk-",
            b"",
        ] {
            assert_eq!(new_secret(b"", fine), None);
        }
    }
}
