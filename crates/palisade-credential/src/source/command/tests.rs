//! Programs as sources: what they get, what they may do, how they end.

use std::time::{Duration, Instant};

use palisade_policy::CredentialName;

use super::super::context::Surroundings;
use super::super::testing::{definition, drive, error_text, fetch, name, part, prepare, value};
use super::*;
use crate::definition::{Definition, Injection, Part, Source};

fn shell(script: &str) -> Source {
    Source::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

#[test]
fn the_output_is_the_secret() {
    let material = fetch(shell("echo from-a-program"), &[]).expect("fetched");
    assert_eq!(value(&material), "from-a-program");
    // No shell in between: what looks like one's syntax is an argument.
    let line = ["printf", "%s", "$HOME;`id`"].map(str::to_owned).to_vec();
    let material = fetch(Source::Command(line), &[]).expect("fetched");
    assert_eq!(value(&material), "$HOME;`id`");
}

#[test]
fn a_program_gets_a_small_environment_and_never_the_current_directory() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path().to_str().expect("text");
    let variables = [
        ("PATH", "bin:/usr/bin:/bin"),
        ("HOME", home),
        ("GITHUB_TOKEN", "another-secret"),
        ("LD_PRELOAD", "/evil.so"),
    ];
    let script = "echo \"$PATH|$HOME|$GITHUB_TOKEN|$LD_PRELOAD|$(pwd)\"";
    let material = fetch(shell(script), &variables).expect("fetched");
    let expected = format!("/usr/bin:/bin|{home}|||{home}");
    assert_eq!(value(&material), expected);
    let material = fetch(shell("pwd"), &[]).expect("fetched");
    assert_eq!(value(&material), "/");
}

#[test]
fn a_program_has_nothing_to_read_and_is_its_own_group() {
    let script = "cat; test \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ && echo alone";
    let material = fetch(shell(script), &[]).expect("fetched");
    assert_eq!(value(&material), "alone");
}

#[test]
fn c13_a_program_that_fails_is_named_with_what_it_said_but_never_what_it_printed() {
    let cases = [
        (
            "echo no such entry >&2; exit 3",
            "ended with status 3: no such entry",
        ),
        ("echo hunter2hunter2; exit 1", "ended with status 1"),
        (
            "echo hunter2hunter2 | tee /dev/stderr; exit 1",
            "ended with status 1",
        ),
        ("kill -9 $$", "was ended by signal 9"),
        (
            "printf '\\033[31mred' >&2; exit 1",
            "ended with status 1: ?[31mred",
        ),
    ];
    for (script, expected) in cases {
        let text = error_text(fetch(shell(script), &[]), &["hunter2"]);
        assert_eq!(text, format!("credential test: program sh {expected}"));
    }
}

#[test]
fn output_that_is_no_secret_is_refused() {
    let cases = [
        ("true", "it is empty"),
        ("printf 'hunter2\\nlogin: me\\n'", "control byte"),
        ("yes hunter2", "printed more than a secret can hold"),
        (
            "head -c 20000 /dev/zero | tr '\\0' a",
            "printed more than a secret can hold",
        ),
    ];
    for (script, expected) in cases {
        let text = error_text(fetch(shell(script), &[]), &["hunter2", "aaaa", "login"]);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_program_that_is_not_there_is_missing() {
    let line = vec!["no-such-program-at-all".to_owned()];
    let credentials = prepare(vec![definition(Source::Command(line.clone()))], &[]);
    let missing = credentials.unwrap_or_else(|e| panic!("{e}")).missing();
    assert_eq!(missing.len(), 1);
    let text = error_text(fetch(Source::Command(line), &[]), &[]);
    assert_eq!(
        text,
        "credential test: program no-such-program-at-all was in none of the absolute folders of \
         PATH when the session started"
    );
    let text = error_text(
        fetch(Source::Command(vec!["/etc/passwd".to_owned()]), &[]),
        &[],
    );
    assert!(text.contains("is not there or cannot be run"), "{text}");
}

fn within(script: &str, limit: Duration) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let context = Context {
        credential: CredentialName::new("test").expect("a name"),
        surroundings: Surroundings::default().into(),
    };
    let arguments = ["-c", script].map(str::to_owned);
    run_within(
        &context,
        "program sh",
        Path::new("/bin/sh"),
        &arguments,
        limit,
    )
}

#[test]
fn a_program_that_does_not_end_is_killed_with_its_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let started = Instant::now();
    let error = within(&script, Duration::from_millis(500)).expect_err("too slow");
    assert_eq!(error.failure(), Failure::TimedOut);
    assert!(
        error.to_string().contains("did not end within 0.5 seconds"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    let pid = std::fs::read_to_string(&pid).expect("it had begun");
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    let gone = || {
        // Killed, and maybe not yet reaped by whoever adopted it.
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone(), "sleep is still there");
}

#[test]
fn what_is_left_in_the_background_is_not_waited_for() {
    // It holds the pipe open, as a key agent does that a password tool starts.
    let started = Instant::now();
    let output = within("sleep 3 & echo the-secret", Duration::from_secs(30)).expect("fetched");
    assert_eq!(&**output, b"the-secret\n");
    assert!(started.elapsed() < Duration::from_millis(2500));
}

#[test]
fn aws_keys_come_from_a_credential_process() {
    let fetch = |script: &str| {
        let definition = Definition {
            injection: Injection::AwsSigV4,
            ..definition(shell(script))
        };
        let credentials = prepare(vec![definition], &[]).unwrap_or_else(|e| panic!("{e}"));
        let fetch = credentials.begin(&name("test")).expect("defined");
        drive(fetch, |_| panic!("no network needed"))
    };
    let lasting = r#"echo '{"Version":1,"AccessKeyId":"AKIAREAL","SecretAccessKey":"s/e+c"}'"#;
    let material = fetch(lasting).expect("fetched");
    assert_eq!(part(&material, Part::AccessKey), "AKIAREAL");
    assert_eq!(part(&material, Part::SecretKey), "s/e+c");
    assert_eq!(material.good_for(), None);
    let temporary = r#"date -u -d '+1 hour' '+{"Version":1,"AccessKeyId":"ASIAREAL",
        "SecretAccessKey":"secret","SessionToken":"token","Expiration":"%Y-%m-%dT%H:%M:%SZ"}'"#;
    let material = fetch(temporary).expect("fetched");
    assert_eq!(part(&material, Part::SessionToken), "token");
    let left = material.good_for().expect("it ends").as_secs();
    assert!((3500..=3540).contains(&left), "{left}");
    let bad = [
        ("echo hunter2", "JSON with the keys"),
        (
            r#"echo '{"Version":2,"AccessKeyId":"hunter2","SecretAccessKey":"hunter2"}'"#,
            "version 1",
        ),
        (
            r#"echo '{"Version":1,"AccessKeyId":7,"SecretAccessKey":"hunter2"}'"#,
            "keys as texts",
        ),
        (
            r#"echo '{"Version":1,"AccessKeyId":"hunter2","SecretAccessKey":"hunter2",
                "Expiration":"2001-01-01T00:00:00Z"}'"#,
            "yields keys that have expired",
        ),
    ];
    for (script, expected) in bad {
        let text = error_text(fetch(script), &["hunter2"]);
        assert!(text.contains(expected), "{text}");
    }
}
