use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

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

mod watched {
    use std::sync::Arc;
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    struct Watching<'a> {
        world: &'a World,
        watch: MaskWatch,
    }

    impl<'a> Watching<'a> {
        fn new(world: &'a World) -> Self {
            let rules = world.rules(&[], &[]);
            let masks = world.find(&rules, true);
            let (watch, news) = MaskWatch::start(Arc::new(rules), masks, None, &NEVER).unwrap();
            assert_eq!(news.masks, []);
            assert_eq!(watch.unwatched(), 0);
            Self { world, watch }
        }

        /// Waits until this is to be masked; what else became known until then is in the answer too.
        #[track_caller]
        fn expect(&mut self, path: &str) -> Vec<Mask> {
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut all = Vec::new();
            while Instant::now() < deadline {
                let second = Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                let source = self.watch.source();
                poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&second)).unwrap();
                all.extend(self.watch.read().unwrap().masks);
                if all
                    .iter()
                    .any(|mask| mask.path == self.world.root.join(path))
                {
                    return all;
                }
            }
            panic!("{path} is not masked, only {all:?}");
        }
    }

    #[test]
    fn whatever_comes_under_a_masked_name_is_masked() {
        let world = World::new();
        world.put("a/b/x", "x");
        world.put("node_modules/p/x", "x");
        let mut watching = Watching::new(&world);
        world.put("a/b/.env", "x");
        let masks = watching.expect("a/b/.env");
        assert_eq!(masks[0].why, Why::Name);
        world.put("node_modules/p/.netrc", "x");
        watching.expect("node_modules/p/.netrc");
        // Moved from elsewhere, and again in place of the first.
        let other = world.kept.with_file_name("other");
        for _ in 0..2 {
            fs::write(&other, "y").unwrap();
            fs::rename(&other, world.root.join("a/.envrc")).unwrap();
            watching.expect("a/.envrc");
        }
        fs::create_dir(world.root.join(".aws")).unwrap();
        assert!(watching.expect(".aws")[0].directory);
    }

    #[test]
    fn folders_that_come_are_looked_into() {
        let world = World::new();
        let mut watching = Watching::new(&world);
        world.put("n/e/w/.env", "x");
        watching.expect("n/e/w/.env");
        // One that brings its secrets along, and one that changes its name: what comes into it then is seen too.
        let outside = world.kept.with_file_name("outside");
        fs::create_dir_all(outside.join("deep")).unwrap();
        fs::write(outside.join("deep/.netrc"), "x").unwrap();
        fs::rename(&outside, world.root.join("inside")).unwrap();
        watching.expect("inside/deep/.netrc");
        fs::rename(world.root.join("inside"), world.root.join("renamed")).unwrap();
        watching.expect("renamed/deep/.netrc");
        world.put("renamed/deep/.envrc", "x");
        watching.expect("renamed/deep/.envrc");
    }

    #[test]
    fn other_names_and_other_contents_are_seen() {
        let world = World::new();
        let secret = world.put(".env", "x");
        world.put("a/ca.pem", CERTIFICATE);
        world.put("a/target.txt", "x");
        let mut watching = Watching::new(&world);
        fs::hard_link(&secret, world.root.join("a/innocent")).unwrap();
        assert_eq!(watching.expect("a/innocent")[0].why, Why::HardLink);
        world.put("a/ca.pem", KEY);
        watching.expect("a/ca.pem");
        symlink("target.txt", world.root.join("a/.netrc")).unwrap();
        watching.expect("a/target.txt");
    }

    #[test]
    fn what_comes_and_the_host_would_run_is_noted() {
        let world = World::new();
        world.put("src/x", "x");
        let mut watching = Watching::new(&world);
        for path in [
            "src/.git/hooks/pre-commit",
            "src/.git/config",
            ".vscode/tasks.json",
            ".bashrc",
            "plain",
        ] {
            world.put(path, "x");
        }
        world.put("last/.env", "x");
        watching.expect("last/.env");
        let noted: Vec<&Path> = watching
            .watch
            .protected()
            .iter()
            .map(|path| path.strip_prefix(&world.root).unwrap())
            .collect();
        assert_eq!(
            noted,
            [".bashrc", ".vscode", "src/.git/config", "src/.git/hooks"].map(Path::new)
        );
    }

    #[test]
    fn nothing_is_masked_that_need_not_be() {
        let world = World::new();
        let mut watching = Watching::new(&world);
        for path in ["x", ".env.example", "a/b/ca.pem", "a/.npmrc"] {
            world.put(path, CERTIFICATE);
        }
        world.put("last/.env", "x");
        let masks = watching.expect("last/.env");
        assert!(
            masks.iter().all(|mask| mask.path.ends_with("last/.env")),
            "{masks:?}"
        );
    }
}

mod as_it_changes {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 8] = [
        ".env",
        "a",
        "b",
        "c.pem",
        ".npmrc",
        ".ssh",
        "node_modules",
        "x.json",
    ];

    #[derive(Clone, Debug)]
    enum Step {
        Write(Vec<usize>, bool),
        Folder(Vec<usize>),
        Remove(Vec<usize>),
        Rename(Vec<usize>, Vec<usize>),
        Link(Vec<usize>, Vec<usize>),
        Symlink(Vec<usize>, Vec<usize>),
        Find,
    }

    fn path() -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(0..NAMES.len(), 1..4)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (path(), any::<bool>()).prop_map(|(path, secret)| Step::Write(path, secret)),
            2 => path().prop_map(Step::Folder),
            2 => path().prop_map(Step::Remove),
            2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
            2 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
            1 => (path(), path()).prop_map(|(from, to)| Step::Symlink(from, to)),
            2 => Just(Step::Find),
        ]
    }

    /// Does it if it can be done.
    fn take(world: &World, step: &Step) {
        let at = |names: &[usize]| {
            let parts: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
            world.root.join(parts.join("/"))
        };
        match step {
            Step::Write(path, true) => drop(fs::write(at(path), format!("{KEY} _authToken"))),
            Step::Write(path, false) => drop(fs::write(at(path), CERTIFICATE)),
            Step::Folder(path) => drop(fs::create_dir(at(path))),
            Step::Remove(path) => {
                drop(fs::remove_file(at(path)));
                drop(fs::remove_dir_all(at(path)));
            }
            Step::Rename(from, to) => drop(fs::rename(at(from), at(to))),
            Step::Link(from, to) => drop(fs::hard_link(at(from), at(to))),
            Step::Symlink(from, to) => drop(symlink(at(from), at(to))),
            Step::Find => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn what_is_kept_never_hides_a_change(steps in proptest::collection::vec(step(), 1..40)) {
            let world = World::new();
            let rules = world.rules(&[], &[]);
            for step in &steps {
                take(&world, step);
                if matches!(step, Step::Find) {
                    let mut with = world.find(&rules, true);
                    let mut believed = with.masks.clone();
                    let more = with.look_through_the_rest(&rules, None).unwrap();
                    let without = world.find(&rules, false).masks;
                    prop_assert_eq!(&with.masks, &without);
                    believed.extend(more);
                    prop_assert!(without.iter().all(|mask| believed.contains(mask)));
                }
            }
        }
    }
}
