use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::*;

mod as_it_changes;
mod watched;

/// Longer than a tick of the kernel's clock, at most ten milliseconds.
const SHORT_TICK: Duration = Duration::from_millis(12);

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    kept: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let root = base.join("w");
        fs::create_dir(&root).unwrap();
        Self {
            _dir: dir,
            root,
            kept: base.join("kept"),
        }
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn rules(&self, mask: &[&str], unmask: &[&str]) -> MaskRules {
        let written = |texts: &[&str]| -> Vec<WrittenPattern> {
            let one = |text: &&str| WrittenPattern {
                pattern: MaskPattern::parse(text).unwrap(),
                source: "test".into(),
            };
            texts.iter().map(one).collect()
        };
        let (mask, unmask) = (written(mask), written(unmask));
        MaskRules::new(&mask, &unmask, &self.root, Path::new("/home/ada"))
    }

    fn find(&self, rules: &MaskRules, kept: bool) -> Masks {
        let root = crate::locate(&self.root).unwrap();
        let kept = kept.then_some(&*self.kept);
        // What was changed until now is older than the clock's tick, so that the list is believed.
        std::thread::sleep(2 * SHORT_TICK);
        Masks::find_with(rules, vec![root], kept, SHORT_TICK).unwrap()
    }

    /// The masked paths, with and without what is kept from earlier calls: they have to be the same.
    fn masked(&self, rules: &MaskRules) -> Vec<String> {
        let with = self.find(rules, true).masks;
        assert_eq!(with, self.find(rules, false).masks);
        let below = |mask: Mask| mask.path.strip_prefix(&self.root).unwrap().to_owned();
        with.into_iter()
            .map(|mask| below(mask).to_string_lossy().into_owned())
            .collect()
    }
}

#[test]
fn every_pattern_of_the_table_can_be_read() {
    for (pattern, _) in table::TABLE {
        MaskPattern::parse(pattern).unwrap();
    }
    for pattern in table::HARMLESS {
        MaskPattern::parse(pattern).unwrap();
    }
}

#[test]
fn secrets_are_found_by_name_wherever_they_lie() {
    let world = World::new();
    let masked = [
        ".ENV.Local",
        ".aws/credentials",
        ".cargo/credentials.toml",
        ".config/gcloud/x",
        ".docker/config.json",
        ".env",
        ".envrc",
        ".git-credentials",
        ".kube/config",
        ".m2/settings.xml",
        ".netrc",
        ".pypirc",
        ".ssh/known_hosts",
        ".vault-token",
        "a/b/c/.env.production",
        "a/id_ed25519",
        "a/keystore.jks",
        "a/my-service-account.json",
        "a/terraform.tfstate.backup",
        "a/x.p12",
        "node_modules/p/.env",
    ];
    let shown = [
        ".cargo/config.toml",
        ".docker/contexts",
        ".env.example",
        ".gitignore",
        "a/.env.sample",
        "a/config.json",
        "a/environment",
        "a/id_rsa.pub",
        "a/settings.xml",
    ];
    for path in masked.iter().chain(&shown) {
        world.put(path, "x");
    }
    let folders = [".aws", ".config/gcloud", ".kube", ".ssh"];
    let expected = masked.map(|path| {
        let folder = folders.iter().find(|folder| path.starts_with(**folder));
        folder.map_or(path, |folder| *folder).to_owned()
    });
    assert_eq!(world.masked(&world.rules(&[], &[])), expected);
}

