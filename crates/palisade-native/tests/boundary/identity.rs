//! Who the agent is, inside and outside, and what it may do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::support::{
    AGENT_OF_ROOT, Killed, as_everybody, as_root, eventually, in_words, marker, processes_with,
};

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("{name} in {status}")).trim()
}

#[test]
fn the_agent_has_no_right_and_can_get_none() {
    as_everybody(|who| {
        let status = who.shell(&[], "cat /proc/self/status").fine();
        for name in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:"] {
            assert_eq!(field(&status, name), "0000000000000000", "{name}");
        }
        assert_eq!(field(&status, "NoNewPrivs:"), "1");
        assert_eq!(field(&status, "Seccomp:"), "2");
        assert_eq!(field(&status, "Uid:"), "1000\t1000\t1000\t1000");
        for attempt in [
            "unshare -U true",
            "unshare -n true",
            "chroot / true",
            "mount -t tmpfs none /tmp",
            "su -c true",
        ] {
            assert_ne!(who.shell(&[], attempt).code, 0, "{attempt}");
        }
        who.shell(
            &[],
            "unshare --help > /dev/null && mount --version > /dev/null",
        )
        .fine();
    });
}

#[test]
fn the_agent_is_nobody_of_weight_outside() {
    as_everybody(|who| {
        let marker = marker();
        let mut command = who.enter(&["system"], &["sleep", &marker]);
        let session = Killed(command.spawn().expect("starts"));
        let pid = eventually("the agent runs", || {
            processes_with(&marker).first().copied()
        });
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let id = who.agent_outside();
        assert_eq!(field(&status, "Uid:"), format!("{id}\t{id}\t{id}\t{id}"));
        assert_eq!(field(&status, "Gid:"), format!("{id}\t{id}\t{id}\t{id}"));
        assert_eq!(field(&status, "Groups:"), "");
        let init =
            fs::read_to_string(format!("/proc/{}/status", field(&status, "PPid:"))).expect("init");
        assert_eq!(field(&init, "Uid:"), format!("{id}\t{id}\t{id}\t{id}"));
        assert_eq!(field(&init, "CapEff:"), "0000000000000000");
        assert_eq!(field(&init, "NoNewPrivs:"), "1");
        drop(session);
    });
}

#[test]
fn what_the_agent_of_root_makes_belongs_to_the_owner_of_the_workspace() {
    as_root(|who| {
        for (owner, group) in [(0, 0), (1234, 4321), (1000, 1000)] {
            let workspace = who.directory();
            let path = workspace.path();
            fs::write(path.join("old"), "old").expect("write");
            for place in [path, &path.join("old")] {
                chown(place, Some(owner), Some(group)).expect("chown");
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("mode");
            let script = format!(
                "cd {} && cat old && echo new > new && mkdir d && stat -c %u:%g old",
                path.display()
            );
            let said = who
                .shell(&[&format!("own:{}", path.display())], &script)
                .fine();
            assert_eq!(said, "old1000:1000\n");
            for made in ["new", "d"] {
                let found = fs::metadata(path.join(made)).expect("made");
                assert_eq!((found.uid(), found.gid()), (owner, group), "{made}");
            }
        }
    });
}

#[test]
fn files_of_others_stay_theirs() {
    as_root(|who| {
        let workspace = who.directory();
        let path = workspace.path();
        chown(path, Some(1234), Some(1234)).expect("chown");
        for (name, owner, mode) in [
            ("theirs", 7777, 0o600),
            ("read", 7777, 0o644),
            ("own", 1234, 0o600),
        ] {
            fs::write(path.join(name), name).expect("write");
            chown(path.join(name), Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).expect("mode");
        }
        let option = format!("own:{}", path.display());
        let at =
            |script: &str| who.shell(&[&option], &format!("cd {} && {script}", path.display()));
        assert_eq!(at("cat own read && echo x >> own").fine(), "ownread");
        assert_ne!(at("cat theirs").code, 0);
        assert_ne!(at("echo x >> read").code, 0);
        // Shown as on the host, not even the owner's files are the agent's.
        let as_host = who.shell(
            &[&format!("rw:{}", path.display())],
            &format!("cat {}/own", path.display()),
        );
        assert_ne!(as_host.code, 0);
    });
}

#[test]
fn a_file_system_without_mapped_owners_is_refused() {
    as_root(|who| {
        let refused = who.shell(&["own:/sys/kernel:/mnt"], "true");
        assert_eq!(refused.code, 125);
        assert!(refused.err.contains("/sys/kernel"), "{refused:?}");
        assert!(
            refused.err.contains("fix: run palisade as the user"),
            "{refused:?}"
        );
        who.shell(&["ro:/sys/kernel:/mnt"], "test -d /mnt").fine();
    });
}

#[test]
fn no_set_user_id_file_can_be_left_behind() {
    as_everybody(|who| {
        let workspace = who.directory();
        let path = workspace.path();
        let option = format!("own:{}", path.display());
        let script = format!(
            "cd {} && cp /bin/true . && chmod 700 true && ! chmod u+s true && ! chmod g+s true",
            path.display()
        );
        who.shell(&[&option], &script).fine();
        let mode = fs::metadata(path.join("true"))
            .expect("made")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
    });
}

#[test]
fn inits_memory_and_descriptors_are_out_of_reach() {
    as_everybody(|who| {
        for file in [
            "environ", "mem", "maps", "fd/0", "root/etc", "cwd/x", "stack",
        ] {
            let refused = who.shell(&[], &format!("cat /proc/1/{file}"));
            assert_ne!(refused.code, 0, "{file}");
            assert!(
                refused.err.contains("Permission denied"),
                "{file}: {refused:?}"
            );
        }
        assert_ne!(who.shell(&[], "ls /proc/1/fd/").code, 0);
        who.shell(
            &[],
            "cat /proc/self/environ /proc/self/maps > /dev/null && ls /proc/$$/fd/ > /dev/null",
        )
        .fine();
        let line = who.shell(&[], "tr -d '\\0' < /proc/1/cmdline").fine();
        assert_eq!(line, "palisade-init");
        // Signals from inside do not reach it.
        let alive = who.shell(
            &[],
            "for s in KILL STOP TERM INT HUP SEGV; do kill -$s 1; done; test -d /proc/1/task && exit 9",
        );
        assert_eq!(alive.code, 9);
    });
}

#[test]
fn nothing_of_the_callers_environment_is_known_inside() {
    as_everybody(|who| {
        let mut command = who.enter(&["system", "env:GIVEN=yes"], &["/usr/bin/env"]);
        let said = command
            .env("SECRET_OF_THE_CALLER", "x")
            .output()
            .expect("runs");
        let text = String::from_utf8(said.stdout).expect("utf-8");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["GIVEN=yes", "PATH=/usr/bin:/bin"]);
    });
}

