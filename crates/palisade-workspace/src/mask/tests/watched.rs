//! What appears while a session runs.

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
        let mut masks = world.find(&rules, true);
        let (watch, news) = MaskWatch::start(Arc::new(rules), &mut masks, None, &NEVER).unwrap();
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
fn what_took_the_place_of_a_masked_file_before_the_watch_began_is_masked_again() {
    let world = World::new();
    world.put("a/.env", "x");
    world.put("b/x", "x");
    let rules = world.rules(&[], &[]);
    let mut masks = world.find(&rules, true);
    world.put("new", "y");
    fs::rename(world.root.join("new"), world.root.join("a/.env")).unwrap();
    let (_, news) = MaskWatch::start(Arc::new(rules), &mut masks, None, &NEVER).unwrap();
    assert!(
        news.masks
            .iter()
            .any(|mask| mask.path == world.root.join("a/.env"))
    );
}

#[test]
fn what_came_is_known_though_the_watch_was_given_up() {
    let world = World::new();
    world.put("a/x", "x");
    for kept in [true, false] {
        let rules = world.rules(&[], &[]);
        let mut masks = world.find(&rules, kept);
        let before = masks.protected();
        world.put(&format!("{kept}/.husky/pre-commit"), "x");
        let stop = AtomicBool::new(true);
        let rules = Arc::new(rules);
        let watch = MaskWatch::start(Arc::clone(&rules), &mut masks, None, &stop);
        assert!(watch.is_err(), "nobody waits for it");
        let came = masks.protected_since(&rules, None, &before).unwrap();
        let expected = world.root.join(format!("{kept}/.husky"));
        assert_eq!(came, [expected].into());
    }
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