#[test]
fn what_a_file_holds_decides_where_its_name_does_not() {
    let world = World::new();
    world.put("ca.pem", CERTIFICATE);
    world.put("both.pem", &format!("{CERTIFICATE}{KEY}"));
    world.put("server.key", KEY);
    world.put(".npmrc", "save-exact=true\n");
    world.put("a/.npmrc", "//r.example/:_authToken=x\n");
    let account = format!(
        r#"{{"type":"service_account","private_key":"{KEY}","pad":"{}"}}"#,
        "x".repeat(400)
    );
    world.put("a/config.json", &account);
    world.put("a/package.json", &"{}".repeat(400));
    let rules = world.rules(&[], &[]);
    let expected = ["a/.npmrc", "a/config.json", "both.pem", "server.key"];
    assert_eq!(world.masked(&rules), expected);

    // A file that is changed in its place leaves its folder as it was.
    world.put("ca.pem", KEY);
    world.put("a/.npmrc", "save-exact=true\n");
    assert_eq!(
        world.masked(&rules),
        ["a/config.json", "both.pem", "ca.pem", "server.key"]
    );
}

#[test]
fn a_policy_adds_and_takes_out() {
    let world = World::new();
    for path in [
        ".env",
        "a/.env",
        "a/.env.example",
        "conf/secrets.yml",
        "x/conf/secrets.yml",
        "logs/a/b",
    ] {
        world.put(path, "x");
    }
    let masked = |mask: &[&str], unmask: &[&str]| world.masked(&world.rules(mask, unmask));
    assert_eq!(
        masked(&["conf/*.yml", "logs/"], &[]),
        [".env", "a/.env", "conf/secrets.yml", "logs"]
    );
    assert_eq!(
        masked(&["**/secrets.yml"], &["./.env"]),
        ["a/.env", "conf/secrets.yml", "x/conf/secrets.yml"]
    );
    assert_eq!(masked(&[], &[".env"]), [""; 0]);
    assert_eq!(
        masked(&[".env.example"], &[]),
        [".env", "a/.env", "a/.env.example"],
        "the policy's own word"
    );
    assert_eq!(
        masked(&["conf"], &["conf"]),
        [".env", "a/.env"],
        "what is unmasked is shown"
    );
}

#[test]
fn other_names_of_a_secret_are_masked() {
    let world = World::new();
    let secret = world.put("z/.env", "x");
    fs::hard_link(&secret, world.root.join("innocent.txt")).unwrap();
    let key = world.put(".ssh/deploy", "x");
    world.put("a/b", "x");
    fs::hard_link(&key, world.root.join("a/copy")).unwrap();
    let rules = world.rules(&[], &[]);
    let expected = [".ssh", "a/copy", "innocent.txt", "z/.env"];
    assert_eq!(world.masked(&rules), expected);
    // One that is made later, in a folder that was known.
    fs::hard_link(&secret, world.root.join("a/later")).unwrap();
    assert_eq!(
        world.masked(&rules),
        [".ssh", "a/copy", "a/later", "innocent.txt", "z/.env"]
    );
    // And a secret that is another name of what was known as harmless.
    let harmless = world.root.join("a/b");
    fs::create_dir(world.root.join("n")).unwrap();
    fs::hard_link(&harmless, world.root.join("n/.netrc")).unwrap();
    assert!(world.masked(&rules).contains(&"a/b".to_owned()));
    fs::remove_file(world.root.join("n/.netrc")).unwrap();
    assert!(!world.masked(&rules).contains(&"a/b".to_owned()));
}