#[test]
fn no_descriptor_is_inherited() {
    as_everybody(|who| {
        let list = |command: &str| {
            let script = format!("exec 7< /etc/passwd 9< /etc/passwd; {command}");
            let output = who
                .command("/bin/sh")
                .args(["-c", &script])
                .output()
                .expect("runs");
            String::from_utf8(output.stdout)
                .expect("utf-8")
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let outside = list("exec ls /proc/self/fd");
        assert!(
            ["7", "9"].iter().all(|fd| outside.iter().any(|o| o == fd)),
            "{outside:?}"
        );
        let enter = who.enter(&["system"], &["ls", "/proc/self/fd"]);
        // The fourth is the listing's own.
        assert_eq!(
            list(&format!("exec {}", in_words(&enter))),
            ["0", "1", "2", "3"]
        );
    });
}

#[test]
fn a_pipe_can_be_opened_again_by_the_agent() {
    as_everybody(|who| {
        let script = "echo again > /dev/stdout; cat /dev/stdin";
        let inside = in_words(&who.enter(&["system"], &["/bin/sh", "-c", script]));
        // The user makes the pipes, not the test.
        let mut shell = who.command("/bin/sh");
        let output = shell
            .args(["-c", &format!("printf in | {inside} | cat")])
            .output()
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "again\nin");
    });
}

#[test]
fn a_redirected_file_can_be_opened_again_as_it_was_given() {
    as_everybody(|who| {
        let directory = who.directory();
        let file = directory.path().join("file");
        who.file(&file, "content");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("mode");
        let run = |redirect: &str, script: &str| {
            let inside = in_words(&who.enter(&["system"], &["/bin/sh", "-c", script]));
            let mut shell = who.command("/bin/sh");
            shell.args(["-c", &format!("{inside} {redirect}{}", file.display())]);
            shell.output().expect("runs")
        };
        assert_eq!(run("<", "cat /dev/stdin").stdout, b"content");
        assert!(!run("<", "echo x > /dev/stdin").status.success());
        assert_eq!(fs::read_to_string(&file).expect("file"), "content");
        assert!(run(">>", "echo more > /dev/stdout").status.success());
        assert!(!run(">>", "cat /proc/self/fd/1").status.success());
    });
}

#[test]
fn a_directory_as_a_standard_stream_is_refused() {
    as_everybody(|who| {
        let mut command = who.enter(&["system"], &["ls", "/proc/self/fd/0/"]);
        let root = fs::File::open("/").expect("root");
        let output = command.stdin(root).output().expect("runs");
        assert_eq!(output.status.code(), Some(125));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("standard input") && told.contains("directory"),
            "{told}"
        );
        assert!(output.stdout.is_empty());
    });
}

#[test]
fn the_id_outside_of_roots_agent_is_not_root() {
    assert_ne!(AGENT_OF_ROOT, 0);
    as_root(|who| {
        // Files only root can read stay unreadable.
        let directory = who.directory();
        who.file(&directory.path().join("root-only"), "x");
        let file = directory.path().join("root-only");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
        let shown = format!("ro:{}:/mnt", file.display());
        assert_ne!(who.shell(&[&shown], "cat /mnt").code, 0);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
        assert_eq!(who.shell(&[&shown], "cat /mnt").fine(), "x");
    });
}
