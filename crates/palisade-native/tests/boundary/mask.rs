//! What is hidden stays hidden, in a shown directory as in an overlay.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Who, as_everybody, workspace};

/// Tries every way to a hidden file and prints what each yields, one a line. Run in the workspace.
const READ: &str = r#"
import ctypes, mmap, os, shutil, sys
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, here = -100, os.getcwd()
def raw(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def plain(name='.env'): return open(name).read()
def own_root(): return plain('/proc/self/root' + here + '/.env')
def own_directory(): return plain('/proc/self/cwd/.env')
def dots(): return plain('inner/.././/.env')
def link():
    os.symlink('.env', 'alias'); return plain('alias')
def path_descriptor():
    fd = os.open('.env', os.O_PATH); return plain('/proc/self/fd/%d' % fd)
def directory_descriptor():
    fd = os.open('.', os.O_PATH | os.O_DIRECTORY); return os.read(os.open('.env', os.O_RDONLY, dir_fd=fd), 99).decode()
def mapped():
    fd = os.open('.env', os.O_RDONLY); return mmap.mmap(fd, 7, prot=mmap.PROT_READ).read(7).decode()
def hard_link():
    os.link('.env', 'hard'); return plain('hard')
def hard_link_by_descriptor():
    fd = os.open('.env', os.O_PATH)
    raw(265, fd, b'', AT_FDCWD, b'hard2', 0x1000); return plain('hard2')
def inner_moved():
    os.rename('inner', 'moved')
    try: return plain('moved/.env')
    finally: os.rename('moved', 'inner')
def inner_copied():
    shutil.copytree('inner', 'copy', dirs_exist_ok=True); return plain('copy/.env')
def folder(): return plain('keys/token')
def folder_listed(): return plain('keys/' + os.listdir('keys')[0])
def deep(): return plain('inner/.env')
def moved_away():
    os.rename('.env', 'away'); return plain('away')
def exchanged():
    open('other', 'w').close()
    raw(316, AT_FDCWD, b'.env', AT_FDCWD, b'other', 2)
    try: return plain('other')
    finally: raw(316, AT_FDCWD, b'.env', AT_FDCWD, b'other', 2)
def exchanged_folders():
    os.makedirs('others', exist_ok=True)
    raw(316, AT_FDCWD, b'inner', AT_FDCWD, b'others', 2)
    try: return plain('others/.env')
    finally: raw(316, AT_FDCWD, b'inner', AT_FDCWD, b'others', 2)
def removed():
    os.unlink('.env'); return plain()
def folder_removed():
    os.rmdir('keys'); return plain('keys/token')
def other_process():
    return plain('/proc/1/root' + here + '/.env')
def by_handle():
    handle = (ctypes.c_char * 136)(); ctypes.memmove(handle, (128).to_bytes(4, 'little'), 4)
    raw(303, AT_FDCWD, b'.', handle, ctypes.byref(ctypes.c_int()), 0)
    fd = raw(304, os.open('.', os.O_RDONLY), handle, os.O_RDONLY)
    return os.read(os.open('.env', os.O_RDONLY, dir_fd=fd), 99).decode()
def unmounted():
    raw(166, b'.env', 2); return plain()
def bound():
    os.makedirs('bound', exist_ok=True)
    raw(165, b'.', b'bound', b'', 4096, b''); return plain('bound/.env')
def cloned_tree():
    fd = raw(428, AT_FDCWD, b'.', 1); return os.read(os.open('.env', os.O_RDONLY, dir_fd=fd), 99).decode()
def unshared():
    raw(272, 0x10000000 | 0x20000); raw(166, b'.env', 2); return plain()
ways = [plain, own_root, own_directory, dots, link, path_descriptor, directory_descriptor, mapped, hard_link,
    hard_link_by_descriptor, inner_moved, inner_copied, folder, folder_listed, deep, exchanged, exchanged_folders,
    other_process, by_handle, unmounted, bound, cloned_tree, unshared, folder_removed, moved_away, removed]
for way in ways:
    try: print(way.__name__ + ': ' + way().strip())
    except (OSError, ValueError, IndexError, shutil.Error) as error: print(way.__name__ + ': - ' + type(error).__name__)
"#;

/// Ways that yield the secret where nothing is hidden: if one of these cannot be gone, a test of it shows nothing.
const OPEN_WAYS: [&str; 15] = [
    "plain",
    "own_root",
    "own_directory",
    "dots",
    "link",
    "path_descriptor",
    "directory_descriptor",
    "mapped",
    "hard_link",
    "inner_copied",
    "folder",
    "folder_listed",
    "deep",
    "exchanged",
    "moved_away",
];

/// Tries every way to change a hidden path and prints what worked. Run in the workspace.
const WRITE: &str = "
    attempt() { name=$1; shift; if (eval \"$*\") 2>/dev/null; then echo \"$name\"; fi; }
    set_attribute() { /usr/bin/python3 -c 'import os; os.setxattr(\".env\", \"user.x\", b\"y\")'; }
    echo new > fresh
    attempt write 'echo x > .env'; attempt append 'echo x >> .env'; attempt truncate 'truncate -s 0 .env'
    attempt mode 'chmod 777 .env'; attempt time 'touch .env'; attempt attribute set_attribute
    attempt replace 'mv -f fresh .env'; attempt replace_folder 'mkdir n && mv -T n keys'
    attempt within 'echo x > keys/new'; attempt remove 'rm -f .env'; attempt remove_folder 'rm -rf keys'
    attempt link_over 'ln -f fresh .env'; attempt symlink_over 'ln -sfn fresh .env'; attempt deep 'echo x > inner/.env'
    attempt above 'rm -rf inner'
    if test -e fresh; then echo positive; fi";

/// A workspace with secrets and what hides them.
fn secrets(who: Who) -> (TempDir, Vec<String>) {
    let directory = workspace(who, &["inner", "keys"]);
    let path = directory.path();
    for name in [".env", "inner/.env", "keys/token"] {
        who.file(&path.join(name), "s3cret\n");
    }
    let masks = [".env", "inner/.env", "keys", "gone", "gone/.env"];
    let masks = masks.map(|name| format!("mask:{}", path.join(name).display()));
    (directory, masks.to_vec())
}

/// Every way to make a tree writable, as options.
fn showings(who: Who, workspace: &Path) -> [(TempDir, Vec<String>); 3] {
    let path = workspace.display();
    let changes = who.changes(workspace);
    let review = format!("review:{path}:{}", changes.path().display());
    [
        (who.directory(), vec![format!("own:{path}")]),
        (changes, vec![review]),
        (who.directory(), vec![format!("scratch-of:{path}")]),
    ]
}

fn run(who: Who, workspace: &Path, options: &[String], command: &[&str]) -> String {
    let cwd = format!("cwd:{}", workspace.display());
    let mut all = vec!["system"];
    all.extend(options.iter().map(String::as_str));
    all.push(&cwd);
    let output = who.enter(&all, command).output().expect("enter starts");
    assert!(output.status.success(), "{options:?}: {output:?}");
    String::from_utf8(output.stdout).expect("utf-8")
}

#[test]
fn a_hidden_path_is_read_by_no_way() {
    as_everybody(|who| {
        let read = ["/usr/bin/python3", "-c", READ];
        for showing in 0..3 {
            let (directory, masks) = secrets(who);
            let path = directory.path();
            let (_changes, mut options) = showings(who, path).into_iter().nth(showing).expect("3");
            options.extend(masks);
            let hidden = run(who, path, &options, &read);
            assert!(!hidden.contains("s3cret"), "{options:?}: {hidden}");
            assert!(hidden.contains("\nremoved: -"), "not to the end: {hidden}");
            assert!(hidden.contains("plain: \n"), "reads as empty: {hidden}");
            let left = fs::read_to_string(path.join(".env")).expect("on the host");
            assert_eq!(left, "s3cret\n", "{options:?}");

            let (directory, _) = secrets(who);
            let path = directory.path();
            let (_changes, options) = showings(who, path).into_iter().nth(showing).expect("3");
            let open = run(who, path, &options, &read);
            for way in OPEN_WAYS {
                let line = format!("{way}: s3cret\n");
                assert!(open.contains(&line), "{options:?} {way}: {open}");
            }
        }
    });
}

#[test]
fn a_hidden_path_is_changed_by_no_way() {
    as_everybody(|who| {
        for showing in 0..3 {
            let (directory, masks) = secrets(who);
            let path = directory.path();
            let (_changes, options) = showings(who, path).into_iter().nth(showing).expect("3");
            let hidden = [options.clone(), masks].concat();
            let worked = run(who, path, &hidden, &["/bin/bash", "-c", WRITE]);
            assert_eq!(worked, "positive\n", "{hidden:?}");
            for name in [".env", "inner/.env", "keys/token"] {
                let left = fs::read_to_string(path.join(name)).expect("on the host");
                assert_eq!(left, "s3cret\n", "{name}");
            }
            let worked = run(who, path, &options, &["/bin/bash", "-c", WRITE]);
            let tried = [
                "write",
                "append",
                "truncate",
                "mode",
                "time",
                "attribute",
                "replace",
                "within",
            ];
            for attempt in tried
                .iter()
                .chain(&["remove", "remove_folder", "deep", "above"])
            {
                assert!(
                    worked.contains(&format!("{attempt}\n")),
                    "{options:?} {attempt}: {worked}"
                );
            }
        }
    });
}

#[test]
fn a_mask_says_nothing_of_what_is_gone_and_takes_what_changed_its_kind() {
    as_everybody(|who| {
        let (directory, _) = secrets(who);
        let path = directory.path();
        let own = format!("own:{}", path.display());
        // Looked at as a folder, now a file: what `mask` sees of the host is not what lies inside.
        let other = workspace(who, &["dir"]);
        who.file(&other.path().join("dir/x"), "s3cret");
        let covered = format!("ro:{}:{}", other.path().display(), path.display());
        let options = [
            own,
            covered,
            format!("masks:{}:3", path.display()),
            format!("mask:{}/dir", path.display()),
        ];
        let script = "cat dir/x; ls -A dir; test ! -e 0 && echo fine";
        assert_eq!(
            run(who, path, &options, &["/bin/bash", "-c", script]),
            "fine\n"
        );
    });
}

#[test]
fn a_mask_follows_no_link() {
    as_everybody(|who| {
        for (link, name) in [("alias", "alias"), ("way", "way/.env")] {
            let (directory, _) = secrets(who);
            let path = directory.path();
            symlink("inner", path.join(link)).expect("link");
            let options = [
                format!("own:{}", path.display()),
                format!("mask:{}/{name}", path.display()),
            ];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let refused = who.shell(&options, "true");
            assert_eq!(refused.code, 125, "{refused:?}");
            assert!(refused.err.contains("symbolic link"), "{refused:?}");
            assert!(refused.err.contains(name), "{refused:?}");
        }
    });
}

#[test]
fn tens_of_thousands_of_paths_can_be_hidden() {
    as_everybody(|who| {
        const MANY: usize = 10_000;
        let directory = workspace(who, &[]);
        let path = directory.path();
        for name in 0..MANY {
            fs::write(path.join(name.to_string()), "s").expect("write");
        }
        let options = [
            format!("own:{}", path.display()),
            format!("masks:{}:{MANY}", path.display()),
        ];
        // What a shell's own pattern finds of files that are not empty.
        let script = "find . -type f | wc -l; find . -type f -size +0 | wc -l";
        let said = run(who, path, &options, &["/bin/bash", "-c", script]);
        assert_eq!(said, format!("{MANY}\n0\n"));
    });
}

#[test]
fn a_mask_holds_in_a_folder_that_is_opened_from_inside() {
    as_everybody(|who| {
        let (directory, masks) = secrets(who);
        let path = directory.path();
        // The owner can open it again from inside; the mask has to be there then.
        fs::set_permissions(path.join("inner"), fs::Permissions::from_mode(0o000)).expect("mode");
        let mut options = vec![format!("own:{}", path.display())];
        options.extend(masks);
        let script = "chmod 700 inner; cat inner/.env; echo read";
        assert_eq!(
            run(who, path, &options, &["/bin/bash", "-c", script]),
            "read\n"
        );
    });
}
