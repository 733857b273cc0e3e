//! The keyring, against a real GNOME Keyring on a session bus of its own.

use std::process::{Command, Stdio};

use palisade_test_support::{Outcome, conclude, program};

use super::super::testing::{error_text, fetch, value};
use super::*;
use crate::definition::Source;

#[test]
fn c13_an_error_that_holds_the_secret_does_not_show_it() {
    let secret = b"hunter2hunter2".to_vec();
    let cause = || std::io::Error::other("the bus is gone").into();
    for error in [
        Error::BadEncoding(secret.clone()),
        Error::BadDataFormat(secret.clone(), cause()),
    ] {
        assert!(!explain(&error).1.contains("hunter2"));
    }
    let (failure, text) = explain(&Error::PlatformFailure(cause()));
    assert_eq!(failure, Failure::Unavailable);
    assert!(text.contains("the bus is gone"));
}

/// Runs one of the ignored tests below in a process that `script` starts as `"$@"`.
fn in_another_process(test: &str, command: &mut Command) {
    let this = std::env::current_exe().expect("the test binary");
    let test = format!("source::keyring::tests::{test}");
    let output = command
        .arg(this)
        .args(["--exact", &test, "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}{errors}");
}

fn entry(account: &str) -> Source {
    Source::Keyring {
        service: "palisade-test".to_owned(),
        account: account.to_owned(),
    }
}

#[test]
fn a_machine_without_a_keyring_says_so() {
    let mut env = Command::new("/usr/bin/env");
    env.arg("DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent/bus");
    in_another_process("inner_no_bus", &mut env);
}

#[test]
#[ignore = "run by a_machine_without_a_keyring_says_so"]
fn inner_no_bus() {
    let result = fetch(entry("me"), &[]);
    let failure = result.as_ref().err().map(|error| error.failure());
    assert_eq!(failure, Some(Failure::Unavailable));
    let text = error_text(result, &[]);
    let beginning = "credential test: keyring entry of service \"palisade-test\", account \"me\", \
                     could not be asked: no Secret Service on this machine's session bus";
    assert!(text.starts_with(beginning), "{text}");
    assert!(text.contains("or use another source"), "{text}");
}

#[test]
fn a_real_keyring_is_asked() {
    conclude("a_real_keyring_is_asked", real_keyring());
}

fn real_keyring() -> Outcome {
    program("gnome-keyring-daemon", "gnome-keyring")?;
    program("secret-tool", "libsecret-tools")?;
    let bus = program("dbus-run-session", "dbus-daemon")?;
    let home = tempfile::tempdir().expect("a folder");
    let script = "set -e
        printf unlock-me | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
        printf 'keyring-secret' | secret-tool store --label=t service palisade-test username me
        printf 'one' | secret-tool store --label=a service palisade-test username two n 1
        printf 'two' | secret-tool store --label=b service palisade-test username two n 2
        printf 'hunter2\\nhunter2' | secret-tool store --label=c service palisade-test username bad
        exec \"$@\"";
    let mut command = Command::new(bus);
    command
        .args(["--", "sh", "-c", script, "sh"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path());
    in_another_process("inner_keyring", &mut command);
    Ok(())
}

#[test]
#[ignore = "run by a_real_keyring_is_asked"]
fn inner_keyring() {
    let material = fetch(entry("me"), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(value(&material), "keyring-secret");
    let result = fetch(entry("nobody"), &[]);
    let failure = result.as_ref().err().map(|error| error.failure());
    assert_eq!(failure, Some(Failure::Missing));
    let text = error_text(result, &["keyring-secret"]);
    assert!(text.ends_with("is not in the keyring"), "{text}");
    let text = error_text(fetch(entry("two"), &[]), &["keyring-secret"]);
    assert!(
        text.ends_with("stands 2 times in the keyring; remove all but one"),
        "{text}"
    );
    let text = error_text(fetch(entry("bad"), &[]), &["hunter2"]);
    assert!(text.contains("control byte"), "{text}");
}
