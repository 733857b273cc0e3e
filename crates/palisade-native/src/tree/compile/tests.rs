use std::path::PathBuf;

use palisade_protocol::Changes;

use super::*;

fn scratch(path: &str) -> TreeEntry {
    TreeEntry::Scratch {
        path: path.into(),
        mode: 0o700,
    }
}

fn bind(source: &str, target: &str, access: TreeAccess) -> TreeEntry {
    TreeEntry::Bind {
        source: source.into(),
        target: target.into(),
        access,
        ownership: Ownership::Host,
    }
}

fn file(path: &str) -> TreeEntry {
    TreeEntry::File {
        path: path.into(),
        content: b"x".to_vec(),
    }
}

fn compiled(entries: &[TreeEntry]) -> Result<TreePlan, StartError> {
    compile(entries, None, &mut Opener::Child)
}

/// The steps in short.
fn steps(entries: &[TreeEntry]) -> Vec<String> {
    let text = |path: &CString| path.to_str().expect("utf-8").to_owned();
    let from = |source: &Source| match source {
        Source::Host { path, read_only } => format!("host {} {read_only}", text(path)),
        Source::Device { path } => format!("device {}", text(path)),
        Source::Tree(_) => "tree".to_owned(),
        Source::Inside { path, read_only } => format!("inside {} {read_only}", text(path)),
    };
    let plan = compiled(entries).expect("compiles");
    let steps = plan.steps.iter().map(|step| match &step.action {
        Action::Directory { path, mode } => format!("dir {} {mode:o}", text(path)),
        Action::Placeholder { path } => format!("place {}", text(path)),
        Action::Write { path, .. } => format!("write {}", text(path)),
        Action::Link { path, .. } => format!("link {}", text(path)),
        Action::Attach { source, target } => match target {
            Target::Own(path) => format!("{} on {}", from(source), text(path)),
            Target::Shown(path) => format!("{} over {}", from(source), text(path)),
        },
        Action::Mask { path, directory } => format!("mask {} {directory}", text(path)),
        Action::Empties => "empties".to_owned(),
        Action::Memory { memory, target } => {
            let (Target::Own(path) | Target::Shown(path)) = target;
            format!(
                "memory {} {} {}",
                text(path),
                text(&memory.size),
                memory.exec
            )
        }
        Action::Overlay(overlay) => format!(
            "overlay {} of {}",
            text(&overlay.upper),
            text(&overlay.lower)
        ),
        Action::Protect { path } => format!("protect {}", text(path)),
        Action::Proc { target } => format!("proc {}", text(target)),
        Action::Terminals { target } => format!("terminals {}", text(target)),
    });
    steps.collect()
}

#[test]
fn parents_are_made_once_and_before_their_children() {
    let entries = [
        bind("/usr", "/a/b/usr", TreeAccess::Read),
        bind("/etc/passwd", "/a/b/passwd", TreeAccess::Read),
    ];
    let expected = [
        "dir a 755",
        "dir a/b 755",
        "dir a/b/usr 755",
        "host /usr true on a/b/usr",
        "place a/b/passwd",
        "host /etc/passwd true on a/b/passwd",
    ];
    assert_eq!(steps(&entries), expected);
}

