//! A workspace whose changes land elsewhere: kept in a folder, or in memory.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Said, Who, as_everybody, as_root, in_words, workspace};

/// Every kind of change.
const CHANGES: &str = "echo changed > file; echo more >> appended; rm removed; mkdir -p new/deep; echo n > new/deep/file; \
    rm -rf folder; mkdir folder; echo other > folder/other; mv moved elsewhere; chmod 700 mode; ln -s file link; \
    ln file hard; mv -T tree tree2";

/// A folder with something to change of every kind.
fn filled(who: Who) -> TempDir {
    let directory = workspace(who, &["folder", "tree/below"]);
    let path = directory.path();
    for name in [
        "file",
        "appended",
        "removed",
        "moved",
        "mode",
        "folder/old",
        "tree/below/file",
    ] {
        who.file(&path.join(name), "host\n");
    }
    who.give(&path.join("tree"));
    directory
}

/// All names below a folder, with what they hold.
fn listed(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("list").flatten() {
            let kind = entry.file_type().expect("kind");
            let name = entry
                .path()
                .strip_prefix(folder)
                .expect("below")
                .display()
                .to_string();
            let content = match fs::read_to_string(entry.path()) {
                Ok(text) if kind.is_file() => text,
                _ if kind.is_char_device() => "whiteout".to_owned(),
                _ => String::new(),
            };
            if kind.is_dir() {
                folders.push(entry.path());
            }
            all.push((name, content));
        }
    }
    all.sort();
    all
}

fn review(path: &Path, changes: &TempDir) -> String {
    format!("review:{}:{}", path.display(), changes.path().display())
}

fn inside(who: Who, option: &str, path: &Path, script: &str) -> Said {
    let cwd = format!("cwd:{}", path.display());
    who.shell(&[option, &cwd], script)
}

#[test]
fn what_is_changed_is_kept_apart_and_the_host_stays_as_it_is() {
    as_everybody(|who| {
        let directory = filled(who);
        let path = directory.path();
        let before = listed(path);
        let changes = who.changes(path);
        let option = review(path, &changes);
        let script = format!("{CHANGES}; cat file appended elsewhere tree2/below/file; ls folder");
        let seen = inside(who, &option, path, &script).fine();
        assert_eq!(seen, "changed\nhost\nmore\nhost\nhost\nother\n");
        assert_eq!(listed(path), before, "on the host");
        let kept = listed(&changes.path().join("upper"));
        let kept: Vec<(&str, &str)> = kept.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
        for expected in [
            ("file", "changed\n"),
            ("appended", "host\nmore\n"),
            ("removed", "whiteout"),
            ("new/deep/file", "n\n"),
            ("folder/other", "other\n"),
            ("moved", "whiteout"),
            ("elsewhere", "host\n"),
            ("mode", "host\n"),
            ("tree", "whiteout"),
            ("tree2/below/file", "host\n"),
        ] {
            assert!(kept.contains(&expected), "{expected:?}: {kept:?}");
        }
        // And the next one goes on where this one stopped.
        let again = inside(
            who,
            &option,
            path,
            "cat file; test ! -e removed && ls folder",
        )
        .fine();
        assert_eq!(again, "changed\nother\n");
    });
}

#[test]
fn changes_in_memory_are_gone_with_the_session() {
    as_everybody(|who| {
        let directory = filled(who);
        let path = directory.path();
        let before = listed(path);
        let option = format!("scratch-of:{}", path.display());
        let script = format!("{CHANGES}; cat file; ls folder");
        assert_eq!(
            inside(who, &option, path, &script).fine(),
            "changed\nother\n"
        );
        assert_eq!(listed(path), before);
        assert_eq!(
            inside(who, &option, path, "cat file; ls folder").fine(),
            "host\nold\n"
        );
    });
}

#[test]
fn what_is_copied_up_keeps_its_owner_and_mode() {
    as_everybody(|who| {
        let directory = filled(who);
        let path = directory.path();
        fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o640)).expect("mode");
        fs::set_permissions(path, fs::Permissions::from_mode(0o751)).expect("mode");
        let changes = who.changes(path);
        let script =
            "stat -c '%u %g %a' . file; echo x >> file; stat -c '%u %g %a' . file; id -u; id -g";
        let seen = inside(who, &review(path, &changes), path, script).fine();
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines[..2], lines[2..4], "{seen}");
        let agent = format!("{} {}", lines[4], lines[5]);
        assert_eq!(lines[..2], [format!("{agent} 751"), format!("{agent} 640")]);
        let kept = fs::metadata(changes.path().join("upper/file")).expect("kept");
        assert_eq!(
            (kept.uid(), kept.gid(), kept.mode() & 0o7777),
            (who.agent_outside(), who.agent_outside(), 0o640)
        );
    });
}

