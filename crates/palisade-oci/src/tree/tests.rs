use std::fs;
use std::os::unix::fs::symlink;

use palisade_protocol::Ownership;

use super::*;

struct Host {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("real");
        fs::create_dir_all(root.join("ws/sub")).expect("folder");
        fs::write(root.join("ws/.env"), "SECRET").expect("file");
        fs::write(root.join("ws/sub/key"), "SECRET").expect("file");
        Self {
            _folder: folder,
            root,
        }
    }

    fn workspace(&self) -> TreeEntry {
        bind(&self.root.join("ws"), "/ws", TreeAccess::Write)
    }
}

fn bind(source: &Path, target: &str, access: TreeAccess) -> TreeEntry {
    TreeEntry::Bind {
        source: source.to_path_buf(),
        target: target.into(),
        access,
        ownership: Ownership::Agent,
    }
}

fn mask(path: &str) -> TreeEntry {
    let path = path.into();
    TreeEntry::Mask {
        path,
        directory: false,
    }
}

fn scratch(path: &str) -> TreeEntry {
    let path = path.into();
    TreeEntry::Scratch { path, mode: 0o700 }
}

fn targets(layout: &Layout) -> Vec<&str> {
    let mounts = layout.mounts.iter();
    mounts.map(|m| m.target.to_str().expect("text")).collect()
}

#[test]
fn masks_cover_what_is_there_and_create_nothing() {
    let host = Host::new();
    let tree = [
        host.workspace(),
        mask("/ws/.env"),
        mask("/ws/none"),
        mask("/elsewhere"),
    ];
    let layout = lay_out(&tree, Reach::Engine).expect("fine");
    assert_eq!(targets(&layout), ["/ws", "/ws/.env"]);
    assert_eq!(layout.mounts[1].what, What::Empty { directory: false });
    assert_eq!(layout.writable, [("/ws".into(), true)]);
}

#[test]
fn a_folder_that_is_hidden_hides_what_was_shown_in_it() {
    let host = Host::new();
    let shown = bind(
        &host.root.join("ws/.env"),
        "/ws/sub/shown",
        TreeAccess::Write,
    );
    let layout = lay_out(&[host.workspace(), shown, mask("/ws/sub")], Reach::Engine).expect("fine");
    assert_eq!(targets(&layout), ["/ws", "/ws/sub"]);
    assert_eq!(layout.mounts[1].what, What::Empty { directory: true });
    assert_eq!(layout.writable, [("/ws".into(), true)]);
}

#[test]
fn a_mask_that_became_a_link_is_refused() {
    let host = Host::new();
    symlink("sub", host.root.join("ws/link")).expect("link");
    for path in ["/ws/link", "/ws/link/key"] {
        let error = lay_out(&[host.workspace(), mask(path)], Reach::Engine).expect_err(path);
        assert!(error.cause.contains("symbolic link"), "{error}");
    }
}

#[test]
fn the_same_place_is_mounted_once() {
    let host = Host::new();
    let again = bind(&host.root.join("ws"), "/ws", TreeAccess::Read);
    let layout = lay_out(&[host.workspace(), again], Reach::Engine).expect("fine");
    assert_eq!(targets(&layout), ["/ws"]);
    assert!(layout.writable.is_empty());
}

#[test]
fn folders_made_in_memory_on_the_way_are_the_agents() {
    let host = Host::new();
    let deep = bind(
        &host.root.join("ws"),
        "/home/a/.config/x/ws",
        TreeAccess::Read,
    );
    let layout = lay_out(&[scratch("/home/a"), deep], Reach::Engine).expect("fine");
    let expected = ["/home/a/.config", "/home/a/.config/x"].map(PathBuf::from);
    assert_eq!(layout.owned, expected);
}

#[test]
fn names_that_an_engine_would_change_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/a\xff"));
    for path in [
        odd,
        Path::new("/a\nb"),
        Path::new("a"),
        Path::new("/a/../b"),
    ] {
        let entry = TreeEntry::Dir { path: path.into() };
        assert!(lay_out(&[entry], Reach::Engine).is_err(), "{path:?}");
    }
}

fn overlay(host: &Host, changes: Changes) -> TreeEntry {
    TreeEntry::Overlay {
        source: host.root.join("ws"),
        target: "/ws".into(),
        changes,
        ownership: Ownership::Agent,
    }
}

