//! Files that cannot be read, are not what they should be, or lead in circles.

use std::os::unix::fs::PermissionsExt;

use crate::world::World;

#[test]
fn circles_of_files_are_found_at_any_length() {
    let world = World::new();
    world.user_policy("version = 1\nextends = [\"a.toml\"]\n");
    world.put(
        ".config/palisade/a.toml",
        "version = 1\nextends = [\"b.toml\"]\n",
    );
    world.put(
        ".config/palisade/b.toml",
        "version = 1\n\nextends = [\"policy.toml\"]\n",
    );
    assert_eq!(
        world.error(),
        "`policy.toml` extends this file in turn\n \
         --> ~/.config/palisade/b.toml:3:12\n  \
         |\n\
         3 | extends = [\"policy.toml\"]\n  \
         |            ^^^^^^^^^^^^^\n  \
         = help: a circle of files has no beginning; take one of the entries out"
    );
}

#[test]
fn chains_of_files_have_an_end() {
    let world = World::new();
    let dir = ".config/palisade";
    world.user_policy("version = 1\nextends = [\"0.toml\"]\n");
    for at in 0..20 {
        let next = format!("version = 1\nextends = [\"{}.toml\"]\n", at + 1);
        world.put(&format!("{dir}/{at}.toml"), &next);
    }
    world.put(&format!("{dir}/20.toml"), "version = 1\n");
    assert!(
        world
            .error()
            .starts_with("files extend files more than 16 deep")
    );
}

#[test]
fn an_unreadable_policy_of_ones_own_is_not_passed_over() {
    let world = World::new();
    std::fs::create_dir(world.home().join(".config/palisade/policy.toml")).unwrap();
    assert!(
        world
            .error()
            .starts_with("the policy file cannot be read: it is a folder")
    );

    let world = World::new();
    world.user_policy("version = 2\n");
    assert!(world.error().starts_with("policy version 2 is not known"));

    let world = World::new();
    let path = world.put(".config/palisade/policy.toml", "");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(world.error().contains("it is not UTF-8 text"));
}

/// Root may read any file, so this shows something to an ordinary user alone.
#[test]
fn a_policy_without_permission_is_an_error() {
    let world = World::new();
    world.user_policy("version = 1\n");
    let path = world.home().join(".config/palisade/policy.toml");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    match std::fs::read(&path) {
        Ok(_) => assert!(world.load().is_ok(), "root reads it"),
        Err(_) => assert!(world.error().contains("permission denied")),
    }
}

#[test]
fn a_socket_cannot_be_shown() {
    let world = World::new();
    let path = world.home().join("agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    world.user_policy("version = 1\n[filesystem]\nread = [\"~/agent.sock\"]\n");
    assert!(
        world
            .error()
            .starts_with("`~/agent.sock` is a socket, not a file or folder")
    );
}

#[test]
fn roots_with_a_private_key_are_refused() {
    let world = World::new();
    world.put(".config/palisade/ca.pem", "-----BEGIN PRIVATE KEY-----\n");
    world.user_policy("version = 1\n[network]\nextra_ca = [\"ca.pem\"]\n");
    assert!(world.error().starts_with("`ca.pem` holds a private key"));
}
