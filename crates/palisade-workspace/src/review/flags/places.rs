//! What the host makes of a path, by its name.

use std::path::Path;

use super::Flag;
use crate::protect::protected;

/// Directories whose contents a program of the host runs, or takes settings from: a link in the place of one moves all
/// of it elsewhere.
const HOLDERS: [&str; 16] = [
    ".git",
    ".github",
    ".husky",
    ".githooks",
    ".vscode",
    ".idea",
    ".devcontainer",
    ".claude",
    ".cursor",
    ".cargo",
    ".mvn",
    ".circleci",
    ".buildkite",
    ".forgejo",
    ".gitea",
    "node_modules",
];

/// Hooks that git runs from a folder named `hooks` in any repository, also a bare one.
const GIT_HOOKS: [&str; 20] = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "p4-pre-submit",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
    "reference-transaction",
];

/// File names, in lower case, and what they are. A `*` at an end stands for anything.
const NAMES: &[(Flag, &str, &[&str])] = &[
    (
        Flag::Pipeline,
        "a pipeline runs it",
        &[
            ".travis.yml",
            ".drone.yml",
            ".cirrus.yml",
            ".woodpecker.y*",
            "appveyor.yml",
            ".appveyor.yml",
            "azure-pipelines*",
            "bitbucket-pipelines.yml",
            "jenkinsfile*",
            "cloudbuild.y*",
            "buildspec.yml",
            "action.yml",
            "action.yaml",
            "dependabot.yml",
            "renovate.json*",
            "codeowners",
        ],
    ),
    (
        Flag::LockFile,
        "which dependencies, from where",
        &[
            "package-lock.json",
            "npm-shrinkwrap.json",
            "yarn.lock",
            "pnpm-lock.yaml",
            "bun.lock*",
            "cargo.lock",
            "poetry.lock",
            "pipfile.lock",
            "uv.lock",
            "pdm.lock",
            "requirements*.txt",
            "constraints*.txt",
            "gemfile.lock",
            "composer.lock",
            "go.sum",
            "go.work.sum",
            "flake.lock",
            "mix.lock",
            "podfile.lock",
            "gradle.lockfile",
            "packages.lock.json",
            "deno.lock",
            "pubspec.lock",
        ],
    ),
    (
        Flag::AgentOrders,
        "the next agent reads it as its orders",
        &[
            "claude.md",
            "claude.local.md",
            "agents.md",
            "gemini.md",
            "copilot-instructions.md",
            ".cursorrules",
            ".windsurfrules",
            ".clinerules",
            "skill.md",
        ],
    ),
    (
        Flag::Build,
        "a build runs it",
        &[
            "makefile*",
            "gnumakefile",
            "*.mk",
            "*.mak",
            "dockerfile*",
            "*.dockerfile",
            "containerfile*",
            "docker-compose*",
            "compose.yml",
            "compose.yaml",
            "vagrantfile",
            "procfile",
            "justfile",
            ".justfile",
            "taskfile.y*",
            "rakefile*",
            "gemfile",
            "*.gemspec",
            "build.rs",
            "cargo.toml",
            "rust-toolchain*",
            "setup.py",
            "setup.cfg",
            "pyproject.toml",
            "pipfile",
            "conftest.py",
            "noxfile.py",
            "tox.ini",
            "pytest.ini",
            "tasks.py",
            "sitecustomize.py",
            "usercustomize.py",
            "*.pth",
            "cmakelists.txt",
            "*.cmake",
            "cmakepresets.json",
            "configure",
            "configure.ac",
            "autogen.sh",
            "meson.build",
            "sconstruct",
            "sconscript",
            "wscript",
            "build",
            "build.bazel",
            "workspace",
            "workspace.bazel",
            "module.bazel",
            ".bazelrc",
            "*.bzl",
            "build.gradle*",
            "settings.gradle*",
            "gradlew*",
            "gradle-wrapper.*",
            "gradle.properties",
            "pom.xml",
            "mvnw*",
            "build.sbt",
            "build.xml",
            "build.zig*",
            "mix.exs",
            "dune",
            "*.csproj",
            "*.vcxproj",
            "*.props",
            "*.targets",
            "*.nix",
            "binding.gyp",
            ".npmrc",
            ".yarnrc*",
            ".pnpmfile*",
            "gulpfile.*",
            "gruntfile.*",
            ".eslintrc*",
            ".babelrc*",
            "*.config.js",
            "*.config.cjs",
            "*.config.mjs",
            "*.config.ts",
            ".pre-commit-config.yaml",
            "lefthook.y*",
            ".lintstagedrc*",
            ".gitattributes",
            ".tool-versions",
            "mise.toml",
            ".mise.toml",
            "devbox.json",
        ],
    ),
];

/// What of the host runs this path, or takes its settings from it. The contents tell a repository's configuration from
/// another file of that name, since a bare repository may lie anywhere.
pub(super) fn host_runs(path: &Path, contents: Option<&[u8]>) -> Option<&'static str> {
    if let Some(what) = protected(path) {
        return Some(what);
    }
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().and_then(Path::file_name);
    if parent.is_some_and(|parent| parent == "hooks") && GIT_HOOKS.contains(&name) {
        return Some("a hook that git runs");
    }
    if name.eq_ignore_ascii_case(".git") {
        return Some("git looks for the repository where it says");
    }
    let section = |text: &[u8]| {
        let mut lines = text.split(|byte| *byte == b'\n');
        lines.any(|line| {
            line.trim_ascii_start()
                .to_ascii_lowercase()
                .starts_with(b"[core")
        })
    };
    (name == "config" && contents.is_some_and(section)).then_some("git takes its settings from it")
}

/// The directory that a link at this path would stand for.
pub(super) fn holder(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    HOLDERS
        .into_iter()
        .find(|holder| holder.eq_ignore_ascii_case(name))
}

/// What the file is by its name, or by the directory it lies in.
pub(super) fn by_name(path: &Path) -> Option<(Flag, &'static str)> {
    let parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().to_ascii_lowercase())
        .collect();
    let (name, folders) = parts.split_last()?;
    let within = |holders: &[&str]| {
        folders
            .iter()
            .any(|folder| holders.contains(&folder.as_str()))
    };
    if within(&[
        ".circleci",
        ".buildkite",
        ".forgejo",
        ".gitea",
        ".woodpecker",
    ]) {
        return Some((Flag::Pipeline, "a pipeline runs it"));
    }
    if within(&[".cargo", ".mvn"]) {
        return Some((Flag::Build, "a build runs it"));
    }
    let fits = |pattern: &str| match (pattern.strip_prefix('*'), pattern.split_once('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some((start, end))) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        (None, None) => name == pattern,
    };
    let mut tables = NAMES.iter();
    let found = tables.find(|(_, _, names)| names.iter().any(|pattern| fits(pattern)));
    found.map(|(flag, what, _)| (*flag, *what))
}
