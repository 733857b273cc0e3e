//! What is seen and what can be written.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::as_everybody;

#[test]
fn only_what_is_shown_is_there() {
    as_everybody(|who| {
        let directory = who.directory();
        who.file(&directory.path().join("secret"), "s3cret");
        let path = directory.path().display();
        let read = format!("cat {path}/secret");
        let shown = who.shell(&[&format!("ro:{path}")], &read);
        assert_eq!(shown.fine(), "s3cret");
        let hidden = who.shell(&[], &read);
        assert_ne!(hidden.code, 0);
        assert_eq!(hidden.out, "");
        let names = who.shell(&[], "ls -A /").fine();
        let names: Vec<_> = names.lines().filter(|n| !n.starts_with("lib")).collect();
        assert_eq!(
            names,
            [
                "bin", "dev", "etc", "home", "proc", "run", "sbin", "tmp", "usr"
            ]
        );
        for absent in ["/sys", "/root", "/boot", "/var", "/etc/shadow", "/etc/ssh"] {
            assert_eq!(
                who.shell(&[], &format!("test -e {absent}")).code,
                1,
                "{absent}"
            );
        }
    });
}

#[test]
fn a_writable_path_is_written_on_the_host_and_all_else_is_not() {
    as_everybody(|who| {
        let (open, shut) = (who.directory(), who.directory());
        who.file(&shut.path().join("kept"), "kept");
        let (open_path, shut_path) = (open.path().display(), shut.path().display());
        let options = [format!("own:{open_path}"), format!("ro:{shut_path}")];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        who.shell(&options, &format!("echo new > {open_path}/file"))
            .fine();
        let written = fs::read_to_string(open.path().join("file")).expect("on the host");
        assert_eq!(written, "new\n");
        for place in [
            &format!("{shut_path}/x"),
            &format!("{shut_path}/kept"),
            "/x",
            "/usr/x",
            "/dev/x",
        ] {
            let refused = who.shell(&options, &format!("echo x > {place}"));
            assert_ne!(refused.code, 0, "{place}");
        }
        assert_eq!(fs::read_dir(shut.path()).expect("list").count(), 1);
        assert_eq!(
            fs::read_to_string(shut.path().join("kept")).expect("read"),
            "kept"
        );
    });
}

#[test]
fn scratch_directories_are_writable_and_gone_with_the_session() {
    as_everybody(|who| {
        let probe = "for d in /tmp /run /home/agent /dev/shm; do echo x > $d/palisade-probe || exit 1; done; stat -c %a /tmp /home/agent";
        assert_eq!(who.shell(&[], probe).fine(), "1777\n700\n");
        let again = who
            .shell(&[], "ls -A /tmp /run /home/agent /dev/shm")
            .fine();
        assert!(!again.contains("palisade-probe"), "{again}");
        assert!(!fs::exists("/tmp/palisade-probe").expect("host"));
    });
}

#[test]
fn proc_tells_of_the_inside_and_changes_nothing_outside() {
    as_everybody(|who| {
        // Init, the shell, and nothing of the host.
        let processes = who
            .shell(&[], "ls -d /proc/[0-9]* | wc -l; wc -c < /proc/interrupts")
            .fine();
        let numbers: Vec<u32> = processes
            .lines()
            .map(|n| n.parse().expect("number"))
            .collect();
        assert!(numbers[0] <= 5, "{processes}");
        assert_eq!(numbers[1], 0, "hidden");
        assert!(!fs::read("/proc/interrupts").expect("outside").is_empty());
        let hidden = who
            .shell(&[], "ls -A /proc/acpi /proc/scsi 2>/dev/null | grep -v :")
            .out;
        assert_eq!(hidden.trim(), "");
        for file in [
            "sys/kernel/hostname",
            "sys/net/ipv4/ip_forward",
            "irq/default_smp_affinity",
        ] {
            let refused = who.shell(
                &[],
                &format!("test -e /proc/{file} || exit 7; echo 0 > /proc/{file}"),
            );
            assert_eq!(refused.code, 1, "{file}: {refused:?}");
            assert!(refused.err.contains("Read-only"), "{file}: {refused:?}");
        }
        who.shell(&[], "echo 500 > /proc/self/oom_score_adj").fine();
    });
}

#[test]
fn dev_is_minimal_and_works() {
    as_everybody(|who| {
        let names = who.shell(&[], "ls /dev | tr '\\n' ' '").fine();
        let expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ";
        assert_eq!(names, expected);
        who.shell(
            &[],
            "head -c 8 /dev/urandom > /dev/null && ! echo x > /dev/full",
        )
        .fine();
        let made = who.shell(&[], "mknod /tmp/disk b 254 0");
        assert_ne!(made.code, 0, "a device file was made: {made:?}");
        who.shell(&[], "mkfifo /tmp/pipe").fine();
    });
}