#[test]
fn nothing_is_made_within_what_is_the_hosts() {
    let entries = [
        bind("/usr", "/usr", TreeAccess::Write),
        bind("/etc", "/usr/share", TreeAccess::Read),
        file("/usr/share/x"),
        scratch("/usr/lib"),
        TreeEntry::Dir {
            path: "/usr/bin".into(),
        },
    ];
    let made: Vec<_> = steps(&entries)
        .into_iter()
        .filter(|s| ["dir", "place", "write"].iter().any(|k| s.starts_with(k)))
        .filter(|s| !s.contains(HIDDEN))
        .collect();
    assert_eq!(made, ["dir usr 755"]);
    let shown: Vec<_> = steps(&entries)
        .into_iter()
        .filter(|s| s.contains("over"))
        .collect();
    let expected = [
        "host /etc true over usr/share",
        "inside .palisade/1 true over usr/share/x",
        "inside .palisade/2 false over usr/lib",
        "inside .palisade/directory true over usr/bin",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_scratch_directory_is_shown_on_itself_and_holds_what_comes_later() {
    let entries = [
        scratch("/home/me"),
        scratch("/home/me/tmp"),
        bind("/usr", "/home/me/p/usr", TreeAccess::Read),
        file("/home/me/f"),
        file("/etc/f"),
    ];
    let expected = [
        "dir home 755",
        "dir home/me 700",
        "inside home/me false on home/me",
        "dir home/me/tmp 700",
        "dir home/me/p 755",
        "dir home/me/p/usr 755",
        "host /usr true on home/me/p/usr",
        "dir .palisade 700",
        "write .palisade/1",
        "place home/me/f",
        "inside .palisade/1 true on home/me/f",
        "dir etc 755",
        "write etc/f",
    ];
    assert_eq!(steps(&entries), expected);
}

#[test]
fn writable_places_are_told_to_landlock_and_no_others() {
    let entries = [
        bind("/usr", "/usr", TreeAccess::Read),
        bind("/usr", "/w", TreeAccess::Write),
        bind("/etc/passwd", "/f", TreeAccess::Write),
        scratch("/s"),
        TreeEntry::Dev,
    ];
    let plan = compiled(&entries).expect("compiles");
    let told: Vec<_> = plan
        .writable
        .iter()
        .map(|w| (w.path.to_str().expect("utf-8"), w.directory))
        .collect();
    assert_eq!(
        told,
        [
            ("/w", true),
            ("/f", false),
            ("/s", true),
            ("/dev/shm", true)
        ]
    );
}

#[test]
fn a_path_through_a_link_of_the_tree_is_refused() {
    let link = || TreeEntry::Symlink {
        path: "/bin".into(),
        target: "/usr/bin".into(),
    };
    for entry in [
        bind("/usr", "/bin/x", TreeAccess::Read),
        bind("/usr", "/bin", TreeAccess::Read),
        file("/bin/x"),
        scratch("/bin/x"),
    ] {
        let error = compiled(&[link(), entry]).expect_err("refused");
        assert!(error.cause.contains("/bin is a symbolic link"), "{error}");
    }
    assert!(compiled(&[link(), bind("/usr", "/usr", TreeAccess::Read)]).is_ok());
}

#[test]
fn odd_paths_are_refused() {
    for path in ["", "relative", "/", "/a/../b", "/a\0b"] {
        let entry = TreeEntry::Dir {
            path: PathBuf::from(path),
        };
        assert!(compiled(&[entry]).is_err(), "{path:?}");
    }
    assert!(compiled(&[bind("/no/such/path", "/a", TreeAccess::Read)]).is_err());
}

#[test]
fn an_overlay_is_made_of_names_of_ours_and_masks_come_as_they_are() {
    let entries = [
        TreeEntry::Overlay {
            source: "/usr/bin".into(),
            target: "/w:x,y".into(),
            changes: Changes::Memory { size: Some(4096) },
            ownership: Ownership::Agent,
        },
        TreeEntry::Mask {
            path: "/w:x,y/a".into(),
            directory: false,
        },
        TreeEntry::Tmpfs {
            path: "/t".into(),
            size: None,
            exec: false,
        },
        scratch("/t/below"),
    ];
    let expected = [
        "dir .palisade 700",
        "dir .palisade/1 700",
        "host /usr/bin true on .palisade/1",
        "dir .palisade/2 700",
        "memory .palisade/2 4096 true",
        "dir w:x,y 755",
        "overlay .palisade/2/upper of .palisade/1",
        "empties",
        "mask w:x,y/a false",
        "dir t 755",
        "memory t 50% false",
        "dir t/below 700",
    ];
    assert_eq!(steps(&entries), expected);
    let plan = compiled(&entries).expect("compiles");
    let told: Vec<_> = plan.writable.iter().map(|w| w.path.to_str()).collect();
    assert_eq!(told, [Ok("/w:x,y"), Ok("/t")]);
}
