//! Paths that programs of the host run, or take their settings from: what an agent writes there runs later, outside.

use std::ffi::OsStr;
use std::path::Path;

const HOOK: &str = "a hook that git runs";
const GIT_SETTINGS: &str = "git takes its settings from it";
const EDITOR: &str = "an editor runs what it says";
const AGENT: &str = "an agent on the host runs what it says";
const PIPELINE: &str = "a pipeline runs it, with your credentials";
const SHELL: &str = "a shell runs it when it starts";

/// What of the host runs this path or one above it, at any depth.
pub(crate) fn protected(path: &Path) -> Option<&'static str> {
    let parts = lower(path);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    (1..=parts.len()).find_map(|end| whole(&parts[..end]))
}

/// What of the host runs the entry of this name in a folder, where the path ends with it.
pub(crate) fn protected_entry(folder: &Path, name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    // Nearly all names say at once that they are none, and this is asked of every file there is.
    let may_be = name.starts_with('.')
        || name.starts_with("settings")
        || matches!(
            name.as_str(),
            "hooks"
                | "config"
                | "config.worktree"
                | "attributes"
                | "commondir"
                | "gitdir"
                | "commands"
                | "agents"
                | "workflows"
                | "actions"
                | "fish"
                | "git"
        );
    if !may_be {
        return None;
    }
    let mut parts = lower(folder);
    parts.push(name);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    whole(&parts)
}

/// The folders above something protected that have to be held in their place too, outermost first, since one of another name
/// could be put there with everything in it. Below the folder that is shown.
///
/// Ordinary folders are not held: whoever works there renames them.
pub fn held_in_place(below: &Path) -> Vec<&Path> {
    let mut above: Vec<&Path> = below.ancestors().skip(1).collect();
    above.retain(|folder| !folder.as_os_str().is_empty());
    above.reverse();
    let first = above
        .iter()
        .position(|folder| folder.file_name().is_some_and(is_holder));
    // Without one it is a repository without a working tree, or lies in an ordinary folder.
    let in_repository = below
        .file_name()
        .is_some_and(|name| name == "hooks" || name == "config");
    match (first, in_repository) {
        (Some(first), _) => above.split_off(first),
        (None, true) => above.split_off(above.len().saturating_sub(1)),
        (None, false) => Vec::new(),
    }
}

/// Folders of which only a part is protected.
pub(crate) fn is_holder(name: &OsStr) -> bool {
    [".git", ".github", ".claude", ".config"]
        .iter()
        .any(|holder| name.eq_ignore_ascii_case(holder))
}

/// In lower case: on a file system that knows no case, `.GIT/config` is the same file.
fn lower(path: &Path) -> Vec<String> {
    path.iter()
        .map(|part| part.to_string_lossy().to_ascii_lowercase())
        .collect()
}

/// Whether a path ends with something that is protected with all below it.
fn whole(parts: &[&str]) -> Option<&'static str> {
    (0..parts.len()).find_map(|at| {
        Some(match parts[at..] {
            [".git", "hooks"] | [".git", "modules", .., "hooks"] => HOOK,
            [".git", "config" | "config.worktree"]
            | [".git", "info", "attributes"]
            | [".git", "modules", .., "config"]
            | [".git", "worktrees", _, "config.worktree"]
            | [".gitconfig" | ".gitmodules"] => GIT_SETTINGS,
            [".git", "commondir"] | [".git", "worktrees", _, "commondir" | "gitdir"] => {
                "git looks for its settings where it says"
            }
            [".husky" | ".githooks"] => HOOK,
            [".vscode" | ".idea" | ".devcontainer" | ".devcontainer.json" | ".cursor"] => EDITOR,
            [".envrc"] => "direnv runs it when the folder is entered",
            [".mcp.json"] => "an agent on the host starts what it names",
            [".claude", "hooks" | "commands" | "agents"] => AGENT,
            [".claude", name] if name.starts_with("settings") => AGENT,
            [".github", "workflows" | "actions"] | [".gitlab-ci.yml"] => PIPELINE,
            [
                ".bashrc" | ".bash_profile" | ".bash_login" | ".bash_logout" | ".profile"
                | ".zshrc" | ".zshenv" | ".zprofile" | ".zlogin" | ".zlogout" | ".kshrc" | ".cshrc"
                | ".tcshrc" | ".login" | ".inputrc",
            ] => SHELL,
            [".config", "fish" | "git"] => "a shell or git takes its settings from it",
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_runs_is_known_at_any_depth_and_in_any_case() {
        for path in [
            ".git/hooks",
            ".git/hooks/pre-commit",
            "a/b/.git/config",
            ".GIT/Config",
            ".git/modules/x/y/config",
            ".git/modules/x/hooks/pre-push",
            ".git/worktrees/w/commondir",
            "a/.vscode/tasks.json",
            ".claude/settings.local.json",
            ".github/workflows/ci.yml",
            "home/.zshrc",
        ] {
            assert!(protected(Path::new(path)).is_some(), "{path}");
        }
        for path in [
            ".git/HEAD",
            ".git/objects/ab/cd",
            ".git/index",
            "hooks/x",
            "config",
            ".github/ISSUE_TEMPLATE.md",
            ".claude/notes.md",
            "vscode/x",
            "",
        ] {
            assert_eq!(protected(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn what_lies_around_it_is_held_in_its_place() {
        for (path, expected) in [
            (".git/hooks", &[".git"][..]),
            ("a/b/.git/config", &["a/b/.git"]),
            (
                ".git/modules/m/hooks",
                &[".git", ".git/modules", ".git/modules/m"],
            ),
            (".github/workflows", &[".github"]),
            ("a/.vscode", &[]),
            ("a/bare.git/hooks", &["a/bare.git"]),
            ("hooks", &[]),
        ] {
            let expected: Vec<&Path> = expected.iter().map(Path::new).collect();
            assert_eq!(held_in_place(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn an_entry_is_what_the_path_to_it_is() {
        for (folder, name) in [
            ("", ".vscode"),
            ("a/.git", "hooks"),
            (".git/modules/m", "config"),
            (".claude", "settings.json"),
            (".github", "workflows"),
            ("", "config"),
            (".git", "HEAD"),
            (".vscode", "tasks.json"),
        ] {
            let path = Path::new(folder).join(name);
            let above = protected(Path::new(folder));
            let expected = if above.is_some() {
                None
            } else {
                protected(&path)
            };
            assert_eq!(
                protected_entry(Path::new(folder), name),
                expected,
                "{path:?}"
            );
        }
    }
}
