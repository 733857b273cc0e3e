//! The built-in profiles.

use palisade_config::{known_agent, profile_names, profile_text};
use palisade_policy::{Decision, FileAccess, Inspection, Layer};

use crate::world::{World, decide, permits};

/// Places where tools keep passwords and tokens. A profile shows none of them, nor a folder that holds one.
const CREDENTIALS: [&str; 26] = [
    ".ssh/id_ed25519",
    ".aws/credentials",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh/hosts.yml",
    ".config/gcloud/credentials.db",
    ".npmrc",
    ".yarnrc.yml",
    ".config/pnpm/rc",
    ".bunfig.toml",
    ".pypirc",
    ".config/pip/pip.conf",
    ".pip/pip.conf",
    ".config/pypoetry/auth.toml",
    ".local/share/uv/credentials/credentials.toml",
    ".local/share/keyrings/login.keyring",
    ".local/share/python_keyring/keyring_pass.cfg",
    ".config/uv/uv.toml",
    ".cargo/credentials.toml",
    ".cargo/credentials",
    ".docker/config.json",
    ".kube/config",
    ".gnupg/private-keys-v1.d/x.key",
    ".env",
    ".bash_history",
];

/// What a tool started outside would execute or trust. Nothing of it is writable by any profile.
const EXECUTED_OUTSIDE: [&str; 14] = [
    ".claude.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".claude/commands/x.md",
    ".claude/hooks/x.sh",
    ".claude/plugins/x",
    ".claude/shell-snapshots/x.sh",
    ".claude/session-env/x.sh",
    ".local/bin/claude",
    ".cargo/bin/cargo",
    ".cargo/registry/src/x/build.rs",
    ".npm/_cacache/index-v5/x",
    ".cache/uv/x",
    ".gitconfig",
];

fn with_profile(name: &str) -> World {
    let mut world = World::new();
    world.options.profiles = vec![name.into()];
    for path in CREDENTIALS.iter().chain(&EXECUTED_OUTSIDE) {
        world.put(path, "x");
    }
    world
}

#[test]
fn each_profile_is_a_policy_of_its_own() {
    assert_eq!(profile_names().len(), 8);
    for name in profile_names() {
        let policy = with_profile(name).effective();
        assert_eq!(policy.parts, [format!("profile {name}")]);
        let rules = policy.network.allow_rules(Layer::Operator);
        assert!(!rules.is_empty(), "{name}");
        for rule in rules {
            assert_eq!(rule.source.as_str(), format!("profile {name}"));
            assert_eq!(
                rule.ports.as_slice(),
                Some(&[443][..]),
                "{name}: {}",
                rule.pattern
            );
            assert!(!rule.private, "{name}: {}", rule.pattern);
        }
        assert!(
            profile_text(name).unwrap().starts_with("# "),
            "{name} says what it is"
        );
    }
}

#[test]
fn profiles_show_no_credentials() {
    for name in profile_names() {
        let world = with_profile(name);
        for shown in &world.effective().shown {
            for credential in CREDENTIALS {
                let path = world.home().join(credential);
                assert!(
                    !path.starts_with(&shown.path.real),
                    "{name} shows {credential}"
                );
            }
        }
    }
    // The control: what is shown is found by the same comparison.
    let world = with_profile("rust");
    let cargo = world.home().join(".cargo/bin/cargo");
    assert!(
        world
            .effective()
            .shown
            .iter()
            .any(|shown| cargo.starts_with(&shown.path.real))
    );
}

