//! Groups made for real, where the tests are run by root, and arithmetic everywhere.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use palisade_test_support::{Outcome, Skip, conclude};

use super::super::surroundings::GroupView;
use super::*;

fn view() -> GroupView {
    let read = |path| fs::read_to_string(path).expect("proc");
    GroupView::parse(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

/// A process that waits to be ended.
fn sleeper() -> std::process::Child {
    let mut command = Command::new("sleep");
    command.arg("60").stdin(Stdio::null());
    command.spawn().expect("sleep")
}

/// Version 2 mechanics with a controller that version 1 does not hold here. The test moves its own process, so it puts
/// it back whatever happens.
#[test]
fn room_is_made_and_given_back() {
    conclude("room_is_made_and_given_back", room());
}

fn room() -> Outcome {
    let fix = "run the tests as root on a machine with a version 2 hierarchy";
    let unified = view()
        .unified
        .ok_or_else(|| Skip::because("no version 2 hierarchy", fix))?;
    let base = Group::create(&unified.own, &format!("test-{}", std::process::id()))
        .map_err(|e| Skip::because(format!("no group can be made: {e}"), fix))?;
    let offered = base.get("cgroup.controllers").expect("controllers");
    let controller = ["memory", "pids", "hugetlb"]
        .into_iter()
        .find(|c| offered.split_whitespace().any(|o| o == *c));
    let result = std::panic::catch_unwind(|| {
        base.add(std::process::id())
            .expect("enter the test's group");
        within(&base, controller.into_iter().collect());
    });
    let me = std::process::id().to_string();
    cgroup::write(&unified.own.join("cgroup.procs"), &me).expect("go back");
    remove_at_last(&base);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    Ok(())
}

/// Children of tests that run beside this one in the same process were born into the group, and leave it soon.
fn remove_at_last(base: &Group) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = base.remove() {
        assert!(
            Instant::now() < deadline,
            "something is left in the test's group: {error}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn within(base: &Group, enable: Vec<&'static str>) {
    let place = Place::Within {
        own: base.path().to_owned(),
        enable: enable.clone(),
        make_room: true,
    };
    let group = SessionGroup::unified(&place, Wanted::default()).expect("group");
    let on = base.get("cgroup.subtree_control").expect("controllers");
    assert_eq!(on.split_whitespace().collect::<Vec<_>>(), enable);
    assert_eq!(
        base.get("cgroup.procs").expect("processes"),
        "",
        "we made room"
    );

    let mut child = sleeper();
    group.enter(child.id()).expect("enter");
    assert_eq!(
        group.group.get("cgroup.procs").expect("processes"),
        format!("{}\n", child.id())
    );
    assert!(
        group.group.remove().is_err(),
        "a group with a process stays"
    );
    child.kill().expect("kill");
    child.wait().expect("wait");

    let path = group.path().to_owned();
    drop(group);
    assert!(!path.exists(), "{} stayed", path.display());
    assert_eq!(
        base.get("cgroup.subtree_control")
            .expect("controllers")
            .trim(),
        ""
    );
    let back = base.get("cgroup.procs").expect("processes");
    assert!(
        back.lines()
            .any(|pid| pid == std::process::id().to_string()),
        "we are back"
    );
}

#[test]
fn groups_of_the_dead_are_removed_and_others_stay() {
    let parent = tempfile::tempdir().expect("directory");
    let dead = {
        let mut child = sleeper();
        child.kill().expect("kill");
        child.wait().expect("wait");
        child.id()
    };
    let alive = std::process::id();
    let names = [
        format!("palisade-{dead}-0"),
        format!("palisade-{alive}-0"),
        "palisade-x-0".to_owned(),
        "other".to_owned(),
    ];
    for name in &names {
        fs::create_dir(parent.path().join(name)).expect("directory");
    }
    remove_stale(parent.path());
    let left: Vec<bool> = names
        .iter()
        .map(|n| parent.path().join(n).exists())
        .collect();
    assert_eq!(left, [false, true, true, true]);
}

#[test]
fn groups_in_between_narrow_the_limits() {
    let outer = tempfile::tempdir().expect("directory");
    let inner = tempfile::tempdir().expect("directory");
    let write = |group: &tempfile::TempDir, file: &str, text: &str| {
        fs::write(group.path().join(file), text).expect("file");
    };
    write(&outer, "memory.max", "max\n");
    write(&outer, "cpu.max", "50000 100000\n");
    write(&inner, "memory.max", "1048576\n");
    write(&inner, "pids.max", "7\n");
    write(&inner, "cpu.max", "max 100000\n");
    let between = [inner.path().to_owned(), outer.path().to_owned()];
    let wanted = Wanted {
        memory: Some(1 << 30),
        processes: Some(5),
        cpus: Some(2.0),
    };
    let narrowed_all = narrowed(wanted, &between);
    let expected = Wanted {
        memory: Some(1 << 20),
        processes: Some(5),
        cpus: Some(0.5),
    };
    assert_eq!(narrowed_all, expected);
    assert_eq!(narrowed(Wanted::default(), &between), Wanted::default());
}

#[test]
fn a_group_that_cannot_be_made_says_where_and_why() {
    let error = SessionGroup::legacy(Path::new("/nowhere/at/all"), Wanted::default())
        .expect_err("no such place");
    assert!(error.cause.contains("/nowhere/at/all"), "{error}");
    assert!(error.cause.contains("No such file"), "{error}");
}