#[test]
fn what_lies_under_changes_is_masked() {
    let host = Host::new();
    fs::create_dir_all(host.root.join("kept/upper")).expect("folder");
    let kept = Changes::Kept(host.root.join("kept"));
    let layout = lay_out(&[overlay(&host, kept), mask("/ws/.env")], Reach::Engine).expect("fine");
    assert_eq!(targets(&layout), ["/ws", "/ws/.env"]);
    let upper = host.root.join("kept/upper");
    assert!(matches!(&layout.mounts[0].what, What::Overlay { upper: u, .. } if *u == upper));
}

#[test]
fn names_that_mean_something_to_an_engines_overlay_are_refused() {
    let host = Host::new();
    let odd = overlay(&host, Changes::Kept(host.root.join("a,b")));
    let error = lay_out(&[odd], Reach::Engine).expect_err("refused");
    assert!(error.cause.contains("a comma"), "{error}");
}

#[test]
fn changes_in_memory_and_masks_are_laid_over_what_the_engine_mounts() {
    let host = Host::new();
    let shown = TreeEntry::Bind {
        source: host.root.join("ws/sub"),
        target: "/ws/sub/key".into(),
        access: TreeAccess::Read,
        ownership: Ownership::Host,
    };
    let tree = |shown: &[TreeEntry]| {
        let memory = overlay(&host, Changes::Memory { size: None });
        let masks = [mask("/ws/.env"), mask("/ws/sub")];
        let all: Vec<_> = [memory].into_iter().chain(masks).collect();
        [all, shown.to_vec()].concat()
    };
    let late = |layout: &Layout| -> Vec<_> {
        let all = layout.late.iter().map(|mount| mount.target.clone());
        all.collect()
    };
    let by_engine = lay_out(&tree(&[]), Reach::Engine).expect("fine");
    assert_eq!(targets(&by_engine), ["/ws", "/ws/.env", "/ws/sub"]);
    let lower = What::Bind {
        source: host.root.join("ws"),
        read_only: true,
        recursive: false,
    };
    assert_eq!(by_engine.mounts[0].what, lower);
    assert_eq!(late(&by_engine), [Path::new("/ws")]);
    assert_eq!(by_engine.masked.len(), 2);
    let inside = lay_out(&tree(&[]), Reach::Inside).expect("fine");
    assert_eq!(targets(&inside), ["/ws"]);
    let all = ["/ws", "/ws/.env", "/ws/sub"].map(PathBuf::from);
    assert_eq!((late(&inside), inside.masked.len()), (all.to_vec(), 0));
    // What is shown in something hidden would be hidden by what is laid later.
    let within = lay_out(&tree(&[shown]), Reach::Inside).expect("fine");
    assert_eq!(targets(&within), ["/ws", "/ws/sub", "/ws/sub/key"]);
    assert_eq!(late(&within), all[..2]);
    assert_eq!(within.masked.len(), 1);
}

#[test]
fn what_the_hand_lays_is_all_that_lies_in_what_it_lays_and_every_mask() {
    let host = Host::new();
    let of_host = TreeEntry::Bind {
        source: host.root.join("ws/sub"),
        target: "/etc/sub".into(),
        access: TreeAccess::Read,
        ownership: Ownership::Host,
    };
    let tree = [
        scratch("/tmp"),
        host.workspace(),
        TreeEntry::Bind {
            source: host.root.join("ws/sub"),
            target: "/ws/sub".into(),
            access: TreeAccess::Read,
            ownership: Ownership::Agent,
        },
        of_host,
        mask("/ws/.env"),
        mask("/etc/sub/key"),
        mask("/ws/none"),
    ];
    let layout = lay_out(&tree, Reach::Host).expect("fine");
    assert_eq!(targets(&layout), ["/tmp", "/ws", "/etc/sub"]);
    // The workspace's place alone is made for it.
    assert_eq!(layout.mounts[1].what, What::Empty { directory: true });
    let late: Vec<_> = layout.late.iter().map(|m| m.target.to_str()).collect();
    let expected = ["/ws", "/ws/sub", "/ws/.env", "/etc/sub/key"];
    assert_eq!(late, expected.map(Some));
    let memory = overlay(&host, Changes::Memory { size: None });
    let layout = lay_out(&[memory, mask("/ws/.env")], Reach::Host).expect("fine");
    assert_eq!((targets(&layout), layout.late.len()), (vec!["/ws"], 2));
}
