//! Machines that lack something: other kernels, containers, limits. A filter on the supervisor stands for them.

use crate::support::{Said, as_everybody};

fn refuse(call: i64, errno: i32) -> String {
    format!("refuse:{call}:{errno}")
}

#[test]
fn the_older_clone_serves_where_the_newer_is_hidden() {
    as_everybody(|who| {
        let option = refuse(libc::SYS_clone3, libc::ENOSYS);
        assert_eq!(who.shell(&[&option], "echo fine").fine(), "fine\n");
    });
}

#[test]
fn what_is_missing_is_named_with_its_fix() {
    as_everybody(|who| {
        let cases = [
            (
                refuse(libc::SYS_clone3, libc::EPERM),
                [
                    "namespaces",
                    "user namespaces are refused",
                    "seccomp=unconfined",
                ],
            ),
            (
                refuse(libc::SYS_clone3, libc::ENOSPC),
                ["namespaces", "limit", "user.max_user_namespaces"],
            ),
            (
                refuse(libc::SYS_unshare, libc::ENOSPC),
                ["network", "limit", "user.max_net_namespaces"],
            ),
            (
                refuse(libc::SYS_clone3, libc::EAGAIN),
                ["namespaces", "processes", "ulimit"],
            ),
            (
                refuse(libc::SYS_mount_setattr, libc::ENOSYS),
                ["inside", "", ""],
            ),
            (
                refuse(libc::SYS_pivot_root, libc::EPERM),
                ["switch to the new root", "", ""],
            ),
        ];
        for (option, words) in cases {
            let refused = who.shell(&[&option], "echo never");
            assert_eq!(refused.code, 125, "{option}: {refused:?}");
            assert_eq!(refused.out, "");
            assert!(
                words.iter().all(|w| refused.err.contains(w)),
                "{option} {words:?}: {refused:?}"
            );
        }
    });
}

#[test]
fn what_would_be_weaker_is_refused_unless_it_is_accepted() {
    as_everybody(|who| {
        let kernel = refuse(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
        let start =
            |options: &[&str]| who.shell(&[&[kernel.as_str()], options].concat(), "echo fine");
        for options in [&[][..], &["accept:limits.memory"]] {
            let refused = start(options);
            assert_eq!(
                (refused.code, refused.out.as_str()),
                (125, ""),
                "{refused:?}"
            );
            assert!(refused.err.contains("hold landlock"), "{refused:?}");
        }
        assert_eq!(start(&["accept:landlock"]).fine(), "fine\n");
        assert_eq!(who.shell(&[], "echo fine").fine(), "fine\n");
    });
}

#[test]
fn a_masked_proc_is_named() {
    as_everybody(|who| {
        // The third argument of fsmount is 0; fsopen of "proc" cannot be told from others, so all are refused.
        let refused = who.shell(&[&refuse(libc::SYS_fsmount, libc::EPERM)], "echo never");
        assert_eq!(refused.code, 125);
        assert_eq!(refused.out, "");
    });
}

#[test]
fn one_processor_is_enough() {
    as_everybody(|who| {
        let enter = who.enter(
            &["system", "serve"],
            &["/bin/bash", "-c", "cat < /dev/tcp/1.2.3.4/443"],
        );
        let mut command = who.command("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(enter.get_program())
            .args(enter.get_args());
        let said = Said::of(&command.output().expect("taskset runs")).fine();
        assert!(said.starts_with("Transparent 1.2.3.4 443 "), "{said}");
        // What fails is named in the same way when nobody builds beside init.
        let enter = who.enter(&["system", "dir:/usr/missing"], &["true"]);
        let mut command = who.command("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(enter.get_program())
            .args(enter.get_args());
        let said = Said::of(&command.output().expect("taskset runs"));
        assert_eq!(said.code, 125);
        assert!(said.err.contains("/usr/missing"), "{said:?}");
    });
}
