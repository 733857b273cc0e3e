//! A tree that changes at random: what is kept of it never hides a change.

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