#[test]
fn a_name_means_nothing_to_the_mount() {
    as_everybody(|who| {
        // A colon, which the example takes for its own, is tested with the binary.
        for name in ["a,b", "a\\b", "a b\n", "upperdir=x", "\u{e4}"] {
            let parent = who.directory();
            let path = parent.path().join(name);
            fs::create_dir(&path).expect("create");
            who.file(&path.join("file"), "host\n");
            who.give(&path);
            let changes = who.changes(&path);
            let seen = inside(
                who,
                &review(&path, &changes),
                &path,
                "cat file; echo x > file",
            )
            .fine();
            assert_eq!(seen, "host\n", "{name:?}");
            assert_eq!(
                listed(&changes.path().join("upper"))[0].1,
                "x\n",
                "{name:?}"
            );
        }
    });
}

#[test]
fn an_agent_forges_no_marks_of_the_overlay() {
    as_everybody(|who| {
        let directory = filled(who);
        let path = directory.path();
        let changes = who.changes(path);
        let forge = "import os\n\
            for name, value in [('user.overlay.opaque', b'y'), ('user.overlay.redirect', b'/tree'), ('user.overlay.metacopy', b'')]:\n\
            \x20for place in ['tree', 'file']:\n\
            \x20 try: os.setxattr(place, name, value)\n\
            \x20 except OSError: pass\n\
            os.setxattr('mode', 'user.mine', b'kept')\n\
            try: os.mknod('fake', 0o20000, 0)\n\
            except OSError as error: print('refused')\n";
        let option = review(path, &changes);
        let cwd = format!("cwd:{}", path.display());
        let command = ["/usr/bin/python3", "-c", forge];
        let forged = Said::of(
            &who.enter(&["system", &option, &cwd], &command)
                .output()
                .expect("starts"),
        );
        assert_eq!(forged.fine(), "refused\n");
        // Nothing of the lower has gone, and the next mount of the same changes takes none of it for its own.
        let script = "cat tree/below/file file; test ! -e fake && echo fine";
        assert_eq!(
            inside(who, &option, path, script).fine(),
            "host\nhost\nfine\n"
        );
        let upper = changes.path().join("upper");
        for name in [
            "user.overlay.opaque",
            "user.overlay.redirect",
            "user.overlay.metacopy",
        ] {
            for place in ["tree", "file"] {
                let mut value = [0u8; 16];
                let found = rustix::fs::getxattr(upper.join(place), name, &mut value[..]);
                assert!(found.is_err(), "{place} {name}: {found:?}");
            }
        }
        let mut value = [0u8; 16];
        let mine = rustix::fs::getxattr(upper.join("mode"), "user.mine", &mut value[..]);
        assert_eq!(mine, Ok(4), "the agent's own attributes are kept");
    });
}

