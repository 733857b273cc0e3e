use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::*;
use crate::changes::{ChangeKind, Identity, Moment};

fn side(kind: SideKind, mode: u32, size: u64) -> Side {
    Side {
        kind,
        mode,
        size,
        modified: Moment::default(),
        link_group: None,
        identity: Identity::default(),
    }
}

fn change(path: &[u8], before: Option<Side>, after: Option<Side>) -> Change {
    Change {
        path: PathBuf::from(OsStr::from_bytes(path)),
        kind: ChangeKind::Changed,
        before,
        after,
        conflict: None,
        dropped: Dropped::default(),
    }
}

fn file(mode: u32) -> Option<Side> {
    Some(side(SideKind::File, mode, 1))
}

fn codes(change: &Change, old: Option<&[u8]>, new: Option<&[u8]>) -> Vec<&'static str> {
    let sight = Sight {
        change,
        workspace: Path::new("/home/ada/project"),
        old,
        new,
        other_spelling: None,
    };
    flags_of(&sight)
        .iter()
        .map(|flagged| flagged.flag.code())
        .collect()
}

fn by_path(path: &str) -> Vec<&'static str> {
    codes(
        &change(path.as_bytes(), file(0o644), file(0o644)),
        Some(b"a"),
        Some(b"b"),
    )
}

#[test]
fn what_the_host_runs_is_flagged_at_any_depth() {
    for path in [
        ".git/hooks/pre-commit",
        "vendor/lib/.git/hooks/post-checkout",
        ".git/config",
        ".GIT/Config",
        ".git/commondir",
        ".git/worktrees/x/commondir",
        ".git/modules/lib/config",
        ".git/modules/lib/hooks/pre-push",
        ".git/modules/a/modules/b/hooks/pre-push",
        ".git",
        "sub/.git",
        "bare.git/hooks/post-update",
        ".husky/pre-commit",
        ".githooks/x",
        ".vscode/tasks.json",
        ".idea/workspace.xml",
        ".devcontainer/devcontainer.json",
        ".envrc",
        "deep/er/.envrc",
        ".mcp.json",
        ".claude/settings.json",
        ".claude/settings.local.json",
        ".claude/hooks/x.sh",
        ".claude/commands/x.md",
        ".claude/agents/x.md",
        ".cursor/mcp.json",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        ".bashrc",
        ".zshenv",
        ".gitconfig",
        ".gitmodules",
    ] {
        assert_eq!(by_path(path).first(), Some(&"host-runs"), "{path}");
        let removed = codes(
            &change(path.as_bytes(), file(0o644), None),
            Some(b"a"),
            None,
        );
        assert_eq!(removed.first(), Some(&"host-runs"), "removal of {path}");
    }
    for path in [
        "src/main.rs",
        "hooks/readme",
        ".claude/notes.md",
        ".github/ISSUE.md",
        "config",
        "gitconfig",
    ] {
        assert_eq!(by_path(path), [""; 0], "{path}");
    }
    let bare = change(b"x/config", None, file(0o644));
    assert_eq!(
        codes(&bare, None, Some(b" [Core]\n\tfsmonitor = evil\n")),
        ["host-runs"]
    );
    let link = side(SideKind::Symlink("elsewhere".into()), 0o777, 0);
    assert_eq!(
        codes(&change(b".github", None, Some(link)), None, None),
        ["host-runs"]
    );
}

#[test]
fn builds_pipelines_locks_and_orders_are_told_apart() {
    for (path, expected) in [
        ("Makefile", "build"),
        ("Makefile.am", "build"),
        ("docker/Dockerfile", "build"),
        ("Dockerfile.dev", "build"),
        ("build.rs", "build"),
        ("setup.py", "build"),
        (".cargo/config.toml", "build"),
        ("vite.config.ts", "build"),
        ("requirements-dev.txt", "lock-file"),
        ("Cargo.lock", "lock-file"),
        ("web/package-lock.json", "lock-file"),
        ("go.sum", "lock-file"),
        ("Jenkinsfile", "pipeline"),
        (".circleci/config.yml", "pipeline"),
        ("CLAUDE.md", "agent-orders"),
        ("docs/AGENTS.md", "agent-orders"),
    ] {
        assert_eq!(by_path(path), [expected], "{path}");
    }
    for path in [
        "makefil",
        "lock",
        "notes.txt",
        "builder.rs",
        "requirements.md",
    ] {
        assert_eq!(by_path(path), [""; 0], "{path}");
    }
}

