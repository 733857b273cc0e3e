//! Throwing changes away.

use super::*;

#[test]
fn discarding_all_empties_the_upper_and_leaves_the_host_alone() {
    let f = busy();
    let mut folder = f.upper("deep");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..30 {
        folder.push("d");
        fs::create_dir(&folder).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        f.upper("pipe"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    discard(&f, &Selection::all());
    assert_eq!(fs::read_dir(f.upper("")).unwrap().count(), 0);
    assert_eq!(read(&f.host("tree/b/c")), "tree/b/c");
    assert_eq!(read(&f.host("edited")), "edited");
    assert!(f.shown().is_empty());
}

#[test]
fn what_is_discarded_is_as_on_the_host_and_the_rest_stays() {
    let f = busy();
    let before = f.shown();
    let gone = ["edited", "tree/b/c", "made"];
    let applied = discard(&f, &Selection::paths(gone));
    assert_eq!(left(&applied), [""; 0]);
    let stays = before
        .into_iter()
        .filter(|line| !gone.iter().any(|path| line.contains(path)))
        // A folder with something in it is not removed any more.
        .filter(|line| !matches!(line.as_str(), "Removed tree" | "Removed tree/b"));
    assert_eq!(f.shown(), stays.collect::<Vec<_>>());
    assert_eq!(read(&f.host("tree/b/c")), "tree/b/c");
}

#[test]
fn in_a_folder_made_again_single_changes_can_be_discarded() {
    let f = Fixture::new(&["d/edited", "d/gone", "d/sub/gone", "d/sub/same"]);
    write(&f.upper("d/edited"), "new");
    write(&f.upper("d/new"), "new");
    write(&f.upper("d/sub/same"), "d/sub/same");
    mark(&f.upper("d"), "user.overlay.opaque", "y");
    let all = [
        "Changed d/edited",
        "Removed d/gone",
        "Added d/new",
        "Removed d/sub/gone",
    ];
    assert_eq!(f.shown(), all);
    discard(&f, &Selection::paths(["d/gone"]));
    assert_eq!(f.shown(), [all[0], all[2], all[3]]);
    discard(&f, &Selection::paths(["d/edited"]));
    assert_eq!(f.shown(), [all[2], all[3]]);
    discard(&f, &Selection::paths(["d/new", "d/sub"]));
    assert!(f.shown().is_empty());
}
