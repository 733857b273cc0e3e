//! Applying and discarding, on uppers made by hand. Overlays that the kernel made are in `tests/overlay`.

mod discarding;
mod rights;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::changes::tests::{Fixture, mark, whiteout, write};

fn apply(f: &Fixture, selection: &Selection<'_>, allow: &Allow) -> Applied {
    let pending = f.pending();
    let set = pending.read().unwrap();
    let applied = pending.apply(&set, selection, allow).unwrap();
    assert!(!pending.interrupted());
    no_temporary_names(&f.host(""));
    applied
}

fn discard(f: &Fixture, selection: &Selection<'_>) -> Applied {
    let pending = f.pending();
    let set = pending.read().unwrap();
    pending.discard(&set, selection).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn left(applied: &Applied) -> Vec<String> {
    let line = |left: &Left| format!("{}: {}", left.path.display(), left.reason);
    applied.left.iter().map(line).collect()
}

fn no_temporary_names(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with(".palisade-"), "{}", path.display());
        if path.is_dir() && !path.is_symlink() {
            no_temporary_names(&path);
        }
    }
}

/// A session that did a bit of everything.
fn busy() -> Fixture {
    let f = Fixture::new(&[
        "edited", "gone", "kept", "tree/a", "tree/b/c", "folder/x", "file",
    ]);
    write(&f.upper("edited"), "new text");
    whiteout(&f.upper("gone"));
    whiteout(&f.upper("tree"));
    write(&f.upper("made/in/here"), "n");
    write(&f.upper("folder"), "a file now");
    write(&f.upper("file/is/a/folder"), "f");
    symlink("kept", f.upper("link")).unwrap();
    f
}

#[test]
fn everything_lands_and_leaves_the_change_set() {
    let f = busy();
    let applied = apply(&f, &Selection::all(), &Allow::default());
    assert_eq!(left(&applied), [""; 0]);
    assert_eq!(read(&f.host("edited")), "new text");
    assert!(!f.host("gone").exists() && !f.host("tree").exists());
    assert_eq!(read(&f.host("made/in/here")), "n");
    assert_eq!(read(&f.host("folder")), "a file now");
    assert_eq!(read(&f.host("file/is/a/folder")), "f");
    assert_eq!(fs::read_link(f.host("link")).unwrap(), Path::new("kept"));
    assert_eq!(fs::read_dir(f.upper("")).unwrap().count(), 0);
    assert!(f.shown().is_empty());
}

#[test]
fn what_is_chosen_lands_with_the_folders_it_needs_and_the_rest_stays() {
    let f = busy();
    let before = f.shown();
    let chosen = Selection::paths(["made/in/here", "tree/b"]).except(|path| path.ends_with("c"));
    let applied = apply(&f, &chosen, &Allow::default());
    assert_eq!(
        applied.done,
        ["made", "made/in", "made/in/here"].map(PathBuf::from)
    );
    assert_eq!(
        left(&applied),
        ["tree/b: the folder holds what is not to be removed"]
    );
    assert!(f.host("tree/b/c").exists() && f.host("gone").exists());
    let after = f.shown();
    let rest = before.into_iter().filter(|line| !line.contains("made"));
    assert_eq!(after, rest.collect::<Vec<_>>());
    // One path of a removed folder, and then the rest of it.
    apply(&f, &Selection::paths(["tree/b/c"]), &Allow::default());
    assert!(!f.host("tree/b/c").exists() && f.host("tree/a").exists());
    let applied = apply(&f, &Selection::all(), &Allow::default());
    assert_eq!(left(&applied), [""; 0], "our own work is no conflict");
    assert!(!f.host("tree").exists());
}

