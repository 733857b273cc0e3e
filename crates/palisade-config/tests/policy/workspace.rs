//! How the workspace may be used, what is hidden in it, and what lies beside it.

use std::path::Path;

use palisade_config::{Sourced, explain};
use palisade_policy::{FileAccess, FileDecision, Lands};
use palisade_protocol::TreeEntry;
use palisade_workspace::{AgentAccount, WorkspaceAccess};

use crate::errors::each_is_shown;
use crate::world::World;

fn written(list: &[Sourced<String>]) -> Vec<(&str, &str)> {
    list.iter()
        .map(|entry| (entry.value.as_str(), entry.source.as_str()))
        .collect()
}

#[test]
fn each_part_adds_what_is_hidden_and_the_last_word_on_a_path_counts() {
    let mut world = World::new();
    world.user_policy(
        "version = 1\nextends = [\"team.toml\"]\n[filesystem]\naccess = \"scratch\"\nscratch_size = \"1GiB\"\n\
         mask = [\"b\"]\nprotect = false\n\
         [[filesystem.volume]]\npath = \"~/.cache/pip\"\nname = \"pip\"\n\
         [[filesystem.tmpfs]]\npath = \"target\"\nsize = 8192\nexec = true\n",
    );
    world.put(
        ".config/palisade/team.toml",
        "version = 1\n[filesystem]\naccess = \"read\"\nmask = [\"a\"]\nunmask = [\".env.test\"]\nprotect = true\n\
         [[filesystem.volume]]\npath = \"~/.cache/pip\"\nname = \"other\"\n",
    );
    let policy = world.effective();
    assert_eq!(policy.access.value, WorkspaceAccess::Scratch);
    assert_eq!(policy.scratch_size.as_ref().map(|s| s.value), Some(1 << 30));
    let team = "~/.config/palisade/team.toml";
    let own = "~/.config/palisade/policy.toml";
    let mask = [("a", format!("{team}:4")), ("b", format!("{own}:6"))];
    let mask: Vec<_> = mask.iter().map(|(p, s)| (*p, s.as_str())).collect();
    assert_eq!(written(&policy.mask), mask);
    assert_eq!(written(&policy.unmask)[0].0, ".env.test");
    assert!(!policy.protect.value);
    let [volume] = &policy.volumes[..] else {
        panic!("{:?}", policy.volumes)
    };
    assert_eq!(volume.value.name.as_str(), "pip");
    assert_eq!(volume.value.path, world.home().join(".cache/pip"));
    let tmpfs = &policy.tmpfs[0].value;
    assert_eq!((tmpfs.size, tmpfs.exec), (Some(8192), true));
    assert_eq!(tmpfs.path, world.home().join(".config/palisade/target"));
    world.options.access = Some(WorkspaceAccess::Review);
    assert_eq!(world.effective().access.value, WorkspaceAccess::Review);
}

#[test]
fn where_nothing_is_said_changes_land_and_what_the_host_runs_is_protected() {
    let policy = World::new().effective();
    assert_eq!(policy.access.value, WorkspaceAccess::Write);
    assert!(policy.protect.value);
    let none = policy.mask.is_empty() && policy.volumes.is_empty() && policy.tmpfs.is_empty();
    assert!(none && policy.scratch_size.is_none());
}

#[test]
fn a_file_in_the_workspace_takes_access_away_step_by_step() {
    let all = WorkspaceAccess::ALL;
    for given in all {
        for asked in all {
            let world = World::new();
            let line = |access| format!("version = 1\n[filesystem]\naccess = \"{access}\"\n");
            world.user_policy(&line(given));
            world.workspace_policy(&line(asked));
            match world.load() {
                Ok(policy) => {
                    assert!(asked <= given, "{given} {asked}");
                    assert_eq!(policy.access.value, asked);
                }
                Err(error) => assert!(asked > given, "{given} {asked}: {error}"),
            }
        }
    }
    let world = World::new();
    world.user_policy("version = 1\n[filesystem]\naccess = \"scratch\"\nscratch_size = \"1MiB\"\nprotect = false\nmask = [\"a\"]\n");
    let more = "version = 1\n[filesystem]\nmask = [\"b\"]\nprotect = true\nscratch_size = ";
    world.workspace_policy(&format!("{more}4096\n"));
    let policy = world.effective();
    assert_eq!(policy.mask.len(), 2);
    assert!(policy.protect.value);
    assert_eq!(policy.scratch_size.map(|size| size.value), Some(4096));
    world.workspace_policy(&format!("{more}\"2MiB\"\n"));
    assert!(
        world
            .error()
            .contains("the limit of this session is 1048576")
    );
}

