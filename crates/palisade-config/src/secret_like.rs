//! Text that looks like a secret. A policy file holds none; where one was written by mistake it is said so, and not repeated.

pub(crate) use palisade_workspace::looks_like_secret;

/// The same text with what looks like a token blanked. The number of characters stays.
pub(crate) fn blank_secrets(text: String) -> String {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "-_.+/=".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(in_token) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c| !in_token(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        shown.push_str(before);
        // A key and its value may stand without a space between.
        let token = word.rfind('=').map_or(0, |at| at + 1);
        let token = if looks_like_secret(word) { 0 } else { token };
        if looks_like_secret(&word[token..]) {
            shown.push_str(&word[..token]);
            shown.extend(word[token..].chars().map(|_| '*'));
        } else {
            shown.push_str(word);
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_blanked_and_names_are_not() {
        for (text, expected) in [
            (
                "source = { env = \"ghp_0123456789abcdefghij\" }",
                "source = { env = \"************************\" }",
            ),
            ("k=sk-ant-api03-0123456789", "k=***********************"),
            (
                "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
                "Bearer **************************",
            ),
            (
                "GITHUB_TOKEN npm_config_cafile_of_ours",
                "GITHUB_TOKEN npm_config_cafile_of_ours",
            ),
            ("\u{e4} AKIA and sk-", "\u{e4} AKIA and sk-"),
            ("", ""),
        ] {
            assert_eq!(blank_secrets(text.to_owned()), expected);
        }
    }
}