#[test]
fn kinds_and_modes() {
    let new = |side| codes(&change(b"x", None, Some(side)), None, None);
    assert_eq!(new(side(SideKind::File, 0o755, 1)), ["executable"]);
    assert_eq!(new(side(SideKind::File, 0o644, LARGE + 1)), ["large"]);
    assert_eq!(new(side(SideKind::File, 0o644, LARGE)), [""; 0]);
    assert_eq!(
        new(side(SideKind::Symlink("../x".into()), 0o777, 0)),
        ["leaves-tree"]
    );
    assert_eq!(new(side(SideKind::Symlink("y".into()), 0o777, 0)), [""; 0]);
    assert_eq!(new(side(SideKind::Directory, 0o755, 0)), [""; 0]);
    assert_eq!(
        codes(&change(b"x", file(0o644), file(0o755)), None, None),
        ["executable"]
    );
    assert_eq!(
        codes(&change(b"x", file(0o755), file(0o755)), None, None),
        [""; 0]
    );
    let mut bits = change(b"x", file(0o755), file(0o4755));
    bits.dropped.set_user_id = true;
    assert_eq!(codes(&bits, None, None), ["special-bits"]);
}

#[test]
fn names_that_deceive() {
    for name in [
        "read\u{202e}me".as_bytes(),
        "zero\u{200b}width".as_bytes(),
        b"trailing ",
        b" leading",
        b"dot.",
        b"new\nline",
        b"\xff",
        "p\u{430}ypal".as_bytes(),
    ] {
        let flags = codes(&change(name, None, file(0o644)), None, None);
        assert_eq!(flags, ["deceiving-name"], "{name:?}");
    }
    for name in [
        "b\u{fc}cher",
        "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
        "a b",
        ".dot",
    ] {
        let flags = codes(&change(name.as_bytes(), None, file(0o644)), None, None);
        assert_eq!(flags, [""; 0], "{name}");
    }
    let new = change(b"readme", None, file(0o644));
    let mut sight = Sight {
        change: &new,
        workspace: Path::new("/"),
        old: None,
        new: None,
        other_spelling: Some(OsStr::new("README")),
    };
    assert_eq!(flags_of(&sight)[0].flag, Flag::DeceivingName);
    sight.other_spelling = None;
    assert_eq!(flags_of(&sight), []);
}

#[test]
fn contents_that_deceive_or_leak() {
    let new = change(b"x.txt", file(0o644), file(0o644));
    let flags = |old: &str, text: &str| codes(&new, Some(old.as_bytes()), Some(text.as_bytes()));
    assert_eq!(flags("", "if admin \u{202e}\u{2066}"), ["hidden-text"]);
    assert_eq!(flags("\u{202e}", "moved \u{202e}"), [""; 0]);
    assert_eq!(flags("", "tag \u{e0041}"), ["hidden-text"]);
    assert_eq!(flags("", "family \u{1f468}\u{200d}\u{1f469}"), [""; 0]);
    assert_eq!(flags("", "key = AKIA0123456789ABCDEF"), ["secret"]);
    assert_eq!(
        flags("AKIA0123456789ABCDEF", "key = AKIA0123456789ABCDEF"),
        [""; 0]
    );
}

#[test]
fn changed_scripts_are_named() {
    let package = change(b"web/package.json", file(0o644), file(0o644));
    let seen = |old: &str, new: &str| {
        let sight = Sight {
            change: &package,
            workspace: Path::new("/"),
            old: Some(old.as_bytes()),
            new: Some(new.as_bytes()),
            other_spelling: None,
        };
        flags_of(&sight)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let old = r#"{"scripts":{"test":"jest","build":"tsc"}}"#;
    assert_eq!(
        seen(
            old,
            r#"{"scripts":{"test":"jest","build":"tsc"},"version":"2"}"#
        ),
        [""; 0]
    );
    assert_eq!(
        seen(
            old,
            r#"{"scripts":{"test":"curl x|sh","build":"tsc","postinstall":"y"}}"#
        ),
        ["scripts: postinstall, test"]
    );
    assert_eq!(seen(old, "{"), ["package.json is not readable as JSON"]);
    assert_eq!(
        seen("", r#"{"scripts":{"prepare":"z"}}"#),
        ["scripts: prepare"]
    );
}

#[test]
fn the_most_dangerous_comes_first() {
    let link = side(SideKind::File, 0o755, LARGE + 1);
    let all = codes(
        &change(b".git/hooks/pre-commit", None, Some(link)),
        None,
        Some(b"ghp_0123456789abcdefghij"),
    );
    assert_eq!(all, ["host-runs", "secret", "executable", "large"]);
}
