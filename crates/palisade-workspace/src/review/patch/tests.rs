//! The judge is git itself: what it makes of the patch has to be the new tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

type Tree = BTreeMap<PathBuf, (GitMode, Vec<u8>)>;

fn lay_out(folder: &Path, tree: &Tree) {
    for (path, (mode, contents)) in tree {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if *mode == GitMode::Symlink {
            symlink(std::ffi::OsStr::from_bytes(contents), path).unwrap();
        } else {
            fs::write(&path, contents).unwrap();
            let bits = if *mode == GitMode::Executable {
                0o755
            } else {
                0o644
            };
            fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
        }
    }
}

fn read_back(folder: &Path, below: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        let real = folder.join(&path);
        let meta = fs::symlink_metadata(&real).unwrap();
        if meta.is_dir() {
            read_back(folder, &path, tree);
        } else if meta.is_symlink() {
            let target = fs::read_link(&real).unwrap().into_os_string().into_vec();
            tree.insert(path, (GitMode::Symlink, target));
        } else {
            tree.insert(
                path,
                (GitMode::of_file(meta.mode()), fs::read(real).unwrap()),
            );
        }
    }
}

fn patch(before: &Tree, after: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let [old, new] = [before, after].map(|tree| {
            tree.get(path).map(|(mode, contents)| Version {
                mode: *mode,
                contents,
            })
        });
        write_patch(&mut out, ObjectFormat::Sha1, path, old, new).unwrap();
    }
    out
}

/// What git makes of a tree and a patch; in a repository where `arguments` are those for its index.
fn applied(before: &Tree, patch: &[u8], arguments: &[&str]) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), before);
    if patch.is_empty() {
        return before.clone();
    }
    let mut git = Command::new("git")
        .args(["-c", "core.autocrlf=false", "apply"])
        .args(arguments)
        .args(["--whitespace=nowarn", "-"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        // Nothing of the caller's, and no repository above.
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", "/")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = git.stdin.take().unwrap();
    let bytes = patch.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).ok());
    let done = git.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(patch)
    );
    let mut tree = Tree::new();
    read_back(folder.path(), Path::new(""), &mut tree);
    tree
}

fn tree(entries: &[(&[u8], GitMode, &[u8])]) -> Tree {
    let entry = |(name, mode, contents): &(&[u8], GitMode, &[u8])| {
        (
            PathBuf::from(std::ffi::OsStr::from_bytes(name)),
            (*mode, contents.to_vec()),
        )
    };
    entries.iter().map(entry).collect()
}

#[test]
fn git_makes_the_new_tree_of_it_and_the_old_one_again() {
    use GitMode::{Executable, File, Symlink};
    let many: Vec<u8> = (0..70_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_be_bytes())
        .collect();
    let before = tree(&[
        (b"changed", File, b"a\nb\nc\n"),
        (b"mode", File, b"#!/bin/sh\n"),
        (b"both", Executable, b"x\n"),
        (b"removed", File, b"gone"),
        (b"emptied", File, b"a"),
        (b"binary", File, b"a\0b"),
        (b"link", Symlink, b"changed"),
        (b"becomes a link", File, b"text\n"),
        (b"becomes a file", Symlink, b"mode"),
        (b"folder/inner", File, b"1\n"),
        (b"file", File, b"2\n"),
        (b"crlf", File, b"a\r\nb\r\n"),
        (b"no-end", File, b"a\nb"),
    ]);
    let after = tree(&[
        (b"changed", File, b"a\nB\nc\n"),
        (b"mode", Executable, b"#!/bin/sh\n"),
        (b"both", File, b"x\ny\n"),
        (b"emptied", File, b""),
        (b"binary", File, &many),
        (b"link", Symlink, b"../outside"),
        (b"becomes a link", Symlink, b"mode"),
        (b"becomes a file", File, b"now\n"),
        (b"folder", File, b"was a folder\n"),
        (b"file/inner", File, b"was a file\n"),
        (b"new/empty", File, b""),
        (b"crlf", File, b"a\nb\r\n"),
        (b"no-end", File, b"a\nb\n"),
        (b"tab\tnew\nline \"quote\" \\ \xff", File, b"odd\n"),
        (b"-leading dash", File, b"--- a/x\n+++ b/y\n@@ -1 +1 @@\n"),
        (b" leading and trailing ", File, b"x"),
        ("\u{fc}mlaut \u{202e}".as_bytes(), Executable, b"\0"),
    ]);
    let written = patch(&before, &after);
    assert_eq!(applied(&before, &written, &[]), after);
    // Backwards, git itself loses a file that had been a link; its own patches say the same as this one.
    let (mut before, mut after) = (before, after);
    before.remove(Path::new("becomes a file"));
    after.remove(Path::new("becomes a file"));
    let written = patch(&before, &after);
    assert_eq!(applied(&after, &written, &["-R"]), before);
}

#[test]
fn what_git_sees_no_difference_in_is_left_out() {
    let one = tree(&[(b"a", GitMode::File, b"x")]);
    assert_eq!(patch(&one, &one), b"");
    assert!(!in_patch(Path::new("sub/.GIT/config")) && in_patch(Path::new(".github/x")));
}

#[test]
fn objects_have_the_names_git_gives_them() {
    let contents = b"hello\n".to_vec();
    let version = Some(Version {
        mode: GitMode::File,
        contents: &contents,
    });
    // `git hash-object`, in a repository of either format.
    assert_eq!(
        id(ObjectFormat::Sha1, version).unwrap(),
        "ce013625030ba8dba906f756967f9e9ca394464a"
    );
    assert_eq!(
        id(ObjectFormat::Sha256, version).unwrap(),
        "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"
    );
}

#[test]
fn a_file_that_grows_while_it_is_read_makes_no_patch() {
    struct Grows;
    impl Contents for Grows {
        fn size(&self) -> u64 {
            1
        }
        fn open(&self) -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(&b"\0\0"[..]))
        }
    }
    let version = Some(Version {
        mode: GitMode::File,
        contents: &Grows,
    });
    let written = write_patch(
        &mut Vec::new(),
        ObjectFormat::Sha1,
        Path::new("a"),
        None,
        version,
    );
    assert!(written.is_err());
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        &b"a\n"[..],
        b"b\n",
        b"\xff\n",
        b"-- c\n",
        b"\r\n",
        b"x\0y\n",
        b"end",
    ]);
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

fn some_tree() -> impl Strategy<Value = Tree> {
    let name = prop::sample::select(vec![&b"a"[..], b"b c", b"d/e", b"f\ng", b"h\xfe", b"i/j/k"]);
    let mode = prop::sample::select(vec![GitMode::File, GitMode::Executable, GitMode::Symlink]);
    let entry = (name, mode, contents()).prop_map(|(name, mode, contents)| {
        let linked = mode == GitMode::Symlink;
        let contents = if linked {
            b"to/"
                .iter()
                .chain(&contents)
                .copied()
                .filter(|b| *b != 0)
                .collect()
        } else {
            contents
        };
        (
            PathBuf::from(std::ffi::OsStr::from_bytes(name)),
            (mode, contents),
        )
    });
    prop::collection::vec(entry, 0..6).prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_two_trees(before in some_tree(), after in some_tree()) {
        let written = patch(&before, &after);
        prop_assert_eq!(applied(&before, &written, &[]), after);
    }
}
