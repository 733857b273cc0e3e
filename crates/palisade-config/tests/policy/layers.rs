//! Who is asked first, and who has the last word.

use std::path::Path;

use palisade_config::{Effective, explain};
use palisade_policy::{FileAccess, FileDecision, Layer, Protocol};
use palisade_protocol::TreeEntry;
use palisade_workspace::{AgentAccount, WorkspaceAccess};

use crate::world::{World, permits};

/// The policy of the documentation, every key in it.
const FULL: &str = r#"version = 1
extends = ["git", "team.toml"]

[boundary]
backend = "native"
accept_weaker = ["limits.cpus"]

[filesystem]
workspace = "../../project"
access    = "read"
read      = ["~/.gitconfig"]
write     = ["~/.state"]

[network]
resolve  = { "api.example.com:443" = "127.0.0.1:8443" }
extra_ca = ["corp.pem"]
upstream_proxy = "http://ada:hunter2@proxy.corp:3128"

[[network.allow]]
host  = "api.example.com"

[[network.allow]]
host  = "*.db.example.com"
ports = [5432]
private = true
protocol = "tcp"

[[network.allow]]
host = "192.0.2.7"
protocol = "http"

[[network.deny]]
host = "gist.example.com"

[environment]
pass = ["TERM", "MY_TOKEN"]
set  = { CI = "1" }

[limits]
memory = "2GiB"
cpus = 2
processes = 512
"#;

fn full() -> World {
    let world = World::new();
    let body = format!("MIIB{}", "A".repeat(96));
    world.user_policy(FULL);
    world.put(
        ".config/palisade/corp.pem",
        &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
    );
    world.put(
        ".config/palisade/team.toml",
        "version = 1\n[limits]\nmemory = \"1GiB\"\ncpus = 0.5\n[[network.allow]]\nhost = \"team.example\"\n\
         [environment.set]\nCI = \"team\"\nTEAM = \"1\"\n",
    );
    world.put(".gitconfig", "[user]");
    world.put(".state/x", "");
    world
}

/// What may be weaker, by name.
fn accepted(policy: &Effective) -> Vec<&'static str> {
    let accepted = policy.accept_weaker.iter();
    accepted.map(|control| control.value.name()).collect()
}

#[test]
fn what_is_accepted_adds_up_until_all_is_required_again() {
    let mut world = World::new();
    world.put(
        ".config/palisade/team.toml",
        "version = 1\n[boundary]\naccept_weaker = [\"limits.memory\"]\n",
    );
    let own =
        |boundary: &str| format!("version = 1\nextends = [\"team.toml\"]\n[boundary]\n{boundary}");
    world.user_policy(&own("accept_weaker = [\"landlock\"]\n"));
    world.options.accept_weaker = vec!["limits.cpus".into()];
    let policy = world.effective();
    assert_eq!(
        accepted(&policy),
        ["limits.memory", "landlock", "limits.cpus"]
    );
    let sources: Vec<_> = policy
        .accept_weaker
        .iter()
        .map(|c| c.source.as_str())
        .collect();
    let files = ["team.toml:3", "policy.toml:4"].map(|file| format!("~/.config/palisade/{file}"));
    assert_eq!(sources, [&files[0], &files[1], "--accept-weaker"]);
    assert!(
        explain(&policy)
            .to_string()
            .contains("may be weaker: landlock (~/.config/palisade/policy.toml:4)")
    );

    world.user_policy(&own("require = \"all\"\naccept_weaker = [\"landlock\"]\n"));
    assert_eq!(accepted(&world.effective()), ["landlock", "limits.cpus"]);
}

#[test]
fn an_unknown_control_on_the_command_line_is_refused() {
    let mut world = World::new();
    world.options.accept_weaker = vec!["limit.cpus".into()];
    let error = world.error();
    assert!(error.contains("--accept-weaker limit.cpus"), "{error}");
    assert!(error.contains("did you mean `limits.cpus`?"), "{error}");
}

#[test]
fn every_key_of_version_1_is_understood() {
    let world = full();
    let policy = world.effective();
    assert_eq!(policy.backend.as_ref().unwrap().value, "native");
    assert_eq!(accepted(&policy), ["limits.cpus"]);
    assert_eq!(policy.workspace.value, world.project());
    assert_eq!(policy.access.value, WorkspaceAccess::Read);
    let shown: Vec<_> = policy
        .shown
        .iter()
        .map(|s| (s.path.real.clone(), s.access))
        .collect();
    assert!(shown.contains(&(world.home().join(".gitconfig"), FileAccess::Read)));
    assert!(shown.contains(&(world.home().join(".state"), FileAccess::Write)));
    assert_eq!(policy.network.mappings().count(), 1);
    assert_eq!(policy.extra_ca.matches("BEGIN CERTIFICATE").count(), 1);
    let proxy = &policy.upstream_proxy.as_ref().unwrap().value;
    assert_eq!(proxy.login.as_ref().unwrap().expose_password(), "hunter2");
    let limits = policy.limits();
    assert_eq!(
        (limits.memory, limits.cpus, limits.processes),
        (Some(2 << 30), Some(2.0), Some(512))
    );
    let tcp = policy
        .network
        .allow_rules(Layer::Operator)
        .iter()
        .find(|rule| rule.protocol == Protocol::Tcp)
        .unwrap();
    assert!(tcp.private && tcp.ports.as_slice() == Some(&[5432]));
    assert_eq!(tcp.source.as_str(), "~/.config/palisade/policy.toml:23");
    assert_eq!(policy.notes, Vec::<String>::new());
}

