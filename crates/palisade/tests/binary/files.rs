//! What a session shows of the machine, and what it lets be changed.

use palisade_test_support::{Policy, each_identity};

use crate::lab;

each_identity! {
    fn the_home_is_empty_but_for_what_the_policy_names(who) {
        let lab = lab(who);
        let script = "cat ~/.gitconfig; ls -A ~";
        let policy = Policy::new().filesystem("read = [\"~/.gitconfig\"]");
        let shown = lab.run(&policy, ["sh", "-c", script]).run().expect(0);
        assert!(shown.stdout.contains("name = T"), "{shown}");
        assert!(!shown.stdout.contains(".ssh"), "{shown}");
        let hidden = lab.run(&Policy::new(), ["sh", "-c", script]).run().expect(0);
        assert_eq!(hidden.stdout, "project\n", "{hidden}");
    }

    fn a_path_shown_for_reading_cannot_be_changed(who) {
        let lab = lab(who);
        let script = "echo '# more' >> ~/.gitconfig";
        let read = Policy::new().filesystem("read = [\"~/.gitconfig\"]");
        let done = lab.run(&read, ["sh", "-c", script]).run();
        assert_ne!(done.status, 0, "{done}");
        let write = Policy::new().filesystem("write = [\"~/.gitconfig\"]");
        lab.run(&write, ["sh", "-c", script]).run().expect(0);
        let text = std::fs::read_to_string(lab.home().join(".gitconfig")).unwrap();
        assert!(text.ends_with("# more\n"), "{text}");
    }

    fn a_folder_shown_for_writing_keeps_its_owner(who) {
        use std::os::unix::fs::MetadataExt as _;
        let lab = lab(who);
        lab.write(&lab.home().join(".state/own"), "x");
        let policy = Policy::new().filesystem("write = [\"~/.state\"]");
        lab.run(&policy, ["sh", "-c", "cat ~/.state/own; mkdir ~/.state/new"]).run().expect(0);
        let made = std::fs::metadata(lab.home().join(".state/new")).unwrap();
        assert_eq!(made.uid(), who.uid());
    }

    fn an_agent_cannot_write_its_next_policy_or_its_log(who) {
        let lab = lab(who);
        lab.write(&lab.home().join(".config/other/file"), "x");
        lab.write(&lab.home().join(".local/state/other/file"), "x");
        let plant = "echo planted > \"$HOME/$0/palisade/policy.toml\"; echo planted > \"$HOME/$0/other/file\"";
        let run = |shown: &str| {
            lab.write(&lab.home().join(shown).join("palisade/own"), "x");
            let policy = Policy::new().filesystem(&format!("write = [\"~/{shown}\"]"));
            lab.run(&policy, ["sh", "-c", plant, shown]).run()
        };
        for shown in [".config", ".config/palisade", ".local/state"] {
            run(shown).expect(125).expect_error("cannot be writable inside");
            assert!(!lab.home().join(shown).join("palisade/policy.toml").exists());
        }
        let beside = Policy::new().filesystem("write = [\"~/.config/other\"]");
        lab.run(&beside, ["sh", "-c", "echo planted > ~/.config/other/file"]).run().expect(0);
    }

    fn a_program_named_by_the_person_is_shown_and_nothing_beside_it(who) {
        use std::os::unix::fs::PermissionsExt as _;
        let lab = lab(who);
        let folder = lab.home().join("tools");
        lab.write(&folder.join("secret"), "x");
        let program = |name: &str, bytes: &[u8]| {
            let path = lab.write(&folder.join(name), bytes);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("listing", &std::fs::read("/bin/ls").unwrap());
        program("own-script", b"#!/bin/sh\nls ~/tools\n");
        std::os::unix::fs::symlink(folder.join("listing"), lab.home().join("link")).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let run = |words: &[&str]| lab.palisade(["run", "--quiet", "--"]).args(words).env("PATH", &path).run();
        let tools = folder.display().to_string();
        let done = run(&["listing", &tools]).expect(0);
        assert_eq!(done.stdout, "listing\n", "{done}");
        let done = run(&["../link", &tools]).expect(0);
        assert_eq!(done.stdout, "listing\n", "{done}");
        // A script needs what lies beside it: that takes a rule, and the error says which.
        run(&["own-script"]).expect(127).expect_error("filesystem");
        // Nor does the way round over the kernel's own links show one: that is palisade's program, which is closed to it.
        run(&["/proc/self/exe"]).expect(126);
    }

    fn links_out_of_the_workspace_lead_nowhere(who) {
        let lab = lab(who);
        let secret = lab.home().join(".ssh/id_ed25519");
        std::os::unix::fs::symlink(&secret, lab.workspace().join("link")).unwrap();
        let control = lab.outside("/bin/cat").args(["link"]).run().expect(0);
        assert_eq!(control.stdout, lab.secret());
        let done = lab.palisade(["run", "--quiet", "--", "cat", "link"]).run().expect(1);
        assert_eq!(done.stdout, "");
    }

    fn links_made_inside_do_not_lead_the_host_astray(who) {
        let lab = lab(who);
        // What the host's palisade writes must not follow a link that an agent left.
        let script = "rm -rf .palisade; ln -s ../.ssh .palisade; ln -sf ../.ssh/id_ed25519 palisade.toml; ls -l";
        lab.palisade(["run", "--quiet", "--", "sh", "-c", script]).run().expect(0);
        let next = lab.palisade(["run", "--quiet", "--", "cat", "palisade.toml"]).run();
        assert!(!next.stdout.contains(lab.secret()), "{next}");
        assert!(!next.stderr.contains(lab.secret()), "an error must not print what a link leads to: {next}");
        let key = std::fs::read_to_string(lab.home().join(".ssh/id_ed25519")).unwrap();
        assert_eq!(key, lab.secret());
    }

    fn temporary_folders_are_the_sessions_own(who) {
        let lab = lab(who);
        let name = lab.path("").file_name().unwrap().to_str().unwrap().to_owned();
        let files = [format!("/tmp/{name}-a"), format!("/var/tmp/{name}-b")];
        let script = format!("touch {} $TMPDIR/c; ls /tmp", files.join(" "));
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", &script]).run().expect(0);
        assert!(done.stdout.contains(&format!("{name}-a")), "{done}");
        assert!(!files.iter().any(|file| std::path::Path::new(file).exists()), "{files:?}");
        // The next session starts with empty ones. The workspace of this test lies below /tmp, at its own path.
        let next = lab.palisade(["run", "--quiet", "--", "ls", "/tmp"]).run().expect(0);
        assert_eq!(next.stdout, format!("{name}\n"));
    }

    fn the_system_is_there_and_cannot_be_changed(who) {
        let lab = lab(who);
        let script = "ls /usr/bin/env /etc/passwd /etc/hosts > /dev/null && id -un && for d in /usr /etc / /opt /lib; do touch $d/x 2>/dev/null && echo changed $d; done; \
                      for d in /sys /boot /root /var/lib /var/log /run/docker.sock /etc/sudoers /etc/machine-id; do ls $d 2>/dev/null && echo shown $d; done; exit 0";
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", script]).run().expect(0);
        assert_eq!(done.stdout.lines().count(), 1, "{done}");
    }

    fn a_workspace_that_is_too_wide_is_refused(who) {
        let lab = lab(who);
        for wide in ["/", "/usr", "/etc", lab.home().to_str().unwrap()] {
            let done = lab.palisade(["run", "--workspace", wide, "--", "true"]).run();
            assert_eq!(done.status, 125, "{wide}: {done}");
        }
        let narrow = lab.workspace();
        lab.palisade(["run", "--workspace", narrow.to_str().unwrap(), "--", "true"]).run().expect(0);
    }
}