#[test]
fn made_up_files_cover_what_the_host_has_and_cannot_be_changed() {
    as_everybody(|who| {
        let workspace = who.directory();
        let path = workspace.path();
        who.file(&path.join("config"), "host");
        fs::create_dir(path.join("hooks")).expect("directory");
        who.file(&path.join("hooks/run"), "host");
        who.give(&path.join("hooks"));
        let path = path.display();
        let options = [
            format!("own:{path}"),
            format!("file:{path}/config:covered"),
            format!("dir:{path}/hooks"),
            "file:/etc/made:up".to_owned(),
            "file:/run/made:up".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let script = format!(
            "cat {path}/config /etc/made /run/made; ls -A {path}/hooks; cd {path}; \
             for f in {path}/config /etc/made /run/made {path}/hooks/new; do \
             (echo x > $f) 2>/dev/null && echo written $f; rm -f $f 2>/dev/null; test $f = {path}/hooks/new || cat $f >/dev/null || echo gone $f; done; \
             ls -A / | grep palisade; echo kept > {path}/positive"
        );
        assert_eq!(who.shell(&options, &script).fine(), "coveredupup");
        let read = |name: &str| fs::read_to_string(workspace.path().join(name)).expect("host file");
        assert_eq!(
            (read("config"), read("hooks/run")),
            ("host".into(), "host".into())
        );
        assert_eq!(read("positive"), "kept\n");
    });
}

#[test]
fn scratch_can_cover_a_part_of_the_workspace() {
    as_everybody(|who| {
        let workspace = who.directory();
        fs::create_dir(workspace.path().join("cache")).expect("directory");
        who.file(&workspace.path().join("cache/old"), "host");
        who.give(&workspace.path().join("cache"));
        let path = workspace.path().display();
        let options = [format!("own:{path}"), format!("scratch:{path}/cache:700")];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let script = format!(
            "ls -A {path}/cache; echo x > {path}/cache/new && ls {path}/cache; ls /.palisade 2>/dev/null"
        );
        assert_eq!(who.shell(&options, &script).out, "new\n");
        let left = fs::read_dir(workspace.path().join("cache")).expect("list");
        assert_eq!(left.count(), 1);
    });
}

#[test]
fn a_link_in_the_workspace_leads_no_entry_out() {
    as_everybody(|who| {
        let (workspace, outside) = (who.directory(), who.directory());
        who.file(&outside.path().join("file"), "outside");
        symlink(outside.path(), workspace.path().join("link")).expect("link");
        let path = workspace.path().display();
        let entry = format!("file:{path}/link/file:covered");
        let refused = who.shell(&[&format!("own:{path}"), &entry], "true");
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.err.contains("link/file"), "{refused:?}");
        // Where the link leads to something inside, that is what is covered.
        let shown = format!("ro:{}", outside.path().display());
        let own = format!("own:{path}");
        let options = [&own, &shown, &entry].map(String::as_str);
        let read = format!("cat {}/file {path}/link/file", outside.path().display());
        assert_eq!(who.shell(&options, &read).fine(), "coveredcovered");
        assert_eq!(
            fs::read_to_string(outside.path().join("file")).expect("host"),
            "outside"
        );
    });
}

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    as_everybody(|who| {
        let directory = who.directory();
        symlink("/usr", directory.path().join("link")).expect("link");
        let path = directory.path().display();
        let cases = [
            ("ro:/nowhere/at/all".to_owned(), "/nowhere/at/all"),
            (format!("ro:{path}/link/bin:/mnt"), "symbolic link"),
            (format!("link:/a:/usr|ro:{path}:/a/b"), "symbolic link"),
            (format!("ro:{path}|dir:{path}/missing"), "missing"),
            ("dir:relative".to_owned(), "relative"),
            ("scratch:/a/../../b:700".to_owned(), "steps back"),
        ];
        for (options, word) in cases {
            let options: Vec<&str> = options.split('|').collect();
            let refused = who.shell(&options, "true");
            assert_eq!(refused.code, 125, "{options:?}: {refused:?}");
            assert!(refused.err.contains(word), "{options:?}: {refused:?}");
        }
    });
}

#[test]
fn mounts_below_a_shown_directory_are_shown_with_the_same_rights() {
    as_everybody(|who| {
        // /dev holds mounts of its own on every machine.
        let below = who.shell(
            &["ro:/dev:/mnt"],
            "test -d /mnt/shm && ! touch /mnt/shm/x && ! touch /mnt/x",
        );
        below.fine();
        who.shell(&[], "touch /dev/shm/x").fine();
    });
}
