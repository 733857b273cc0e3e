//! One word for one thing. CONTRIBUTING.md has the list of words to use.

use super::{Files, Findings};

/// Words that have a better one here, and the better one.
const WORDS: [(&str, &str); 9] = [
    ("jail", "boundary"),
    ("jails", "boundaries"),
    ("jailed", "inside the boundary"),
    ("cage", "boundary"),
    ("phantom", "placeholder"),
    ("scrub", "redact"),
    ("scrubbing", "redaction"),
    ("verdict", "decision"),
    ("whitelist", "allowlist"),
];

/// File and folder names that say nothing about what is inside.
const NAMES: [&str; 8] = [
    "utils", "util", "helpers", "common", "misc", "manager", "driver", "provider",
];

/// The kernel's own word for what a packet rule says.
const KERNEL_WORDS: [(&str, &str); 1] = [("palisade-sys", "verdict")];

/// Checks words and names.
pub(super) fn check(files: &Files, findings: &mut Findings) {
    for file in &files.0 {
        let stem = |part: &str| part.split('.').next().unwrap_or("").to_owned();
        if let Some(part) = file
            .path
            .split('/')
            .map(stem)
            .find(|s| NAMES.contains(&s.as_str()))
        {
            findings
                .errors
                .push(format!("{}: {part} says nothing", file.path));
        }
        if file.path == "crates/xtask/src/tidy/words.rs" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for (word, better) in found(line) {
                if !KERNEL_WORDS.contains(&(file.krate(), word)) {
                    let place = format!("{}:{}", file.path, number + 1);
                    findings
                        .errors
                        .push(format!("{place}: say {better}, not {word}"));
                }
            }
        }
    }
}

fn found(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let line = line.to_lowercase();
    WORDS.into_iter().filter(move |(word, _)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|own| own == *word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found() {
        assert_eq!(found("the Jail, then").count(), 1);
        assert_eq!(found("PhantomData jailbreak NFTA_VERDICT_CODE").count(), 0);
    }
}
