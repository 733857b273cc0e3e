//! A wrong policy stops a session before anything starts, and says where it is wrong.

use palisade_test_support::{Finished, Identity, Lab, each_identity};

use crate::lab;

/// Runs `true` under this policy text and expects a refusal that points at a place in the file.
#[track_caller]
fn refused(lab: &Lab, text: &str, place: &str) -> Finished {
    let policy = lab.policy(text);
    let marker = lab.workspace().join("ran");
    let done = lab
        .palisade(["run", "--policy"])
        .args([&policy])
        .args(["--", "touch", "ran"])
        .run()
        .expect(125)
        .expect_error(&format!("policy.toml:{place}"))
        .expect_error("^");
    assert!(!marker.exists(), "the agent ran all the same");
    done
}

/// The same for a policy that is right.
fn accepted(who: Identity, text: &str) {
    let lab = lab(who);
    let policy = lab.policy(text);
    lab.palisade(["run", "--policy"])
        .args([policy])
        .args(["--", "touch", "ran"])
        .run()
        .expect(0);
    assert!(lab.workspace().join("ran").exists());
}

each_identity! {
    fn an_unknown_key_is_shown_with_the_one_meant(who) {
        accepted(who, "version = 1\n[network]\nextra_ca = []\n");
        let lab = lab(who);
        refused(&lab, "version = 1\n[network]\nextra_cas = []\n", "3:1").expect_error("extra_ca");
    }

    fn a_wrong_type_is_shown(who) {
        accepted(who, "version = 1\n[limits]\nprocesses = 64\n");
        let lab = lab(who);
        refused(&lab, "version = 1\n[limits]\nprocesses = \"many\"\n", "3:13");
    }

    fn a_bad_host_is_shown(who) {
        accepted(who, "version = 1\n[[network.allow]]\nhost = \"a.example\"\n");
        let lab = lab(who);
        refused(&lab, "version = 1\n[[network.allow]]\nhost = \"https://a.example/\"\n", "3:8").expect_error("scheme");
        refused(&lab, "version = 1\n[[network.allow]]\nhost = \"*.com\"\n", "3:8");
    }

    fn broken_toml_is_shown(who) {
        let lab = lab(who);
        refused(&lab, "version = 1\n[network\n", "2");
    }

    fn a_missing_file_is_named(who) {
        let lab = lab(who);
        let done = lab.palisade(["run", "--policy", "/nonexistent/policy.toml", "--", "true"]).run();
        done.expect(125).expect_error("/nonexistent/policy.toml");
        refused(&lab, "version = 1\n[network]\nextra_ca = [\"missing.pem\"]\n", "3:13").expect_error("missing.pem");
    }

    fn a_workspace_file_may_only_tighten(who) {
        let lab = lab(who);
        lab.write(&lab.workspace().join("palisade.toml"), "version = 1\n[filesystem]\naccess = \"read\"\n");
        let script = ["run", "--", "sh", "-c", "echo x > new"];
        let done = lab.palisade(script).run();
        assert_ne!(done.status, 0);
        done.expect_error("Read-only");
        lab.write(&lab.workspace().join("palisade.toml"), "version = 1\n[filesystem]\nread = [\"/root\"]\n");
        lab.palisade(script).run().expect(125).expect_error("may only tighten");
        std::fs::remove_file(lab.workspace().join("palisade.toml")).unwrap();
        lab.palisade(script).run().expect(0);
    }

    fn the_agent_cannot_edit_its_own_policy(who) {
        let lab = lab(who);
        lab.write(&lab.workspace().join("palisade.toml"), "version = 1\n");
        let script = "echo x > other; for f in 'echo >> palisade.toml' 'rm palisade.toml' 'mv other palisade.toml'; do sh -c \"$f\" && echo \"done: $f\"; done; exit 0";
        let done = lab.palisade(["run", "--", "sh", "-c", script]).run().expect(0);
        assert_eq!(done.stdout, "", "{done}");
        assert!(lab.workspace().join("other").exists());
        assert_eq!(std::fs::read_to_string(lab.workspace().join("palisade.toml")).unwrap(), "version = 1\n");
    }

    fn without_a_policy_there_is_no_network_and_a_writable_workspace(who) {
        let lab = lab(who);
        let script = "echo x > made; exec 3<>/dev/tcp/any.example.com/80; printf 'GET / HTTP/1.1\\r\\nHost: any.example.com\\r\\n\\r\\n' >&3; head -n 1 <&3";
        let done = lab.palisade(["run", "--", "bash", "-c", script]).run();
        done.expect_output("403");
        assert!(lab.workspace().join("made").exists());
        lab.expect_denied("any.example.com", "not-allowed");
    }

    fn a_known_agent_gets_its_profile(who) {
        let lab = lab(who);
        let folder = lab.home().join("bin");
        let agent = lab.write(&folder.join("claude"), "#!/bin/sh\necho agent ran\n");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::copy(&agent, lab.workspace().join("claude")).unwrap();
        who.own(&lab.workspace());
        let done = lab.palisade(["run", "--", "./claude"]).run().expect(0);
        done.expect_output("agent ran").expect_error("claude-code");
        let other = lab.palisade(["run", "--", "true"]).run().expect(0);
        assert!(!other.stderr.contains("claude-code"), "{other}");
    }
}
