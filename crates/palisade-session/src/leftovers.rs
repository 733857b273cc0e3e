//! What a session left in a writable workspace that the host would run: new repositories, editors' folders, start-up files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Largest configuration of a repository that is read.
const MOST_BYTES: u64 = 64 << 10;

/// Of all that came, what is there and could run something: what `git init` makes by itself could not.
pub(crate) fn to_look_at(came: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    came.into_iter().filter(|path| could_run(path)).collect()
}

fn could_run(path: &Path) -> bool {
    let Ok(own) = fs::symlink_metadata(path) else {
        return false;
    };
    let named = |name: &str| path.file_name().is_some_and(|own| own == name);
    if own.is_dir() && named("hooks") {
        return !only_samples(path);
    }
    !(own.is_file() && named("config") && plain_text(path).is_some_and(|text| is_harmless(&text)))
}

fn only_samples(hooks: &Path) -> bool {
    let Ok(entries) = fs::read_dir(hooks) else {
        return false;
    };
    entries
        .flatten()
        .all(|entry| entry.path().extension().is_some_and(|end| end == "sample"))
}

fn plain_text(path: &Path) -> Option<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a repository's configuration holds nothing but what git writes itself, for a new repository, a remote, a branch.
fn is_harmless(text: &str) -> bool {
    let mut section = String::new();
    text.lines().map(str::trim).all(|line| {
        if line.is_empty() || line.starts_with(['#', ';']) {
            return true;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split([' ', ']', '"']).next().unwrap_or_default();
            section = name.to_ascii_lowercase();
            // What stands behind the bracket on the same line is a key too.
            return rest.ends_with(']');
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        harmless_key(&section, key.trim(), value.trim())
    })
}

fn harmless_key(section: &str, key: &str, value: &str) -> bool {
    match (section, key.to_ascii_lowercase().as_str()) {
        (
            "core",
            "repositoryformatversion"
            | "filemode"
            | "bare"
            | "logallrefupdates"
            | "ignorecase"
            | "precomposeunicode"
            | "symlinks",
        )
        | ("remote", "fetch")
        | ("branch", "remote" | "merge" | "rebase")
        | ("user", "name" | "email") => !value.ends_with('\\'),
        // Other kinds of address run a program (gitremote-helpers(7)).
        ("remote", "url") => {
            let plain = ["https://", "ssh://", "git@", "/"];
            plain.iter().any(|start| value.starts_with(start)) && !value.ends_with('\\')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_writes_by_itself_is_harmless() {
        let new = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
        let cloned = format!(
            "{new}[remote \"origin\"]\n\turl = https://example.com/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n"
        );
        assert!(is_harmless(new) && is_harmless(&cloned));
        for more in [
            "\tfsmonitor = ./x\n",
            "[alias]\n\tst = !x\n",
            "[alias] st = !x\n",
            "[core]\n\thooksPath = x\n",
            "[include]\n\tpath = x\n",
            "[remote \"x\"]\n\turl = ext::sh -c x\n",
            "[remote \"x\"]\n\turl = https://x \\\n\tvcs = ext\n",
            "nonsense\n",
        ] {
            assert!(!is_harmless(&format!("{new}{more}")), "{more}");
        }
    }

    #[test]
    fn what_could_run_something_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        put("a/hooks/pre-commit.sample", "x");
        put("b/hooks/pre-commit", "x");
        put("b/hooks/pre-commit.sample", "x");
        let paths = [
            (dir.path().join("a/hooks"), false),
            (dir.path().join("b/hooks"), true),
            (put("c/config", "[core]\n\tbare = false\n"), false),
            (put("d/config", "[core]\n\tpager = x\n"), true),
            (put(".bashrc", ""), true),
            (dir.path().join("gone"), false),
        ];
        let came = paths.iter().map(|(path, _)| path.clone()).collect();
        let mut expected: Vec<&PathBuf> = paths
            .iter()
            .filter(|(_, runs)| *runs)
            .map(|(path, _)| path)
            .collect();
        expected.sort();
        assert_eq!(to_look_at(came).iter().collect::<Vec<_>>(), expected);
    }
}