#[test]
fn what_a_file_extends_comes_first_and_lists_add() {
    let policy = full().effective();
    assert!(permits(&policy, "team.example", 443), "from team.toml");
    assert!(permits(&policy, "github.com", 443), "from the profile");
    assert!(permits(&policy, "192.0.2.7", 80), "its own");
    assert!(!permits(&policy, "gist.example.com", 443));
    let set = &policy.environment.set;
    assert_eq!(
        (set["CI"].value.as_str(), set["TEAM"].value.as_str()),
        ("1", "1")
    );
    assert_eq!(
        policy.parts,
        [
            "profile git",
            "~/.config/palisade/team.toml",
            "~/.config/palisade/policy.toml"
        ]
    );
}

#[test]
fn no_policy_means_no_network_and_a_writable_workspace() {
    let world = World::new();
    let policy = world.effective();
    assert_eq!(policy.workspace.value, world.project());
    assert_eq!(policy.access.value, WorkspaceAccess::Write);
    assert!(policy.shown.is_empty() && policy.environment.set.is_empty());
    assert!(policy.network.allow_rules(Layer::Operator).is_empty());
    assert_eq!(policy.known_agent, None);
    assert!(policy.environment.pass.contains_key("TERM"));
    assert!(!policy.environment.pass.contains_key("HOME"));
}

#[test]
fn a_known_agent_gets_its_profile_only_without_a_policy() {
    let mut world = World::new();
    world.options.program = Some("/usr/local/bin/claude".into());
    world.options.profiles = vec!["node".into(), "claude-code".into()];
    let policy = world.effective();
    assert_eq!(policy.known_agent, Some("claude-code"));
    assert_eq!(policy.parts, ["profile claude-code", "profile node"]);
    assert!(permits(&policy, "api.anthropic.com", 443) && permits(&policy, "nodejs.org", 443));

    world.options.profiles.clear();
    world.user_policy("version = 1\n");
    let policy = world.effective();
    assert_eq!((policy.known_agent, policy.parts.len()), (None, 1));
    assert!(!permits(&policy, "api.anthropic.com", 443));
}

#[test]
fn the_command_line_has_the_last_word() {
    let mut world = full();
    let other = world.put("other/x", "").parent().unwrap().to_path_buf();
    world.options.workspace = Some("../other".into());
    world.options.access = Some(WorkspaceAccess::Write);
    world.options.boundary = Some("container".into());
    world.options.allow = vec![
        "*.cli.example:8443".into(),
        "[2001:db8::1]:443".into(),
        "bare.example".into(),
    ];
    world.options.env = vec!["CI".into(), "KEY=a=b".into()];
    let policy = world.effective();
    assert_eq!(policy.workspace.value, other);
    assert_eq!(policy.access.value, WorkspaceAccess::Write);
    assert_eq!(policy.backend.as_ref().unwrap().value, "container");
    assert!(permits(&policy, "a.cli.example", 8443) && !permits(&policy, "a.cli.example", 443));
    assert!(permits(&policy, "[2001:db8::1]", 443) && permits(&policy, "bare.example", 80));
    assert!(!permits(&policy, "gist.example.com", 443));
    let built = policy
        .environment
        .build(|name| (name == "CI").then(|| "host".into()));
    assert_eq!(built[std::ffi::OsStr::new("CI")], "host");
    assert_eq!(built[std::ffi::OsStr::new("KEY")], "a=b");
    assert!(
        !built.contains_key(std::ffi::OsStr::new("TERM")),
        "not set on the host"
    );
}

#[test]
fn two_files_may_extend_the_same_one() {
    let world = World::new();
    world.user_policy("version = 1\nextends = [\"a.toml\", \"b.toml\"]\n");
    world.put(
        ".config/palisade/a.toml",
        "version = 1\nextends = [\"./c.toml\"]\n",
    );
    world.put(
        ".config/palisade/b.toml",
        "version = 1\nextends = [\"c.toml\"]\n",
    );
    world.put(
        ".config/palisade/c.toml",
        "version = 1\n[[network.allow]]\nhost = \"c.example\"\n",
    );
    assert_eq!(
        world.effective().network.allow_rules(Layer::Operator).len(),
        1
    );
}

