//! Owners, permission bits, access lists: what a file has beside its contents.

use super::*;

#[test]
fn special_bits_land_only_when_asked_for() {
    for special_bits in [false, true] {
        let f = Fixture::new(&["old"]);
        for path in ["old", "new"] {
            write(&f.upper(path), path);
            fs::set_permissions(f.upper(path), fs::Permissions::from_mode(0o6755)).unwrap();
        }
        let allow = Allow {
            special_bits,
            ..Allow::default()
        };
        let applied = apply(&f, &Selection::all(), &allow);
        assert_eq!(applied.done.len(), 2);
        let wanted = if special_bits { 0o6755 } else { 0o755 };
        for path in ["old", "new"] {
            let mode = fs::metadata(f.host(path)).unwrap().mode() & 0o7777;
            assert_eq!(mode, wanted, "{path}");
        }
        assert!(f.shown().is_empty());
    }
}

#[test]
fn what_root_applies_belongs_to_the_workspaces_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let f = Fixture::new(&["old", "theirs"]);
    let own = |path: &Path, id| std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    own(&f.host("old"), 1000);
    own(&f.host("theirs"), 7);
    std::thread::sleep(std::time::Duration::from_millis(20));
    write(&f.changes().join("began"), "again");
    write(&f.upper("old"), "new");
    write(&f.upper("theirs"), "new");
    write(&f.upper("made/new"), "new");
    symlink("old", f.upper("made/link")).unwrap();
    for path in ["old", "theirs", "made", "made/new", "made/link"] {
        own(&f.upper(path), 900_001);
    }
    let owners = crate::changes::Owners {
        from: (900_001, 900_001),
        to: (1000, 1000),
    };
    let pending = Pending::open(&f.host(""), &f.changes(), Some(owners)).unwrap();
    let set = pending.read().unwrap();
    let applied = pending
        .apply(&set, &Selection::all(), &Allow::default())
        .unwrap();
    assert_eq!(left(&applied), [""; 0]);
    let owner = |path: &str| fs::symlink_metadata(f.host(path)).unwrap().uid();
    for path in ["old", "made", "made/new", "made/link"] {
        assert_eq!(owner(path), 1000, "{path}");
    }
    assert_eq!(owner("theirs"), 7);
}

#[test]
fn root_lends_no_power_to_the_owner_of_a_workspace() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (owner, wanted) in [(0, 0o755), (1000, 0o4755)] {
        let f = Fixture::new(&["program"]);
        std::os::unix::fs::lchown(f.host("program"), Some(owner), Some(owner)).unwrap();
        write(&f.upper("program"), "the agent's");
        fs::set_permissions(f.upper("program"), fs::Permissions::from_mode(0o4755)).unwrap();
        let owners = crate::changes::Owners {
            from: (0, 0),
            to: (1000, 1000),
        };
        let pending = Pending::open(&f.host(""), &f.changes(), Some(owners)).unwrap();
        let set = pending.read().unwrap();
        let allow = Allow {
            conflicts: true,
            special_bits: true,
            ..Allow::default()
        };
        let applied = pending.apply(&set, &Selection::all(), &allow).unwrap();
        assert_eq!(applied.done.len(), 1);
        let meta = fs::metadata(f.host("program")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (owner, wanted));
    }
}

#[test]
fn bits_are_not_given_to_a_file_that_was_linked_in_meanwhile_even_if_forced() {
    let f = Fixture::new(&["bits", "elsewhere"]);
    write(&f.upper("bits"), "bits");
    fs::set_permissions(f.upper("bits"), fs::Permissions::from_mode(0o777)).unwrap();
    let pending = f.pending();
    let set = pending.read().unwrap();
    fs::remove_file(f.host("bits")).unwrap();
    fs::hard_link(f.host("elsewhere"), f.host("bits")).unwrap();
    let allow = Allow {
        conflicts: true,
        ..Allow::default()
    };
    let applied = pending.apply(&set, &Selection::all(), &allow).unwrap();
    assert_eq!(applied.left.len(), 1);
    assert_eq!(
        fs::metadata(f.host("elsewhere")).unwrap().mode() & 0o777,
        0o644
    );
}

/// An access list as the kernel keeps it (`linux/posix_acl_xattr.h`): the owner and user 1234 may read and write.
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, u32::MAX),
        (0x02, 6, 1234),
        (0x04, 4, u32::MAX),
        (0x10, 6, u32::MAX),
        (0x20, 4, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(bits.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn what_else_a_file_has_is_kept() {
    let f = Fixture::new(&["edited"]);
    let flags = rustix::fs::XattrFlags::empty();
    let list = access_list();
    rustix::fs::setxattr(f.host("edited"), "system.posix_acl_access", &list, flags).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    write(&f.changes().join("began"), "again");
    write(&f.upper("edited"), "new text");
    fs::set_permissions(f.upper("edited"), fs::Permissions::from_mode(0o664)).unwrap();
    let set = |name: &str| rustix::fs::setxattr(f.upper("edited"), name, b"v", flags).unwrap();
    set("user.mine");
    set("user.overlay.origin");
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(600_000_000, 5);
    let file = fs::File::options().write(true).open(f.upper("edited"));
    file.unwrap().set_modified(time).unwrap();
    apply(&f, &Selection::all(), &Allow::default());
    let has = |name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(f.host("edited"), name, &mut value[..]);
        length.ok().map(|length| value[..length].to_vec())
    };
    assert_eq!(has("system.posix_acl_access"), Some(list));
    assert_eq!(has("user.mine"), Some(b"v".to_vec()));
    assert_eq!(has("user.overlay.origin"), None);
    assert_eq!(
        fs::metadata(f.host("edited")).unwrap().modified().unwrap(),
        time
    );
}
