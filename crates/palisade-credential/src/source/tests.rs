//! Credentials as a whole, the environment and files as sources.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::testing::{
    begin, definition, drive, endpoint, error_text, fetch, http, name, part, prepare, value,
    variable,
};
use super::*;
use crate::definition::{ClientAuthentication, Injection, OAuth2Source, VaultLogin, VaultSource};
use crate::material::Material;

fn signed(source: Source) -> Definition {
    Definition {
        injection: Injection::AwsSigV4,
        ..definition(source)
    }
}

fn aws_variables() -> Source {
    Source::Environment(BTreeMap::from([
        (Part::AccessKey, "ID".to_owned()),
        (Part::SecretKey, "KEY".to_owned()),
        (Part::SessionToken, "SESSION".to_owned()),
    ]))
}

fn aws_placeholders() -> BTreeMap<Part, String> {
    BTreeMap::from([
        (Part::AccessKey, "AWS_ACCESS_KEY_ID".to_owned()),
        (Part::SecretKey, "AWS_SECRET_ACCESS_KEY".to_owned()),
        (Part::SessionToken, "AWS_SESSION_TOKEN".to_owned()),
    ])
}

/// A file with this content and mode, in a folder that goes away with the first value.
fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    (folder, path)
}

#[test]
fn the_environment_answers_at_once_and_again() {
    let credentials = prepare(
        vec![definition(variable("TOKEN"))],
        &[("TOKEN", "real-one")],
    )
    .expect("prepared");
    for _ in 0..2 {
        let mut fetch = credentials.begin(&name("test")).expect("defined");
        let Ok(Step::Done(material)) = fetch.next(None) else {
            panic!("there is nothing to wait for");
        };
        assert_eq!(value(&material), "real-one");
        assert_eq!(material.good_for(), None);
    }
    assert!(credentials.begin(&name("other")).is_none());
    assert!(credentials.missing().is_empty());
}

#[test]
fn a_variable_that_is_not_set_or_empty_is_missing() {
    for variables in [&[][..], &[("TOKEN", "")]] {
        let credentials = prepare(vec![definition(variable("TOKEN"))], variables).expect("fine");
        let text = "credential test: environment variable TOKEN is not set; set it where palisade \
                    is started";
        let missing = credentials.missing();
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].to_string(), text);
        assert_eq!(missing[0].failure(), Failure::Missing);
        let result = fetch(variable("TOKEN"), variables);
        assert_eq!(error_text(result, &[]), text);
    }
}

#[test]
fn f23_a_variable_with_a_line_break_stops_the_session() {
    let result = prepare(
        vec![definition(variable("TOKEN"))],
        &[("TOKEN", "real\r\nx-evil: 1")],
    );
    let error = result.err().expect("refused");
    assert!(!format!("{error} {error:?}").contains("evil"));
    assert_eq!(
        error.to_string(),
        "credential test: environment variable TOKEN cannot be used: it holds a control byte (a \
         line break, for example)"
    );
}

#[test]
fn aws_keys_come_with_or_without_a_session_token() {
    let with = [("ID", "AKIAREAL"), ("KEY", "key"), ("SESSION", "session")];
    for (variables, token) in [(&with[..2], false), (&with[..], true)] {
        let definition = Definition {
            placeholders: aws_placeholders(),
            ..signed(aws_variables())
        };
        let credentials = prepare(vec![definition], variables).expect("prepared");
        let mut fetch = credentials.begin(&name("test")).expect("defined");
        let Ok(Step::Done(material)) = fetch.next(None) else {
            panic!("there is nothing to wait for");
        };
        assert_eq!(part(&material, Part::AccessKey), "AKIAREAL");
        assert_eq!(material.part(Part::SessionToken).is_some(), token);
        let inner = credentials.inner_variables();
        let shown = |variable: &str| inner.iter().find(|(name, _)| name == variable);
        let id = shown("AWS_ACCESS_KEY_ID").expect("shown").1.to_string();
        assert_eq!(id.starts_with("ASIA"), token, "{id}");
        assert_eq!(shown("AWS_SESSION_TOKEN").is_some(), token);
    }
}

#[test]
fn placeholders_are_handed_out_and_found() {
    let definition = Definition {
        placeholders: [(Part::Value, "GITHUB_TOKEN".to_owned())].into(),
        ..definition(variable("TOKEN"))
    };
    let credentials = prepare(vec![definition], &[("TOKEN", "real")]).expect("prepared");
    let inner = credentials.inner_variables();
    assert_eq!(inner.len(), 1);
    assert_eq!(inner[0].0, "GITHUB_TOKEN");
    let text = inner[0].1.as_str().as_bytes();
    let found = credentials.placeholders().find(text);
    assert_eq!(found, Some((&name("test"), Part::Value)));
    assert!(Credentials::none().placeholders().is_empty());
    assert!(Credentials::none().get(&name("test")).is_none());
}