#[test]
fn profiles_let_nothing_be_written_that_runs_outside() {
    for name in profile_names() {
        let world = with_profile(name);
        for shown in &world.effective().shown {
            if shown.access == FileAccess::Read {
                continue;
            }
            for path in EXECUTED_OUTSIDE {
                let path = world.home().join(path);
                assert!(
                    !path.starts_with(&shown.path.real),
                    "{name} writes {}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn claude_reads_its_settings_and_writes_its_conversations() {
    let world = with_profile("claude-code");
    world.put(".claude/projects/x/a.jsonl", "");
    let policy = world.effective();
    let access = |end: &str| {
        policy
            .shown
            .iter()
            .find(|s| s.path.real.ends_with(end))
            .map(|s| s.access)
    };
    assert_eq!(access(".claude.json"), Some(FileAccess::Read));
    assert_eq!(access(".claude/projects"), Some(FileAccess::Write));
    assert_eq!(access(".claude"), None);
    assert!(permits(&policy, "api.anthropic.com", 443) && !permits(&policy, "github.com", 443));
    assert_eq!(
        policy.environment.set["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"].value,
        "1"
    );
    assert!(policy.notes.is_empty(), "{:?}", policy.notes);
    assert!(known_agent("claude".as_ref()).is_some());
}

#[test]
fn an_agent_without_state_is_told_that_it_keeps_none() {
    let mut world = World::new();
    world.options.program = Some("claude".into());
    assert_eq!(
        world.effective().notes,
        [
            "profile claude-code: nothing is kept after this session, since ~/.claude/projects and the like do not exist"
        ]
    );
}

/// With a key by credential, nothing that opens the account is inside: neither key nor token nor login.
#[test]
fn claude_works_with_a_key_that_it_never_sees() {
    for (profile, variable, others) in [
        (
            "anthropic-api-key",
            "ANTHROPIC_API_KEY",
            ["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"],
        ),
        (
            "anthropic-oauth-token",
            "CLAUDE_CODE_OAUTH_TOKEN",
            ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"],
        ),
    ] {
        for order in [[profile, "claude-code"], ["claude-code", profile]] {
            let mut world = with_profile(profile);
            world.put(".claude/.credentials.json", "{}");
            world.options.profiles = order.map(str::to_owned).to_vec();
            let policy = world.effective();
            let passed = &policy.environment.pass;
            assert!(passed.contains_key("ANTHROPIC_MODEL"), "the control");
            assert!(
                !passed.contains_key(variable),
                "{variable} holds the placeholder"
            );
            assert!(
                others.iter().all(|other| !passed.contains_key(*other)),
                "{passed:?}"
            );
            let login = world.home().join(".claude/.credentials.json");
            assert!(
                policy
                    .shown
                    .iter()
                    .all(|shown| !login.starts_with(&shown.path.real))
            );
            let Decision::Permit(permit) =
                decide(&policy, "POST", "api.anthropic.com", 443, "/v1/messages")
            else {
                panic!("{order:?}")
            };
            assert_eq!(permit.credential().unwrap().as_str(), profile);
            assert_eq!(permit.inspection(), Inspection::Intercept);
        }
    }
    // The control: without it the login is there.
    let world = with_profile("claude-code");
    let login = world.put(".claude/.credentials.json", "{}");
    assert!(
        world
            .effective()
            .shown
            .iter()
            .any(|shown| login.starts_with(&shown.path.real))
    );
}

#[test]
fn two_ways_to_log_in_are_one_too_many() {
    let mut world = with_profile("claude-code");
    world.options.profiles = vec!["anthropic-api-key".into(), "anthropic-oauth-token".into()];
    let notes = world.effective().notes;
    assert!(
        notes.iter().any(|note| note
            .contains("adds another credential to every request to api.anthropic.com first")),
        "{notes:?}"
    );
}

#[test]
fn github_gets_its_token_as_each_of_its_hosts_takes_it() {
    let mut world = with_profile("github");
    world.options.profiles = vec!["git".into(), "github".into()];
    let policy = world.effective();
    let credential = |host: &str| match decide(&policy, "GET", host, 443, "/acme/x") {
        Decision::Permit(permit) => permit.credential().map(ToString::to_string),
        Decision::Deny(denial) => panic!("{denial:?}"),
    };
    assert_eq!(credential("api.github.com").as_deref(), Some("github"));
    assert_eq!(credential("github.com").as_deref(), Some("github-git"));
    assert_eq!(credential("gitlab.com"), None);
    assert_eq!(credential("objects.githubusercontent.com"), None);
}
