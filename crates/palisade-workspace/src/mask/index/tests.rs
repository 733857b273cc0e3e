use super::*;

fn tree() -> Tree {
    let mut tree = Tree::default();
    for (path, filled, hidden) in [
        ("", false, false),
        ("a\n\u{fe}", true, false),
        ("b", false, true),
    ] {
        tree.folders.push(Folder {
            path: path.into(),
            changed: -5,
            inode: 7,
            manner: Manner { filled, hidden },
        });
    }
    for (number, why) in (0..3).cycle().zip(REASONS) {
        let what = Finding {
            name: ".env".into(),
            directory: number == 1,
            rule: 70_000,
            why,
            file: FileId {
                device: u64::MAX,
                inode: 3,
            },
            linked: number == 2,
            hidden: number == 0,
        };
        tree.findings.push(In {
            folder: number,
            what,
        });
    }
    let what = Look {
        name: "x.pem".into(),
        changed: i64::MAX,
        inode: 1,
        asked: vec![(Kind::Token, 1), (Kind::ServiceAccount, 2)],
        masked: true,
    };
    tree.looks.push(In { folder: 2, what });
    tree.links.push(In {
        folder: 1,
        what: ("link".into(), 4),
    });
    tree
}

fn kept(bytes: &[u8], root: &str, digest: u8) -> Option<Kept> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    Kept::of(file, Path::new(root), &[digest; 32])
}

fn read(bytes: &[u8], root: &str, digest: u8) -> Option<Tree> {
    kept(bytes, root, digest)?.tree()
}

#[test]
fn what_is_written_is_read() {
    let bytes = encode(&tree(), Path::new("/w"), &[1; 32]);
    assert_eq!(read(&bytes, "/w", 1), Some(tree()));
    assert_eq!(read(&bytes, "/v", 1), None);
    assert_eq!(read(&bytes, "/w", 2), None);
}

#[test]
fn what_people_keep_is_checked_and_only_that() {
    let bytes = encode(&tree(), Path::new("/w"), &[1; 32]);
    let kept = kept(&bytes, "/w", 1).unwrap();
    let asked = std::sync::Mutex::new(Vec::new());
    let all = kept.is_as_it_was(|path, changed, inode| {
        asked
            .lock()
            .unwrap()
            .push((path.to_path_buf(), changed, inode));
        true
    });
    let expected = [(".", -5, 7), ("b", -5, 7), ("b/x.pem", i64::MAX, 1)];
    let expected = expected.map(|(path, changed, inode)| (path.into(), changed, inode));
    assert_eq!(*asked.lock().unwrap(), expected);
    assert!(all && !kept.is_as_it_was(|path, _, _| path != Path::new("b")));
    assert_eq!(kept.masked.len(), tree().masked().count());
    assert_eq!(kept.links, [(PathBuf::from("a\n\u{fe}/link"), 4)]);
}

#[test]
fn a_head_of_any_length_is_read() {
    for count in [0, 1, 500, 600, 700, 5000] {
        let mut tree = tree();
        let folder = tree.folders[0].clone();
        tree.folders.extend((0..count).map(|n| Folder {
            path: format!("{n:0>24}").into(),
            ..folder.clone()
        }));
        let bytes = encode(&tree, Path::new("/w"), &[1; 32]);
        assert_eq!(read(&bytes, "/w", 1), Some(tree), "{count}");
    }
}

#[test]
fn whatever_is_odd_makes_it_void() {
    let bytes = encode(&tree(), Path::new("/w"), &[1; 32]);
    for cut in 0..bytes.len() {
        assert_eq!(read(&bytes[..cut], "/w", 1), None, "{cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(read(&longer, "/w", 1), None);
    // Any byte may be wrong: it is another tree or none, and never a panic or a large claim on memory.
    for at in 0..bytes.len() {
        for wrong in [0, 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = wrong;
            let Some(kept) = kept(&bytes, "/w", 1) else {
                continue;
            };
            kept.is_as_it_was(|_, _, _| true);
            if let Some(tree) = kept.tree() {
                let _ = tree.masked().count();
            }
        }
    }
}
