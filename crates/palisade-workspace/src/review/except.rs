//! Patterns for what is left out of a decision.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns, as in a `.gitignore`: without a slash for a name at any depth, with one from the workspace's root; `*` stops
/// at a slash and `**` does not. What is below a path that fits, fits.
#[derive(Clone, Debug, Default)]
pub struct Except(GlobSet);

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern for paths: {cause}")]
pub struct ExceptError {
    pattern: String,
    cause: String,
}

impl Except {
    /// Reads patterns.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn parse(patterns: &[String]) -> Result<Self, ExceptError> {
        let error = |pattern: &str, cause: globset::Error| ExceptError {
            pattern: pattern.to_owned(),
            cause: cause.kind().to_string(),
        };
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let text = pattern.trim_end_matches('/');
            let text = match text.strip_prefix('/') {
                Some(rooted) => rooted.to_owned(),
                None if text.contains('/') => text.to_owned(),
                None => format!("**/{text}"),
            };
            let glob = GlobBuilder::new(&text)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            set.add(glob.map_err(|cause| error(pattern, cause))?);
        }
        let set = set
            .build()
            .map_err(|cause| error(&patterns.join(" "), cause))?;
        Ok(Self(set))
    }

    /// Whether the path, or a folder it lies in, fits one of them.
    pub fn fits(&self, path: &Path) -> bool {
        let mut all = path.ancestors().filter(|part| !part.as_os_str().is_empty());
        !self.0.is_empty() && all.any(|part| self.0.is_match(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_at_any_depth_and_paths_from_the_root() {
        let fits = |pattern: &str, path: &str| {
            let except = Except::parse(&[pattern.to_owned()]).unwrap();
            except.fits(Path::new(path))
        };
        for (pattern, path) in [
            ("*.lock", "Cargo.lock"),
            ("*.lock", "a/b/yarn.lock"),
            ("target", "target/debug/x"),
            ("target/", "sub/target/x"),
            ("/docs", "docs/a"),
            ("src/*.rs", "src/main.rs"),
            ("src/**", "src/a/b"),
            ("{a,b}", "x/b"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.lock", "lock"),
            ("/docs", "a/docs"),
            ("src/*.rs", "src/a/main.rs"),
            ("src/*.rs", "x/src/main.rs"),
            ("target", "targets/x"),
        ] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        assert!(!Except::default().fits(Path::new("a")));
        let error = Except::parse(&["[".to_owned()]).unwrap_err();
        assert!(
            error.to_string().starts_with("`[` is no pattern"),
            "{error}"
        );
    }
}
