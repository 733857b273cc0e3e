use super::*;

fn agent() -> Identity {
    Identity {
        uid: 1000,
        gid: 1000,
        host_uid: rustix::process::geteuid().as_raw(),
        host_gid: rustix::process::getegid().as_raw(),
    }
}

#[test]
fn the_folders_are_the_agents_alone_and_the_top_one_has_the_workspaces_mode() {
    let world = tempfile::tempdir().unwrap();
    let (workspace, folder) = (world.path().join("w"), world.path().join("changes"));
    fs::create_dir(&workspace).unwrap();
    fs::set_permissions(&workspace, Permissions::from_mode(0o2775)).unwrap();
    make(&folder, &workspace, &agent()).unwrap();
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode(""), mode("upper"), mode("work")),
        (0o700, 0o775, 0o700)
    );
    assert_eq!(mode("began"), 0o600);
    assert!(make(&folder, &workspace, &agent()).is_err(), "never twice");
}

#[test]
fn a_process_is_known_by_its_number_and_its_start() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!process_lives(folder.path()), "none is noted");
    let own = std::process::id();
    note_process(folder.path(), Some(own)).unwrap();
    assert!(process_lives(folder.path()));
    let other = fs::read_to_string(folder.path().join(PROCESS)).unwrap() + "0";
    fs::write(folder.path().join(PROCESS), other).unwrap();
    assert!(
        !process_lives(folder.path()),
        "another process with this number"
    );
    note_process(folder.path(), Some(u32::MAX)).unwrap();
    assert!(!process_lives(folder.path()));
}

#[test]
fn an_empty_change_set_is_not_kept_and_a_touched_file_is_none() {
    let world = tempfile::tempdir().unwrap();
    let (workspace, folder) = (world.path().join("w"), world.path().join("changes"));
    fs::create_dir(&workspace).unwrap();
    fs::write(workspace.join("same"), "same").unwrap();
    let record = SessionRecord {
        id: "s".into(),
        started_us: 0,
        command: String::new(),
        workspace: workspace.clone(),
        access: None,
        owners: None,
        continues: None,
        continued_by: None,
        boundary: String::new(),
        ended: None,
    };
    make(&folder, &workspace, &agent()).unwrap();
    assert_eq!(conclude(&folder, &record), None);
    assert!(!folder.exists());

    make(&folder, &workspace, &agent()).unwrap();
    let upper = folder.join("upper");
    fs::copy(workspace.join("same"), upper.join("same")).unwrap();
    assert_eq!(conclude(&folder, &record), None);
    assert!(!folder.exists());

    make(&folder, &workspace, &agent()).unwrap();
    fs::write(upper.join("same"), "other").unwrap();
    fs::write(upper.join("new"), "").unwrap();
    fs::create_dir(upper.join("folder")).unwrap();
    let counted = Changed::Paths {
        files: 2,
        folders: 1,
    };
    assert_eq!(conclude(&folder, &record), Some(counted));
    assert!(upper.join("new").exists());
}