#[test]
fn a_conflict_is_never_overwritten_unless_it_is_asked_for() {
    let f = busy();
    write(&f.host("edited"), "a person's");
    write(&f.host("tree/b/c"), "a person's");
    write(&f.host("made"), "a person's");
    let applied = apply(&f, &Selection::all(), &Allow::default());
    let changed = "it changed on the host since the session began";
    assert_eq!(
        left(&applied),
        [
            format!("edited: {changed}"),
            format!("made: {changed}"),
            "made/in: made has to land first".into(),
            "made/in/here: made/in has to land first".into(),
            "tree: the folder holds what is not to be removed".into(),
            "tree/b: the folder holds what is not to be removed".into(),
            format!("tree/b/c: {changed}"),
        ]
    );
    for path in ["edited", "tree/b/c", "made"] {
        assert_eq!(read(&f.host(path)), "a person's");
    }
    let allow = Allow {
        conflicts: true,
        ..Allow::default()
    };
    let applied = apply(&f, &Selection::all(), &allow);
    assert_eq!(left(&applied), [""; 0]);
    assert_eq!(read(&f.host("edited")), "new text");
    assert_eq!(read(&f.host("made/in/here")), "n");
    assert!(!f.host("tree").exists());
}

#[test]
fn what_changed_after_the_change_set_was_read_is_not_overwritten() {
    let f = busy();
    let pending = f.pending();
    let set = pending.read().unwrap();
    write(&f.host("edited"), "a person's");
    write(&f.host("gone"), "a person's");
    write(&f.host("made"), "a person's");
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    let paths: Vec<_> = applied.left.iter().map(|left| &left.path).collect();
    assert_eq!(
        paths,
        ["edited", "gone", "made", "made/in", "made/in/here"]
            .map(Path::new)
            .to_vec()
    );
    for path in ["edited", "gone", "made"] {
        assert_eq!(read(&f.host(path)), "a person's");
    }
    no_temporary_names(&f.host(""));
}

#[test]
fn what_changes_between_the_look_and_the_exchange_is_put_back() {
    let f = busy();
    let pending = f.pending();
    let set = pending.read().unwrap();
    let mut staged = 0;
    let mut person = |progress| {
        // A person's editor saves by rename, while the first files wait under temporary names.
        if progress == Progress::Staged && staged == 0 {
            staged += 1;
            write(&f.host("save"), "a person's");
            fs::rename(f.host("save"), f.host("edited")).unwrap();
        }
    };
    let applied = pending
        .apply_with(&set, &Selection::all(), &Allow::default(), &mut person)
        .unwrap();
    assert_eq!(applied.left.len(), 1);
    assert_eq!(read(&f.host("edited")), "a person's");
    no_temporary_names(&f.host(""));
}

#[test]
fn a_folder_that_became_a_link_is_not_followed() {
    let f = Fixture::new(&["folder/x", "outside-not-chosen"]);
    write(&f.upper("folder/x"), "new");
    write(&f.upper("folder/made/y"), "new");
    whiteout(&f.upper("folder/z"));
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("x"), "safe");
    let pending = f.pending();
    let set = pending.read().unwrap();
    let mut swapped = false;
    let mut attack = |progress| {
        if matches!(progress, Progress::Planned(_)) && !swapped {
            swapped = true;
            fs::rename(f.host("folder"), f.host("aside")).unwrap();
            symlink(outside.path(), f.host("folder")).unwrap();
        }
    };
    let applied = pending
        .apply_with(&set, &Selection::all(), &Allow::default(), &mut attack)
        .unwrap();
    assert_eq!(applied.left.len(), 3, "{:?}", left(&applied));
    assert_eq!(read(&outside.path().join("x")), "safe");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(read(&f.host("aside/x")), "folder/x");
}

#[test]
fn a_link_that_leads_out_takes_a_yes_of_its_own() {
    let f = Fixture::new(&["d/x"]);
    symlink("/etc/passwd", f.upper("passwd")).unwrap();
    symlink("../../x", f.upper("up")).unwrap();
    let applied = apply(&f, &Selection::all(), &Allow::default());
    assert_eq!(applied.done.len(), 0);
    assert_eq!(
        left(&applied),
        ["passwd", "up"]
            .map(|path| format!("{path}: it is a link that leads out of the workspace"))
    );
    let named = LeavingLinks::Named([PathBuf::from("up")].into());
    let allow = Allow {
        leaving_links: named,
        ..Allow::default()
    };
    let applied = apply(&f, &Selection::all(), &allow);
    assert_eq!(applied.done, [PathBuf::from("up")]);
    assert!(!f.host("passwd").is_symlink());
}