#[test]
fn what_a_link_of_a_masked_name_leads_to_is_masked() {
    let world = World::new();
    world.put("conf/dev.txt", "x");
    symlink("conf/dev.txt", world.root.join(".env")).unwrap();
    symlink("nowhere", world.root.join(".envrc")).unwrap();
    symlink("/etc/hostname", world.root.join(".netrc")).unwrap();
    symlink(".env", world.root.join("harmless")).unwrap();
    assert_eq!(world.masked(&world.rules(&[], &[])), ["conf/dev.txt"]);
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_masked() {
    let world = World::new();
    let secret = world.put("shut/.env", "x");
    let shut = secret.parent().unwrap();
    fs::set_permissions(shut, PermissionsExt::from_mode(0o0)).unwrap();
    let masked = world.masked(&world.rules(&[], &[]));
    fs::set_permissions(shut, PermissionsExt::from_mode(0o700)).unwrap();
    // Root looks into every folder.
    let root = rustix::process::geteuid().is_root();
    assert_eq!(masked, [if root { "shut/.env" } else { "shut" }]);
}

#[test]
fn a_path_too_long_for_a_mount_is_masked_from_above() {
    let world = World::new();
    let name = "d".repeat(250);
    let mut at = openat(CWD, &world.root, OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..15 {
        rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = openat(&at, &*name, OFlags::PATH, Mode::empty()).unwrap();
    }
    openat(&at, ".env", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    let masks = world.find(&world.rules(&[], &[]), false).masks;
    assert_eq!(masks.len(), 1);
    assert_eq!(masks[0].why, Why::Unreadable);
    assert!((2700..3300).contains(&masks[0].path.as_os_str().len()));
}

#[test]
fn git_objects_are_not_looked_at_and_names_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    world.put(".git/objects/ab/.env", "x");
    world.put("src/objects/.env", "x");
    let odd = std::ffi::OsStr::from_bytes(b"a\n\xff");
    fs::create_dir(world.root.join(odd)).unwrap();
    fs::write(world.root.join(odd).join(".env"), "x").unwrap();
    let rules = world.rules(&[], &[]);
    let masks = world.find(&rules, true).masks;
    let expected = [
        world.root.join(odd).join(".env"),
        world.root.join("src/objects/.env"),
    ];
    assert_eq!(
        masks.iter().map(|mask| &mask.path).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert_eq!(world.find(&rules, true).masks, masks);
}

#[test]
fn a_shown_path_is_judged_by_its_own_name_and_those_above_it() {
    let world = World::new();
    let home = world.root.join("home");
    for path in [
        "home/.ssh/config",
        "home/.netrc",
        "home/.gitconfig",
        "home/rc",
    ] {
        world.put(path, "x");
    }
    symlink("rc", home.join(".pgpass")).unwrap();
    let shown: Vec<Located> = [".ssh/config", ".netrc", ".gitconfig", ".pgpass"]
        .iter()
        .map(|name| crate::locate(&home.join(name)).unwrap())
        .collect();
    let find = |rules: &MaskRules| -> Vec<PathBuf> {
        let masks = Masks::find(rules, shown.clone(), None).unwrap().masks;
        masks
            .into_iter()
            .map(|mask| mask.path.strip_prefix(&home).unwrap().to_owned())
            .collect()
    };
    let masked = find(&world.rules(&[], &[]));
    assert_eq!(masked, [".netrc", ".ssh/config", "rc"].map(PathBuf::from));
    let config = format!("{}/.ssh/config", home.display());
    assert_eq!(
        find(&world.rules(&[], &[&config, ".netrc"])),
        [PathBuf::from("rc")]
    );
}

#[test]
fn what_the_host_runs_is_found() {
    let world = World::new();
    let expected = [
        (".git/config", false),
        (".git/hooks", true),
        (".git/modules/m/config", false),
        (".git/modules/m/hooks", true),
        (".github/workflows", true),
        (".vscode", true),
        ("a/.claude/settings.json", false),
        ("a/.git", false),
        ("bare/config", false),
        ("bare/hooks", true),
    ];
    for (path, directory) in expected {
        world.put(
            &if directory {
                format!("{path}/x")
            } else {
                path.to_owned()
            },
            "x",
        );
    }
    for path in [
        "bare/HEAD",
        "bare/refs/x",
        "bare/objects/x",
        "b/config",
        "b/hooks/x",
        "node_modules/p/.vscode/x",
    ] {
        world.put(path, "x");
    }
    let rules = world.rules(&[], &[]);
    for kept in [true, true, false] {
        let found = world.find(&rules, kept).protected();
        let found: Vec<(&str, bool)> = found
            .iter()
            .map(|(path, directory)| {
                (
                    path.strip_prefix(&world.root).unwrap().to_str().unwrap(),
                    *directory,
                )
            })
            .collect();
        assert_eq!(found, expected);
    }
    assert_eq!(world.masked(&rules), [""; 0]);
}
