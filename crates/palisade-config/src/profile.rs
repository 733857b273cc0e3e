//! The profiles that come with palisade. They are policy files like any other (`profiles/` beside this crate's sources), so
//! that a person can read what one gives, and copy it.

use std::ffi::OsStr;
use std::path::Path;

use palisade_policy::Source;

/// Name and text of each, by name.
const PROFILES: [(&str, &str); 8] = [
    (
        "anthropic-api-key",
        include_str!("../profiles/anthropic-api-key.toml"),
    ),
    (
        "anthropic-oauth-token",
        include_str!("../profiles/anthropic-oauth-token.toml"),
    ),
    ("claude-code", include_str!("../profiles/claude-code.toml")),
    ("git", include_str!("../profiles/git.toml")),
    ("github", include_str!("../profiles/github.toml")),
    ("node", include_str!("../profiles/node.toml")),
    ("python", include_str!("../profiles/python.toml")),
    ("rust", include_str!("../profiles/rust.toml")),
];

/// Programs whose profile is used where there is no policy at all.
const AGENTS: [(&str, &str); 1] = [("claude", "claude-code")];

/// The names of the built-in profiles.
pub fn profile_names() -> impl ExactSizeIterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

/// The text of a built-in profile.
pub fn profile_text(name: &str) -> Option<&'static str> {
    PROFILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// Whether something was written in a built-in profile.
pub(crate) fn is_profile(source: &Source) -> bool {
    let name = source.as_str().strip_prefix("profile ");
    name.is_some_and(|name| profile_text(name).is_some())
}

/// The profile of a known agent, by the name of its program.
pub fn known_agent(program: &OsStr) -> Option<&'static str> {
    let name = Path::new(program).file_name()?;
    AGENTS
        .iter()
        .find(|(known, _)| name == OsStr::new(known))
        .map(|(_, profile)| *profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_the_name_of_their_program() {
        for (program, expected) in [
            ("claude", Some("claude-code")),
            ("/opt/bin/claude", Some("claude-code")),
            ("claude2", None),
            ("bash", None),
            ("", None),
        ] {
            assert_eq!(known_agent(OsStr::new(program)), expected, "{program}");
        }
        assert!(
            AGENTS
                .iter()
                .all(|(_, profile)| profile_text(profile).is_some())
        );
    }
}