#[test]
fn a_part_of_a_file_lands_and_the_rest_stays_pending() {
    let f = Fixture::new(&["text", "goes"]);
    write(&f.upper("text"), "one\ntwo\n");
    fs::set_permissions(f.upper("text"), fs::Permissions::from_mode(0o755)).unwrap();
    whiteout(&f.upper("goes"));
    symlink("text", f.upper("link")).unwrap();
    let chosen = Selection::all()
        .with_contents("text", b"one\n".to_vec())
        .with_contents("goes", b"go".to_vec())
        .with_contents("link", b"?".to_vec());
    let applied = apply(&f, &chosen, &Allow::default());
    assert_eq!(applied.done, ["goes", "text"].map(PathBuf::from));
    assert_eq!(left(&applied), ["link: only a file can land in part"]);
    assert_eq!(read(&f.host("text")), "one\n");
    assert_eq!(read(&f.host("goes")), "go");
    assert_eq!(f.shown(), ["Removed goes", "Added link", "Changed text"]);
    // Our own writing is no conflict, a person's is.
    let chosen = Selection::paths(["text"]).with_contents("text", b"one\ntwo\n".to_vec());
    assert_eq!(apply(&f, &chosen, &Allow::default()).done.len(), 1);
    assert_eq!(f.shown(), ["Removed goes", "Added link"]);
    write(&f.host("goes"), "a person's");
    assert_eq!(f.shown(), ["Removed goes!", "Added link"]);
}

#[test]
fn names_of_one_file_stay_together_with_one_that_did_not_change() {
    let f = Fixture::new(&["here", "bits"]);
    for path in ["here", "bits"] {
        fs::copy(f.host(path), f.upper(path)).unwrap();
        fs::hard_link(f.upper(path), f.upper(&format!("{path}-too"))).unwrap();
    }
    fs::set_permissions(f.upper("bits"), fs::Permissions::from_mode(0o600)).unwrap();
    write(&f.upper("new/one"), "1");
    fs::hard_link(f.upper("new/one"), f.upper("another")).unwrap();
    apply(&f, &Selection::all(), &Allow::default());
    let inode = |path: &str| fs::metadata(f.host(path)).unwrap().ino();
    for (one, other) in [
        ("here", "here-too"),
        ("bits", "bits-too"),
        ("new/one", "another"),
    ] {
        assert_eq!(inode(one), inode(other), "{one}");
    }
    assert_eq!(fs::metadata(f.host("bits")).unwrap().mode() & 0o777, 0o600);
    assert!(f.shown().is_empty());
}

#[test]
fn names_of_one_file_may_land_one_after_the_other() {
    let f = Fixture::new(&["old"]);
    write(&f.upper("old"), "new");
    fs::hard_link(f.upper("old"), f.upper("second")).unwrap();
    fs::hard_link(f.upper("old"), f.upper("third")).unwrap();
    for path in ["second", "old"] {
        apply(&f, &Selection::paths([path]), &Allow::default());
        assert!(!f.shown().iter().any(|line| line.contains(path)));
    }
    let inode = |path: &str| fs::metadata(f.host(path)).unwrap().ino();
    assert_eq!(inode("old"), inode("second"));
    discard(&f, &Selection::paths(["third"]));
    assert_eq!(fs::read_dir(f.upper("")).unwrap().count(), 0);
}

#[test]
fn bits_of_a_file_with_another_name_do_not_change_that_one() {
    let f = Fixture::new(&["one"]);
    fs::hard_link(f.host("one"), f.host("two")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    write(&f.changes().join("began"), "again");
    fs::copy(f.host("one"), f.upper("one")).unwrap();
    fs::set_permissions(f.upper("one"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(f.shown(), ["Mode one"]);
    apply(&f, &Selection::all(), &Allow::default());
    let mode = |path: &str| fs::metadata(f.host(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("one"), mode("two")), (0o777, 0o644));
}

#[test]
fn two_at_once_are_refused() {
    let f = busy();
    let pending = f.pending();
    let set = pending.read().unwrap();
    let other = f.pending();
    let mut refused = None;
    let mut meanwhile = |_| {
        if refused.is_none() {
            let done = other.apply(&set, &Selection::all(), &Allow::default());
            refused = Some(matches!(done, Err(ApplyError::Busy(_))));
        }
    };
    pending
        .apply_with(&set, &Selection::all(), &Allow::default(), &mut meanwhile)
        .unwrap();
    assert_eq!(refused, Some(true));
}
