//! What a placeholder looks like, by the variable it stands in. Tools check prefixes and lengths of tokens
//! before they send anything, so a placeholder follows the service's own pattern.

use crate::definition::Part;

/// How many characters of the random part are looked for, and the fewest there are. Sixteen letters and
/// digits are 95 bits, 80 in an access key id: neither is met by chance in any amount of traffic.
pub(super) const CORE: usize = 16;

const LETTERS_AND_DIGITS: &[u8; 62] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The pattern of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) prefix: &'static str,
    pub(super) alphabet: &'static [u8],
    pub(super) random: usize,
    pub(super) suffix: &'static str,
}

const fn shape(prefix: &'static str, random: usize, suffix: &'static str) -> Shape {
    Shape {
        prefix,
        alphabet: LETTERS_AND_DIGITS,
        random,
        suffix,
    }
}

const fn access_key(prefix: &'static str) -> Shape {
    Shape {
        prefix,
        alphabet: BASE32,
        random: 16,
        suffix: "",
    }
}

/// Keys that last begin with `AKIA`, those that come with a session token with `ASIA` (AWS IAM reference,
/// "unique identifiers").
const AWS_LASTING: Shape = access_key("AKIA");
const AWS_TEMPORARY: Shape = access_key("ASIA");
const AWS_SECRET: Shape = shape("", 40, "");
/// Session tokens begin like this and have a few hundred characters.
const AWS_SESSION: Shape = shape("IQoJb3JpZ2luX2Vj", 340, "");
const GITHUB: Shape = shape("ghp_", 36, "");
const ANTHROPIC_KEY: Shape = shape("sk-ant-api03-", 93, "AA");
const ANTHROPIC_OAUTH: Shape = shape("sk-ant-oat01-", 93, "AA");
const NPM: Shape = shape("npm_", 36, "");
const GITLAB: Shape = shape("glpat-", 20, "");
const HUGGING_FACE: Shape = shape("hf_", 34, "");
const GOOGLE: Shape = shape("AIza", 35, "");
const SLACK_BOT: Shape = shape("xoxb-1000000000-1000000000000-", 24, "");
const SLACK_USER: Shape = shape("xoxp-1000000000-1000000000000-", 32, "");
const SLACK_APP: Shape = shape("xapp-1-A00000000-1000000000000-", 64, "");
const PYPI: Shape = shape("pypi-AgEIcHlwaS5vcmc", 140, "");
const CRATES: Shape = shape("cio", 32, "");
const STRIPE: Shape = shape("sk_test_", 24, "");
/// Whatever has no pattern of its own.
const OTHER: Shape = shape("plc_", 32, "");

/// Which variable holds what.
const BY_VARIABLE: &[(&str, Shape)] = &[
    ("ANTHROPIC_API_KEY", ANTHROPIC_KEY),
    ("ANTHROPIC_AUTH_TOKEN", ANTHROPIC_OAUTH),
    ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
    ("AWS_SESSION_TOKEN", AWS_SESSION),
    ("CARGO_REGISTRY_TOKEN", CRATES),
    ("CLAUDE_CODE_OAUTH_TOKEN", ANTHROPIC_OAUTH),
    ("GEMINI_API_KEY", GOOGLE),
    ("GH_ENTERPRISE_TOKEN", GITHUB),
    ("GH_TOKEN", GITHUB),
    ("GITHUB_ENTERPRISE_TOKEN", GITHUB),
    ("GITHUB_PAT", GITHUB),
    ("GITHUB_PERSONAL_ACCESS_TOKEN", GITHUB),
    ("GITHUB_TOKEN", GITHUB),
    ("GITLAB_PRIVATE_TOKEN", GITLAB),
    ("GITLAB_TOKEN", GITLAB),
    ("GOOGLE_API_KEY", GOOGLE),
    ("GROQ_API_KEY", shape("gsk_", 52, "")),
    ("HF_TOKEN", HUGGING_FACE),
    ("HOMEBREW_GITHUB_API_TOKEN", GITHUB),
    ("HUGGINGFACE_TOKEN", HUGGING_FACE),
    ("HUGGING_FACE_HUB_TOKEN", HUGGING_FACE),
    ("LINEAR_API_KEY", shape("lin_api_", 40, "")),
    ("NODE_AUTH_TOKEN", NPM),
    ("NPM_TOKEN", NPM),
    ("OPENAI_API_KEY", shape("sk-proj-", 48, "")),
    ("OPENROUTER_API_KEY", shape("sk-or-v1-", 64, "")),
    ("PYPI_TOKEN", PYPI),
    ("REPLICATE_API_TOKEN", shape("r8_", 37, "")),
    ("SLACK_APP_TOKEN", SLACK_APP),
    ("SLACK_BOT_TOKEN", SLACK_BOT),
    ("SLACK_TOKEN", SLACK_BOT),
    ("SLACK_USER_TOKEN", SLACK_USER),
    ("STRIPE_API_KEY", STRIPE),
    ("STRIPE_SECRET_KEY", STRIPE),
    ("TWINE_PASSWORD", PYPI),
    ("UV_PUBLISH_TOKEN", PYPI),
    ("VAULT_TOKEN", shape("hvs.", 90, "")),
    ("XAI_API_KEY", shape("xai-", 80, "")),
];