#[test]
fn files_say_where_a_change_lands() {
    let mut world = World::new();
    let account = AgentAccount::new("ada", 1000, 1000, &world.home(), "box");
    for (access, expected) in [
        (WorkspaceAccess::Read, None),
        (WorkspaceAccess::Scratch, Some(Lands::Never)),
        (WorkspaceAccess::Review, Some(Lands::WhenApplied)),
        (WorkspaceAccess::Write, Some(Lands::AtOnce)),
    ] {
        world.options.access = Some(access);
        let policy = world.effective();
        let tree = policy
            .tree(Path::new("/"), &account, &world.kept())
            .unwrap();
        let files = policy.files(&tree);
        let file = world.project().join("src/main.rs");
        let found = match files.decide(&file, FileAccess::Write) {
            FileDecision::Permit(grant) => Some(grant.lands),
            FileDecision::ReadOnly(_) => None,
            other => panic!("{access}: {other:?}"),
        };
        assert_eq!(found, expected, "{access}");
        let words = explain(&policy).to_string();
        assert!(words.contains("(--access)"), "{words}");
    }
}

#[test]
fn volumes_and_memory_are_in_the_tree_and_in_words() {
    let world = World::new();
    world.user_policy(
        "version = 1\n[filesystem]\nmask = [\"*.pem\"]\n[[filesystem.volume]]\npath = \"~/.cache/pip\"\nname = \"pip\"\n\
         [[filesystem.tmpfs]]\npath = \"/data/fast\"\nsize = \"4KiB\"\n",
    );
    let policy = world.effective();
    let account = AgentAccount::new("ada", 1000, 1000, &world.home(), "box");
    let tree = policy
        .tree(Path::new("/"), &account, &world.kept())
        .unwrap();
    let volume = tree.iter().any(|entry| {
        matches!(entry, TreeEntry::Bind { source, target, .. }
            if *source == world.kept().volumes.join("pip/data") && *target == world.home().join(".cache/pip"))
    });
    let memory = tree.contains(&TreeEntry::Tmpfs {
        path: "/data/fast".into(),
        size: Some(4096),
        exec: false,
    });
    assert!(volume && memory, "{tree:?}");
    let words = explain(&policy).to_string();
    for line in [
        "kept between sessions: ",
        "volume pip (~/.config/palisade/policy.toml:5)",
        "in memory: /data/fast, at most 4KiB, no programs",
        "reads as empty: *.pem",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
}

#[test]
fn the_workspace_itself_is_no_volume() {
    let world = World::new();
    let project = world.project();
    world.user_policy(&format!(
        "version = 1\n[[filesystem.tmpfs]]\npath = \"{}\"\n",
        project.display()
    ));
    assert!(
        world.error().contains("is the workspace"),
        "{}",
        world.error()
    );
}

#[test]
fn what_cannot_be_meant_is_shown() {
    each_is_shown(
        r#"
[filesystem]
scratch_size = ‹"2G"›
  not a size
  = help: write a number with a unit (`"2GiB"`, `"500MB"`), or plain bytes

[filesystem]
scratch_size = ‹1›
  1 bytes hold nothing
  = help: a unit may be missing, as in `"2GiB"`; the least is 4KiB

[filesystem]
mask = ["a", ‹""›]
  `` is no pattern

[[filesystem.volume]]
path = "~/x"
name = ‹"../x"›
  the name of a volume is made of letters, digits, `-`, `_` and `.`, and begins with one of the first two

[[filesystem.volume]]
path = ‹"~"›
name = "x"
  `~` holds the whole home folder

[[filesystem.volume]]
path = ‹"/usr/lib/x"›
name = "x"
  `/usr/lib/x` is a system folder

[[filesystem.tmpfs]]
path = ‹"/proc/x"›
  `/proc/x` belongs to the host's kernel or services

[[filesystem.tmpfs]]
path = "~/a"
size = ‹0›
  0 bytes hold nothing
  = help: a unit may be missing, as in `"2GiB"`; the least is 4KiB

[[filesystem.volume]]
path = "~/a"
name = "x"
[[filesystem.tmpfs]]
path = ‹"~/a"›
  `~/a` is a volume already, by ~/.config/palisade/policy.toml:3
  = help: use another path, or take one of the two out
"#,
    );
}