#[test]
fn a_file_that_governs_cannot_be_changed_by_way_of_its_folders() {
    as_everybody(|who| {
        let attack = "
            echo x > a/b/policy; mv a/b/policy p; rm -rf a/b; mv -T a n; mv -T a/b n2; ln -sfn /tmp a
            mkdir -p other/b; echo forged > other/b/policy
            /usr/bin/python3 -c 'import ctypes
libc = ctypes.CDLL(None)
for pair in [(b\"a\", b\"other\"), (b\"a/b\", b\"other/b\"), (b\"a/b/policy\", b\"other/b/policy\")]:
    libc.syscall(316, -100, pair[0], -100, pair[1], 2)'
            cat a/b/policy; echo more >> a/free && echo positive";
        for scratch in [false, true] {
            let directory = workspace(who, &["a", "a/b"]);
            let path = directory.path();
            who.file(&path.join("a/b/policy"), "governs\n");
            who.file(&path.join("a/free"), "");
            let changes = who.changes(path);
            let option = match scratch {
                false => review(path, &changes),
                true => format!("scratch-of:{}", path.display()),
            };
            let pin = format!("ro:{}", path.join("a/b/policy").display());
            let cwd = format!("cwd:{}", path.display());
            let pinned = who.shell(&[&option, &pin, &cwd], attack);
            assert_eq!(pinned.out, "governs\npositive\n", "{pinned:?}");
            let open = who.shell(&[&option, &cwd], attack);
            assert!(
                !open.out.starts_with("governs"),
                "the attack does nothing: {open:?}"
            );
        }
    });
}

#[test]
fn sizes_hold_and_programs_run_only_where_they_may() {
    as_everybody(|who| {
        let directory = workspace(who, &["w"]);
        let path = directory.path().join("w");
        let fill = "head -c 3000000 /dev/zero > big; stat -c %s big; cp /usr/bin/true t && ./t && echo ran";
        let limited = inside(
            who,
            &format!("scratch-of:{}:1048576", path.display()),
            &path,
            fill,
        );
        assert!(limited.err.contains("No space left"), "{limited:?}");
        let roomy = inside(
            who,
            &format!("scratch-of:{}:16777216", path.display()),
            &path,
            fill,
        );
        assert_eq!(roomy.fine(), "3000000\nran\n");
        let memory = Path::new("/fast");
        let limited = inside(who, "tmpfs:/fast:1048576", memory, fill);
        assert!(limited.err.contains("No space left"), "{limited:?}");
        let no_programs = inside(who, "tmpfs:/fast:16777216", memory, fill);
        assert_eq!(no_programs.out, "3000000\n", "{no_programs:?}");
        assert!(
            no_programs.err.contains("Permission denied"),
            "{no_programs:?}"
        );
        let programs = inside(who, "tmpfs-exec:/fast:16777216", memory, fill);
        assert_eq!(programs.fine(), "3000000\nran\n");
        let gone = inside(
            who,
            "tmpfs:/fast:16777216",
            memory,
            "ls -A; stat -f -c %T .",
        );
        assert_eq!(gone.fine(), "tmpfs\n");
    });
}

#[test]
fn a_file_system_in_memory_covers_a_part_of_the_workspace() {
    as_everybody(|who| {
        let directory = workspace(who, &["target"]);
        let path = directory.path();
        who.file(&path.join("target/old"), "host");
        let options = [
            format!("own:{}", path.display()),
            format!("tmpfs:{}/target", path.display()),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let script = format!("cd {}/target; ls; touch new; ls", path.display());
        assert_eq!(who.shell(&options, &script).fine(), "new\n");
        assert_eq!(listed(path).len(), 2, "on the host");
    });
}

/// Runs `enter` in a mount namespace of its own, after these mounts.
fn with_mounts(mounts: &str, enter: &Command) -> Said {
    let script = format!("{mounts}\nexec {}", in_words(enter));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-ec", &script]);
    Said::of(&unshare.output().expect("unshare"))
}

#[test]
fn what_cannot_hold_changes_is_named_with_what_to_do() {
    as_root(|who| {
        let directory = filled(who);
        let path = directory.path();
        let place = who.directory();
        let made = format!(
            "cd {0}; mkdir -p c/upper c/work; chown -R {1}:{1} c; cd /",
            place.path().display(),
            who.agent_outside()
        );
        let changes = format!("{}/c", place.path().display());
        let option = format!("review:{}:{changes}", path.display());
        let enter = who.enter(&["system", &option], &["/bin/true"]);
        let fine = with_mounts(&made, &enter);
        assert_eq!(fine.code, 0, "{fine:?}");
        let on = |kind: &str, options: &str| {
            format!(
                "mount -t {kind} {options} none {}\n{made}",
                place.path().display()
            )
        };
        let bare = with_mounts(&on("ramfs", ""), &enter);
        assert_eq!(bare.code, 125, "{bare:?}");
        assert!(bare.err.contains("keeps no user attributes"), "{bare:?}");
        let parts = who.directory();
        let parts = parts.path().display();
        let overlay = format!(
            "cd {parts}; mkdir l u k; cd /; {}",
            on(
                "overlay",
                &format!("-o lowerdir={parts}/l,upperdir={parts}/u,workdir={parts}/k")
            )
        );
        let nested = with_mounts(&overlay, &enter);
        assert_eq!(nested.code, 125, "{nested:?}");
        assert!(nested.err.contains("on an overlay itself"), "{nested:?}");
        assert!(nested.err.contains("XDG_STATE_HOME"), "{nested:?}");
    });
}

#[test]
fn a_workspace_with_mounts_below_it_is_refused_by_their_names() {
    as_root(|who| {
        let directory = filled(who);
        let path = directory.path();
        let option = format!("scratch-of:{}", path.display());
        let enter = who.enter(&["system", &option], &["/bin/cat", "/etc/passwd"]);
        let below = format!("mount -t tmpfs none {}/folder", path.display());
        let refused = with_mounts(&below, &enter);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(
            refused.err.contains(&format!("{}/folder", path.display())),
            "{refused:?}"
        );
        // The workspace may be a mount itself.
        let itself = format!("mount -t tmpfs none {}", path.display());
        assert_eq!(with_mounts(&itself, &enter).code, 0);
    });
}

#[test]
fn a_host_mount_without_programs_stays_one() {
    as_root(|who| {
        let directory = workspace(who, &[]);
        let path = directory.path().display();
        let program = format!("{path}/program");
        let option = format!("scratch-of:{path}");
        let enter = who.enter(&["system", &option], &[&program]);
        let mount = |options: &str| {
            format!("mount -t tmpfs -o {options} none {path}; cp /usr/bin/true {program}")
        };
        assert_eq!(with_mounts(&mount("exec"), &enter).code, 0);
        let refused = with_mounts(&mount("noexec"), &enter);
        assert_ne!(refused.code, 0, "{refused:?}");
    });
}