impl Shape {
    /// The shape for a variable inside; one it does not know goes by the part. `temporary` says whether an
    /// access key comes with a session token.
    pub(super) fn of(variable: &str, part: Part, temporary: bool) -> Self {
        let known = BY_VARIABLE.iter().find(|(name, _)| *name == variable);
        match (known, part) {
            (_, Part::AccessKey) if temporary => AWS_TEMPORARY,
            (_, Part::AccessKey) => AWS_LASTING,
            (Some((_, shape)), _) => *shape,
            (None, Part::SecretKey) => AWS_SECRET,
            (None, Part::SessionToken) => AWS_SESSION,
            (None, _) => OTHER,
        }
    }

    /// A text of this shape with random characters, each equally likely.
    pub(super) fn fill(
        &self,
        mut random: impl FnMut(&mut [u8]) -> Result<(), String>,
    ) -> Result<String, String> {
        let mut text = String::with_capacity(self.prefix.len() + self.random + self.suffix.len());
        text.push_str(self.prefix);
        let size = self.alphabet.len();
        // The largest multiple of the alphabet's size that fits a byte; what lies above is drawn again.
        let fair = 256 / size * size;
        let mut left = self.random;
        while left > 0 {
            let mut bytes = [0u8; 64];
            random(&mut bytes)?;
            let drawn = bytes.iter().map(|byte| usize::from(*byte));
            for byte in drawn.filter(|byte| *byte < fair).take(left) {
                text.push(char::from(self.alphabet[byte % size]));
                left -= 1;
            }
        }
        text.push_str(self.suffix);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_core_and_harmless_characters() {
        let all = BY_VARIABLE.iter().map(|(_, shape)| shape);
        for shape in all.chain([&OTHER, &AWS_LASTING, &AWS_TEMPORARY]) {
            assert!(shape.random >= CORE, "{shape:?}");
            let text = shape
                .fill(|buffer| {
                    buffer.fill(7);
                    Ok(())
                })
                .expect("filled");
            assert_eq!(
                text.len(),
                shape.prefix.len() + shape.random + shape.suffix.len()
            );
            let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            assert!(text.bytes().all(harmless), "{text}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_names_no_variable_twice() {
        assert!(BY_VARIABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn shapes_go_by_variable_then_by_part() {
        let prefix = |variable, part, temporary| Shape::of(variable, part, temporary).prefix;
        assert_eq!(prefix("GH_TOKEN", Part::Value, false), "ghp_");
        assert_eq!(prefix("CRM", Part::Value, false), "plc_");
        assert_eq!(prefix("AWS_ACCESS_KEY_ID", Part::AccessKey, false), "AKIA");
        assert_eq!(prefix("AWS_ACCESS_KEY_ID", Part::AccessKey, true), "ASIA");
        assert_eq!(Shape::of("MY_SECRET", Part::SecretKey, false).random, 40);
    }

    #[test]
    fn a_failing_generator_is_an_error_and_an_unfair_byte_is_drawn_again() {
        assert!(GITHUB.fill(|_| Err("no entropy".to_owned())).is_err());
        let mut calls = 0u8;
        let text = GITHUB.fill(|buffer| {
            calls += 1;
            buffer.fill(if calls == 1 { 255 } else { 1 });
            Ok(())
        });
        assert_eq!(text.expect("filled"), format!("ghp_{}", "B".repeat(36)));
    }
}
