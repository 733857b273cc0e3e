//! Decisions on made-up trees of control groups. A file that is absent stands for one that may not be written, because
//! root, who may run the tests, may write any.

use std::fs;

use palisade_boundary::Enforcement;
use tempfile::TempDir;

use super::super::surroundings::GroupView;
use super::*;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    fn path(&self, group: &str) -> PathBuf {
        self.0.path().join(group)
    }

    /// A group with all its files. `processes` are those in it.
    fn group(&self, group: &str, controllers: &str, enabled: &str, processes: &str) -> &Self {
        let path = self.path(group);
        fs::create_dir_all(&path).expect("group");
        let files = [
            ("cgroup.type", "domain"),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", enabled),
            ("cgroup.procs", processes),
        ];
        for (file, text) in files {
            fs::write(path.join(file), format!("{text}\n")).expect("file");
        }
        self
    }

    fn without(&self, group: &str, file: &str) -> &Self {
        fs::remove_file(self.path(group).join(file)).expect("file");
        self
    }

    fn surroundings(&self, own: &str) -> Surroundings {
        Surroundings {
            groups: GroupView {
                unified: Some(Unified {
                    top: self.path("top"),
                    own: self.path(own),
                }),
                legacy: Vec::new(),
            },
            kernel: (6, 1),
            ..Surroundings::default()
        }
    }
}

fn all_limits() -> Limits {
    Limits {
        memory: Some(1 << 30),
        cpus: Some(0.5),
        processes: Some(100),
    }
}

fn me() -> String {
    std::process::id().to_string()
}

#[test]
fn a_delegated_group_of_our_own_is_divided() {
    let tree = Tree::new();
    tree.group("top/scope", "cpu memory pids", "", &me());
    let choice = Choice::of(&all_limits(), &tree.surroundings("top/scope"));
    let place = Place::Within {
        own: tree.path("top/scope"),
        enable: vec!["memory", "cpu"],
        make_room: true,
    };
    assert_eq!(choice.place, Some(place));
    assert_eq!(choice.memory, Some(Means::Unified));
    assert_eq!(choice.cpus, Some(Means::Unified));
    // A recent kernel counts a session's processes without a group.
    assert_eq!(choice.processes, Some(Means::Process));
}

#[test]
fn a_shared_group_is_left_for_one_above_that_is_ours() {
    let tree = Tree::new();
    tree.group("top", "cpu memory pids", "cpu memory pids", "")
        .without("top", "cgroup.procs")
        .group("top/app", "memory pids", "memory pids", "")
        .group("top/app/term", "memory pids", "", &format!("1\n{}", me()));
    let here = tree.surroundings("top/app/term");
    let choice = Choice::of(&all_limits(), &here);
    let place = Place::Beside {
        parent: tree.path("top/app"),
        between: vec![tree.path("top/app/term")],
    };
    assert_eq!(choice.place, Some(place));
    assert_eq!(choice.memory, Some(Means::Unified));
    assert_eq!(
        choice.cpus,
        Some(Means::Process),
        "that group has no cpu controller"
    );
    assert!(matches!(
        choice.judge_memory(),
        Some(Enforcement::Enforced(_))
    ));
    let cpus = choice.judge_cpus(Some(0.5), &here);
    assert!(matches!(cpus, Some(Enforcement::Weaker(_))), "{cpus:?}");
}

#[test]
fn the_place_that_serves_more_wins_over_the_nearer_one() {
    let tree = Tree::new();
    tree.group("top", "cpu memory", "cpu memory", "")
        .group("top/app", "memory", "memory", "")
        .group("top/app/term", "memory", "", &format!("1\n{}", me()));
    let choice = Choice::of(&all_limits(), &tree.surroundings("top/app/term"));
    let place = Place::Beside {
        parent: tree.path("top"),
        between: vec![tree.path("top/app/term"), tree.path("top/app")],
    };
    assert_eq!(choice.place, Some(place));
    assert_eq!(choice.cpus, Some(Means::Unified));
}

#[test]
fn nothing_above_the_mount_is_looked_at() {
    let tree = Tree::new();
    tree.group("", "cpu memory", "cpu memory", "").group(
        "top",
        "cpu memory",
        "",
        &format!("1\n{}", me()),
    );
    let choice = Choice::of(&all_limits(), &tree.surroundings("top"));
    assert_eq!(choice.place, None);
}

#[test]
fn without_groups_each_limit_says_how_it_falls_short() {
    let here = Surroundings {
        groups: GroupView::default(),
        kernel: (5, 10),
        ..Surroundings::default()
    };
    let choice = Choice::of(&all_limits(), &here);
    assert_eq!(choice.place, None);
    for judged in [
        choice.judge_memory(),
        choice.judge_cpus(Some(0.5), &here),
        Some(choice.judge_processes(&here)),
    ] {
        let Some(Enforcement::Weaker(weakness)) = judged else {
            panic!("{judged:?}");
        };
        let fix = weakness.fix.expect("a fix");
        assert!(fix.contains("systemd-run --user --scope"), "{fix}");
    }
    let recent = Surroundings {
        kernel: (6, 1),
        ..here
    };
    let processes = choice.judge_processes(&recent);
    assert!(
        matches!(processes, Enforcement::Enforced(_)),
        "{processes:?}"
    );
}

#[test]
fn whole_processors_are_a_real_bound() {
    let here = Surroundings::default();
    let choice = Choice {
        place: None,
        memory: None,
        processes: None,
        cpus: Some(Means::Process),
    };
    let judge = |cpus: f64| choice.judge_cpus(Some(cpus), &here);
    assert!(matches!(judge(1.0), Some(Enforcement::Enforced(_))));
    assert!(matches!(judge(4096.5), Some(Enforcement::Enforced(_))));
    if here.processors.count() > 1 {
        assert!(matches!(judge(0.5), Some(Enforcement::Weaker(_))));
    }
}

#[test]
fn version_1_serves_what_version_2_does_not() {
    let tree = Tree::new();
    tree.group("top", "hugetlb", "", &me())
        .group("v1/memory", "", "", "");
    let mut here = tree.surroundings("top");
    here.groups.legacy = vec![
        ("memory".into(), tree.path("v1/memory")),
        ("cpu".into(), tree.path("v1/absent")),
    ];
    let choice = Choice::of(&all_limits(), &here);
    assert_eq!(choice.memory, Some(Means::Legacy(tree.path("v1/memory"))));
    assert_eq!(choice.cpus, Some(Means::Process));
}
