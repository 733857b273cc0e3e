use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

fn account() -> AgentAccount {
    AgentAccount::new("ada", 1000, 1000, Path::new("/home/ada"), "box")
}

/// A host with one of each kind of entry.
fn host() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for folder in [
        "usr/bin",
        "opt",
        "var/lib",
        "etc/alternatives",
        "etc/ssh/ssh_config.d",
        "etc/ssl/certs",
        "etc/ssl/private",
        "etc/pki/tls/private",
        "srv/zones",
        "nix/store",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (file, content) in [
        ("etc/shadow", "root:secret".to_owned()),
        ("etc/timezone", "Etc/UTC\n".to_owned()),
        ("etc/services", "x".repeat(12289)),
        ("etc/gitconfig", "[user]".to_owned()),
        ("etc/ssh/ssh_config", "Host *".to_owned()),
        ("etc/ssh/ssh_host_rsa_key", "key".to_owned()),
        ("etc/sudoers", "root".to_owned()),
        ("srv/zones/here", "zone".to_owned()),
    ] {
        fs::write(root.join(file), content).unwrap();
    }
    fs::set_permissions(root.join("etc/gitconfig"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    symlink("/srv/zones/here", root.join("etc/localtime")).unwrap();
    symlink("/gone", root.join("etc/vim")).unwrap();
    symlink("../proc/self/mounts", root.join("etc/mtab")).unwrap();
    (dir, root)
}

fn find<'a>(tree: &'a [TreeEntry], path: &str) -> Option<&'a TreeEntry> {
    tree.iter().find(|entry| inside(entry) == Path::new(path))
}

fn inside(entry: &TreeEntry) -> &Path {
    match entry {
        TreeEntry::Dir { path }
        | TreeEntry::Symlink { path, .. }
        | TreeEntry::File { path, .. }
        | TreeEntry::Scratch { path, .. }
        | TreeEntry::Tmpfs { path, .. }
        | TreeEntry::Mask { path, .. } => path,
        TreeEntry::Bind { target, .. } | TreeEntry::Overlay { target, .. } => target,
        TreeEntry::Proc => Path::new("/proc"),
        TreeEntry::Dev => Path::new("/dev"),
    }
}

#[test]
fn the_system_is_an_allowlist() {
    let (_dir, root) = host();
    let tree = system_tree(&root, &account()).unwrap();
    for shown in [
        "/usr",
        "/bin",
        "/opt",
        "/nix/store",
        "/etc/alternatives",
        "/etc/timezone",
        "/etc/ssh/ssh_config",
        "/etc/ssl/certs",
        "/tmp",
        "/home/ada",
        "/proc",
        "/dev",
    ] {
        assert!(find(&tree, shown).is_some(), "{shown}");
    }
    for hidden in [
        "shadow", "sudoers", "ssh_host", "private", "/srv", "/var/lib",
    ] {
        let shown = tree
            .iter()
            .find(|e| inside(e).to_string_lossy().contains(hidden));
        assert_eq!(shown, None, "{hidden}");
    }
    let whole = [
        "/", "/etc", "/etc/ssl", "/etc/ssh", "/etc/pki", "/var", "/run", "/home",
    ];
    for entry in &tree {
        if let TreeEntry::Bind { target, access, .. } = entry {
            assert_eq!(*access, TreeAccess::Read);
            assert!(!whole.iter().any(|w| target == Path::new(w)), "{target:?}");
        }
    }
}

#[test]
fn each_kind_is_shown_the_cheapest_true_way() {
    let (_dir, root) = host();
    let tree = system_tree(&root, &account()).unwrap();
    assert_eq!(
        find(&tree, "/bin"),
        Some(&TreeEntry::Symlink {
            path: "/bin".into(),
            target: "usr/bin".into()
        })
    );
    assert_eq!(
        find(&tree, "/etc/timezone"),
        Some(&TreeEntry::File {
            path: "/etc/timezone".into(),
            content: b"Etc/UTC\n".to_vec()
        })
    );
    assert!(
        matches!(find(&tree, "/etc/services"), Some(TreeEntry::Bind { .. })),
        "too large to copy"
    );
    assert!(
        matches!(find(&tree, "/etc/gitconfig"), Some(TreeEntry::Bind { .. })),
        "not for everyone"
    );
    assert!(matches!(
        find(&tree, "/etc/os-release"),
        Some(TreeEntry::Symlink { .. })
    ));
    assert!(matches!(
        find(&tree, "/etc/mtab"),
        Some(TreeEntry::Symlink { .. })
    ));
    assert_eq!(
        find(&tree, "/etc/localtime"),
        Some(&TreeEntry::Bind {
            source: root.join("srv/zones/here"),
            target: "/etc/localtime".into(),
            access: TreeAccess::Read,
            ownership: Ownership::Host,
        }),
        "a link to what is not shown"
    );
    assert_eq!(find(&tree, "/etc/vim"), None, "a dangling link");
}

#[test]
fn parents_come_before_children() {
    let tree = system_tree(Path::new("/"), &account()).unwrap();
    for (at, entry) in tree.iter().enumerate() {
        let late = tree[at + 1..].iter().find(|later| {
            inside(entry) != inside(later) && inside(entry).starts_with(inside(later))
        });
        assert_eq!(late, None, "{entry:?}");
    }
}

/// The bound that keeps a start fast: about 10 us a bind.
#[test]
fn this_machines_system_takes_few_binds() {
    let tree = system_tree(Path::new("/"), &account()).unwrap();
    let binds = tree
        .iter()
        .filter(|e| matches!(e, TreeEntry::Bind { .. }))
        .count();
    assert!((2..=40).contains(&binds), "{binds} binds");
}