#[test]
fn the_tree_holds_workspace_state_and_kept_policy() {
    let mut world = World::new();
    world.options.policy = Some("strict.toml".into());
    world.put(
        "project/strict.toml",
        "version = 1\n[filesystem]\nwrite = [\"~/.state\"]\n",
    );
    world.put(".state/x", "");
    let policy = world.effective();
    let account = AgentAccount::new("ada", 1000, 1000, &world.home(), "box");
    let tree = policy
        .tree(Path::new("/"), &account, &world.kept())
        .unwrap();
    let files = policy.files(&tree);
    let may = |path: &str, access| {
        matches!(
            files.decide(&world.home().join(path), access),
            FileDecision::Permit(_)
        )
    };
    assert!(may("project/src/main.rs", FileAccess::Write));
    assert!(may(".state/x", FileAccess::Write));
    assert!(may("project/strict.toml", FileAccess::Read));
    assert!(
        !may("project/strict.toml", FileAccess::Write),
        "its own policy"
    );
    assert!(!may(".ssh/id_rsa", FileAccess::Read));
    assert!(matches!(
        files.decide(Path::new("/usr/bin/env"), FileAccess::Read),
        FileDecision::Permit(_)
    ));
    assert!(matches!(
        files.decide(Path::new("/etc/shadow"), FileAccess::Read),
        FileDecision::Hidden(_)
    ));
    let home = tree
        .iter()
        .position(|e| matches!(e, TreeEntry::Scratch { path, .. } if *path == world.home()));
    let project = tree
        .iter()
        .position(|e| matches!(e, TreeEntry::Bind { target, .. } if *target == world.project()));
    assert!(home.unwrap() < project.unwrap());
}

#[test]
fn a_mapping_without_a_rule_is_noted() {
    let world = World::new();
    world
        .user_policy("version = 1\n[network]\nresolve = { \"a.example:443\" = \"127.0.0.1:1\" }\n");
    assert_eq!(
        world.effective().notes,
        ["~/.config/palisade/policy.toml:3: a.example:443 is mapped, but no rule allows it"]
    );
}

#[test]
fn the_explanation_names_every_rule_with_its_source_and_no_secret() {
    let world = full();
    world.workspace_policy("version = 1\n[[network.allow]]\nhost = \"api.example.com\"\n");
    let text = explain(&world.effective()).to_string();
    let text = text.replace(world.root.to_str().unwrap(), "");
    for line in [
        "  /home/ada/project (~/.config/palisade/policy.toml:9)",
        "  read-only (~/.config/palisade/policy.toml:10)",
        "  writable: /home/ada/.state (~/.config/palisade/policy.toml:12)",
        "  deny gist.example.com, any port (~/.config/palisade/policy.toml:33)",
        "  allow github.com, port 443 (profile git)",
        "  allow *.db.example.com, port 5432, private addresses too, any protocol (~/.config/palisade/policy.toml:23)",
        "  of these, the workspace's own policy leaves only:",
        "    api.example.com, ports 80, 443 (palisade.toml:3)",
        "  map api.example.com:443 to 127.0.0.1:8443",
        "  through the proxy http://***@proxy.corp:3128 (~/.config/palisade/policy.toml:17)",
        "  from the host: MY_TOKEN (~/.config/palisade/policy.toml:36)",
        "  set: CI (~/.config/palisade/policy.toml:37)",
        "  memory: 2GiB (~/.config/palisade/policy.toml:40)",
        "  native (~/.config/palisade/policy.toml:5)",
        "  may be weaker: limits.cpus (~/.config/palisade/policy.toml:6)",
    ] {
        assert!(
            text.lines().any(|shown| shown == line),
            "{line}\nis not in\n{text}"
        );
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!format!("{:?}", world.effective()).contains("hunter2"));
    assert_eq!(explain(&world.effective()), explain(&world.effective()));
}

#[test]
fn each_setting_of_the_container_backend_is_overridden_alone() {
    let world = World::new();
    world.put(
        ".config/palisade/base.toml",
        "version = 1\n[boundary.container]\nengine = \"podman\"\nruntime = \"crun\"\nuser = \"7:8\"\n",
    );
    world.user_policy(
        "version = 1\nextends = [\"./base.toml\"]\n[boundary.container]\nruntime = \"runc\"\nroot = { image = \"node:22\" }\n",
    );
    let policy = world.effective();
    let words = palisade_config::explain(&policy).to_string();
    for line in [
        "container: engine podman (~/.config/palisade/base.toml:3)",
        "container: root image node:22 (~/.config/palisade/policy.toml:5)",
        "container: runtime runc (~/.config/palisade/policy.toml:4)",
        "container: user 7:8 (~/.config/palisade/base.toml:5)",
    ] {
        assert!(words.contains(line), "{line} in {words}");
    }
    assert_eq!(policy.container.user.map(|user| user.value), Some((7, 8)));
}
