//! Patterns of `mask` and `unmask`, as people know them from `.gitignore`.

use std::fmt;

use globset::{Glob, GlobBuilder};

/// Longest pattern. Nothing a person writes comes near it.
const MOST_BYTES: usize = 1024;

/// One pattern.
///
/// Without a slash it is a name, anywhere (`*.pem`). With one it is a path below the workspace (`config/secrets.yml`,
/// `**/fixtures/*.key`), below the home folder (`~/.aws`) or of the machine (`/srv/keys`). A slash at its end means
/// directories alone. `*` and `?` do not match a slash, `**` does. Letters match in both cases: on some file systems they are
/// the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskPattern {
    written: String,
    scope: Scope,
    /// Without what the scope says and without the slash at the end, in lower case.
    glob: String,
    pub(super) directories_only: bool,
}

/// Where a pattern begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Name,
    Workspace,
    Home,
    Machine,
}

/// Why a text is no pattern. A sentence about it, to be put behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing in it.
    #[error("is no pattern")]
    Empty,
    /// More than 1024 bytes.
    #[error("is longer than {MOST_BYTES} bytes")]
    Long,
    /// `!` at the beginning.
    #[error("begins with `!`; what is to be seen is named in `unmask`")]
    Negated,
    /// `..` in it.
    #[error("steps back with `..`")]
    StepsBack,
    /// `~name`, which would need the host's user list.
    #[error("names another user's home")]
    OtherHome,
    /// Brackets or braces that do not close, and the like.
    #[error("is no glob: {0}")]
    Glob(String),
}

impl MaskPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MOST_BYTES {
            return Err(PatternError::Long);
        }
        if text.starts_with('!') {
            return Err(PatternError::Negated);
        }
        let (body, directories_only) = match text.strip_suffix('/') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let (scope, rest) = scope(body)?;
        if rest.is_empty() || rest.contains('\0') {
            return Err(PatternError::Empty);
        }
        if rest.split('/').any(|part| part == "..") {
            return Err(PatternError::StepsBack);
        }
        let pattern = Self {
            written: text.to_owned(),
            scope,
            glob: rest.to_ascii_lowercase(),
            directories_only,
        };
        // Stars and question marks are never wrong, and most patterns have no more than these.
        if pattern.glob.contains(['[', ']', '{', '}', '\\']) {
            glob(&pattern.glob).map_err(|error| PatternError::Glob(error.kind().to_string()))?;
        }
        Ok(pattern)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it says where, and not only how it is called.
    pub(super) fn has_folder(&self) -> bool {
        self.scope != Scope::Name
    }

    /// What the last part of a path has to match.
    pub(super) fn name(&self) -> &str {
        // A `**` at the end is any name, as is a brace that holds slashes.
        match self.glob.rsplit_once('/') {
            Some((before, last)) if !before.contains('{') && last != "**" => last,
            None => &self.glob,
            Some(_) => "*",
        }
    }

    /// What the whole path (absolute, without the first slash) has to match; none where the name says it all. The folders
    /// are absolute too, and in lower case.
    pub(super) fn path(&self, workspace: &str, home: &str) -> Option<Glob> {
        let below = |folder: &str| format!("{}/{}", globset::escape(folder), self.glob);
        let whole = match self.scope {
            Scope::Name => return None,
            Scope::Workspace => below(workspace),
            Scope::Home => below(home),
            Scope::Machine => self.glob.clone(),
        };
        Some(glob_or_all(whole.trim_start_matches('/')))
    }
}

/// Whether a text matches itself alone.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// A glob that was tried before. In place of what cannot happen: the stricter answer.
pub(super) fn glob_or_all(text: &str) -> Glob {
    #[expect(clippy::unwrap_used, reason = "a constant")]
    glob(text).unwrap_or_else(|_| Glob::new("**").unwrap())
}

impl fmt::Display for MaskPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn scope(body: &str) -> Result<(Scope, &str), PatternError> {
    if let Some(rest) = body.strip_prefix('~') {
        return match rest.strip_prefix('/') {
            Some(rest) => Ok((Scope::Home, rest)),
            None if rest.is_empty() => Err(PatternError::Empty),
            None => Err(PatternError::OtherHome),
        };
    }
    if let Some(rest) = body.strip_prefix("./") {
        return Ok((Scope::Workspace, rest));
    }
    if let Some(rest) = body.strip_prefix('/') {
        return Ok((Scope::Machine, rest));
    }
    Ok(if body.contains('/') {
        (Scope::Workspace, body)
    } else {
        (Scope::Name, body)
    })
}

/// In lower case on both sides rather than by the library's own switch, which would give up its search by whole names.
fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = MaskPattern::parse(pattern).unwrap();
        let path = path.to_ascii_lowercase();
        let name = path.rsplit('/').next().unwrap();
        let by_name = glob_or_all(pattern.name()).compile_matcher().is_match(name);
        let whole = pattern.path("/w/a[1]", "/home/ada");
        by_name && whole.is_none_or(|glob| glob.compile_matcher().is_match(&path[1..]))
    }

    #[test]
    fn patterns_are_read_as_in_gitignore() {
        for (pattern, path, expected) in [
            (".env", "/x/.env", true),
            (".env", "/x/.ENV", true),
            (".env", "/x/.environment", false),
            (".env.*", "/x/.env.local", true),
            ("*.pem", "/x/deep/Key.PEM", true),
            ("*.pem", "/x/pem", false),
            ("id_[rd]sa", "/x/id_dsa", true),
            ("a/b.txt", "/w/a[1]/a/b.txt", true),
            ("a/b.txt", "/w/a1/a/b.txt", false),
            ("a/b.txt", "/w/a[1]/x/a/b.txt", false),
            ("./b.txt", "/w/a[1]/b.txt", true),
            ("./b.txt", "/w/a[1]/c/b.txt", false),
            ("**/b.txt", "/w/a[1]/x/y/b.txt", true),
            ("**/b.txt", "/x/b.txt", false),
            ("a/*.txt", "/w/a[1]/a/x/b.txt", false),
            ("a/**", "/w/a[1]/a/x/b.txt", true),
            ("a/{b,c/d}", "/w/a[1]/a/c/d", true),
            ("~/.aws", "/home/ada/.aws", true),
            ("~/.aws", "/w/a[1]/.aws", false),
            ("/srv/keys", "/srv/keys", true),
            ("/srv/keys", "/x/srv/keys", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(MaskPattern::parse("secrets/").unwrap().directories_only);
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, expected) in [
            ("", PatternError::Empty),
            ("/", PatternError::Empty),
            ("~", PatternError::Empty),
            ("~/", PatternError::Empty),
            ("!x", PatternError::Negated),
            ("a/../b", PatternError::StepsBack),
            ("~root/x", PatternError::OtherHome),
        ] {
            assert_eq!(MaskPattern::parse(text), Err(expected), "{text}");
        }
        assert!(matches!(
            MaskPattern::parse("a[b"),
            Err(PatternError::Glob(_))
        ));
        assert_eq!(
            MaskPattern::parse(&"a".repeat(MOST_BYTES + 1)),
            Err(PatternError::Long)
        );
    }
}