#[test]
fn definitions_that_cannot_work_are_refused() {
    let text = |definitions| prepare(definitions, &[]).err().map(|e| e.to_string());
    let own = |variable_inside: &str, called: &str| Definition {
        name: name(called),
        placeholders: [(Part::Value, variable_inside.to_owned())].into(),
        ..definition(variable("TOKEN"))
    };
    assert_eq!(text(vec![own("A", "one"), own("B", "two")]), None);
    assert_eq!(
        text(vec![own("A", "one"), own("B", "one")]).as_deref(),
        Some("credential one is defined twice")
    );
    assert_eq!(
        text(vec![own("A", "one"), own("A", "two")]).as_deref(),
        Some("variable A inside is to hold the placeholders of both one and two")
    );
    assert_eq!(
        text(vec![signed(variable("TOKEN"))]).as_deref(),
        Some("credential test: its source yields no access_key, which its injection needs")
    );
    assert_eq!(
        text(vec![definition(aws_variables())]).as_deref(),
        Some("credential test: its source yields no value, which its injection needs")
    );
    for source in [
        Source::File("relative".into()),
        Source::Command(Vec::new()),
        Source::Command(vec!["./pass".to_owned()]),
        Source::Command(vec![String::new()]),
        Source::Command(vec!["pass".to_owned(), "a\0b".to_owned()]),
    ] {
        assert!(
            text(vec![definition(source.clone())]).is_some(),
            "{source:?}"
        );
    }
}

#[test]
fn ttl_bounds_how_long_it_is_good() {
    let hour = Duration::from_secs(3600);
    let definition = Definition {
        ttl: Some(hour),
        ..definition(variable("TOKEN"))
    };
    let credentials = prepare(vec![definition], &[("TOKEN", "real")]).expect("prepared");
    let mut fetch = credentials.begin(&name("test")).expect("defined");
    let Ok(Step::Done(material)) = fetch.next(None) else {
        panic!("there is nothing to wait for");
    };
    assert_eq!(material.good_for(), Some(hour));
    let bounded = |own, limit| {
        Material::new(BTreeMap::new(), own)
            .bounded(limit)
            .good_for()
    };
    let minute = Duration::from_secs(60);
    assert_eq!(bounded(Some(minute), Some(hour)), Some(minute));
    assert_eq!(bounded(Some(hour), Some(minute)), Some(minute));
    assert_eq!(bounded(Some(hour), None), Some(hour));
    assert_eq!(bounded(None, None), None);
}

#[test]
fn a_file_is_read_and_its_line_end_cut() {
    for content in [&b"file-secret"[..], b"file-secret\n", b"file-secret\r\n"] {
        let (_folder, path) = file(content, 0o600);
        let material = fetch(Source::File(path), &[]).expect("fetched");
        assert_eq!(value(&material), "file-secret");
    }
    let (folder, path) = file(b"file-secret\n", 0o600);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(path, &link).expect("linked");
    let material = fetch(Source::File(link), &[]).expect("fetched");
    assert_eq!(value(&material), "file-secret");
}

#[test]
fn a_longest_secret_fits_in_a_file_and_a_longer_one_is_named() {
    let fits = [&[b'a'; Secret::MAX][..], b"\r\n"].concat();
    let (_folder, path) = file(&fits, 0o600);
    let material = fetch(Source::File(path), &[]).expect("fetched");
    assert_eq!(value(&material).len(), Secret::MAX);
    let (_folder, path) = file(&[b'a'; 1 << 20], 0o600);
    let text = error_text(fetch(Source::File(path), &[]), &["aaaa"]);
    assert!(
        text.ends_with("yields no secret: it is longer than 16384 bytes"),
        "{text}"
    );
}

#[test]
fn c13_files_that_hold_no_secret_are_named_and_not_quoted() {
    let cases = [
        (&b"hunter2hunter2\nsecond line\n"[..], 0o600, "control byte"),
        (b"", 0o600, "it is empty"),
        (b"\n", 0o600, "it is empty"),
        (
            b"hunter2hunter2",
            0o620,
            "can be changed by others (mode 0620); run chmod 600",
        ),
        (
            b"hunter2hunter2",
            0o602,
            "can be changed by others (mode 0602); run chmod 600",
        ),
    ];
    for (content, mode, expected) in cases {
        let (_folder, path) = file(content, mode);
        let text = error_text(
            fetch(Source::File(path.clone()), &[]),
            &["hunter2", "second"],
        );
        assert!(text.contains(expected), "{text}");
        let subject = format!("credential test: file {} ", path.display());
        assert!(text.starts_with(&subject), "{text}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a fifo");
    for path in [folder.path().to_owned(), fifo, "/dev/null".into()] {
        let text = error_text(fetch(Source::File(path), &[]), &[]);
        assert!(text.contains("it has to be a regular file"), "{text}");
    }
    let absent = folder.path().join("absent");
    let result = fetch(Source::File(absent), &[]);
    assert_eq!(
        result.as_ref().err().map(SourceError::failure),
        Some(Failure::Missing)
    );
    let text = error_text(result, &[]);
    assert!(text.contains("could not be opened: No such file"), "{text}");
}

#[test]
fn what_sources_read_is_listed_for_the_session() {
    let sources = vec![
        definition(Source::File("/etc/token".into())),
        Definition {
            name: name("shell"),
            ..definition(Source::Command(vec!["sh".to_owned()]))
        },
    ];
    let credentials = prepare(sources, &[("PATH", "relative::/bin")]).expect("prepared");
    let paths: Vec<_> = credentials
        .host_paths()
        .into_iter()
        .map(|(name, path)| (name.as_str(), path.to_str().expect("text")))
        .collect();
    assert_eq!(paths, [("shell", "/bin/sh"), ("test", "/etc/token")]);
    let secret = credentials.secret_files();
    assert_eq!(secret, [(&name("test"), Path::new("/etc/token"))]);
}

#[test]
fn an_answer_that_nobody_asked_for_is_an_error() {
    let mut fetch = begin(Source::File("/nowhere".into()), &[]);
    assert!(matches!(fetch.next(None), Ok(Step::Blocking(_))));
    assert!(fetch.next(None).is_err());
    let mut fetch = begin(Source::File("/nowhere".into()), &[]);
    let early = Answer::Http {
        status: 200,
        body: Default::default(),
    };
    assert!(fetch.next(Some(early)).is_err());
}

#[test]
fn fetches_and_credentials_go_from_thread_to_thread() {
    fn sends<T: Send>() {}
    fn shares<T: Send + Sync>() {}
    sends::<Fetch>();
    sends::<Step>();
    sends::<Answer>();
    shares::<Credentials>();
    shares::<Material>();
}

/// A vault and a token endpoint, both of one request.
fn servers() -> [Source; 2] {
    let vault = VaultSource {
        address: endpoint("vault.test:8200", ""),
        mount: "secret".to_owned(),
        path: "path".to_owned(),
        fields: [(Part::Value, "field".to_owned())].into(),
        namespace: None,
        login: VaultLogin::Token(Box::new(variable("TOKEN"))),
    };
    let oauth2 = OAuth2Source {
        token_url: endpoint("auth.test:80", "/t"),
        client_id: Box::new(variable("TOKEN")),
        client_secret: Box::new(variable("TOKEN")),
        scopes: Vec::new(),
        audience: None,
        authentication: ClientAuthentication::Basic,
    };
    [Source::Vault(vault), Source::OAuth2(oauth2)]
}

proptest! {
    #[test]
    fn c13_no_answer_of_a_server_is_repeated_and_none_is_a_panic(
        status in prop::sample::select(vec![200u16, 204, 302, 400, 401, 403, 404, 429, 500, 503]),
        quoted in "[A-Z]{12}",
        shape in prop::sample::select(vec![
            "@", "\"@\"", "{\"error\":\"@\"}", "{\"errors\":[\"@\"]}", "{\"@\":1}",
            "{\"data\":{\"data\":{\"@\":\"@\"}}}", "{\"data\":{\"data\":{\"field\":[\"@\"]}}}",
            "{\"data\":{\"data\":{\"field\":\"@\\u0000\"}}}", "{\"access_token\":\"@\\n\"}",
            "{\"access_token\":\"@\",\"token_type\":\"@\"}",
            "{\"access_token\":\"@\",\"expires_in\":\"@\"}",
        ]),
    ) {
        for source in servers() {
            let fetch = begin(source, &[("TOKEN", "real-token")]);
            let body = shape.replace('@', &quoted);
            error_text(drive(fetch, |_| http(status, &body)), &[&quoted, "real-token"]);
        }
    }

    #[test]
    fn any_bytes_of_a_server_are_taken_calmly(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for source in servers() {
            let fetch = begin(source, &[("TOKEN", "real-token")]);
            let body = zeroize::Zeroizing::new(body.clone());
            let result = drive(fetch, |_| Answer::Http { status: 200, body: body.clone() });
            error_text(result, &["real-token"]);
        }
    }
}
