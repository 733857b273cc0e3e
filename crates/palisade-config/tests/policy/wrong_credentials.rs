//! What of `[credentials.NAME]` is refused.

use crate::errors::each_is_shown;
use crate::world::World;

/// A rule that adds the credential `k`.
const USED: &str = "[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n";

const ENV: &str = r#"source = { env = "K" }"#;
const QUERY: &str = r#"inject = { query = "k" }"#;

/// A credential `k` with these lines, and a rule for it.
fn credential(lines: &str) -> String {
    format!("{USED}[credentials.k]\n{lines}\n")
}

/// The policy is refused with these words first, and what it holds of secrets is not repeated.
#[track_caller]
fn refused(body: &str, expected: &str) {
    let error = World::error_of(body);
    assert!(error.starts_with(expected), "{body}\n{error}");
    assert!(error.contains("policy.toml:"), "{error}");
    for secret in ["u:p@", "ghp_"] {
        assert!(!error.contains(secret), "{error}");
    }
}

/// The policy is taken, without a note.
#[track_caller]
fn taken(body: &str) {
    let world = World::new();
    world.user_policy(&format!("version = 1\n{body}"));
    assert_eq!(world.effective().notes, [""; 0], "{body}");
}

#[test]
fn injections_that_cannot_be_meant() {
    for (inject, expected) in [
        ("{ }", "a way to add the secret is missing"),
        (
            r#"{ header = "x-k", query = "k" }"#,
            "`header` and `query` are two; give one",
        ),
        (
            r#"{ format = "{secret}", query = "k" }"#,
            "`format` goes with `header`",
        ),
        (r#"{ headr = "x-k" }"#, "unknown key `headr`"),
        (r#""sigv4""#, "`sigv4` is not known here"),
        (
            "1",
            r#"wrong type: integer `1`, expected "aws-sigv4", or a table"#,
        ),
        (
            r#"{ header = "x-k", format = "Bearer" }"#,
            "there is no {secret} in it",
        ),
        (
            r#"{ header = "x-k", format = "{secret}{secret}" }"#,
            "there is more than one {secret} in it",
        ),
        (
            r#"{ header = "x-k", format = "{secret}\r\nx: y" }"#,
            "it may hold visible ASCII",
        ),
        (r#"{ header = "x k" }"#, "this is no name of a header field"),
        (
            r#"{ header = "Host" }"#,
            "the field `host` belongs to the gate",
        ),
        (
            r#"{ header = "x-k", remove = ["Content-Length"] }"#,
            "the field `content-length` belongs to the gate",
        ),
        (
            r#"{ header = "palisade-denied" }"#,
            "the field `palisade-denied` belongs to the gate",
        ),
        (
            r#"{ header = "x-k", append = { x-k = "a" } }"#,
            "`x-k` is written or removed by this credential already",
        ),
        (
            r#"{ header = "x-k", append = { x-l = "a, b" } }"#,
            "one member of a list holds no comma",
        ),
        (
            r#"{ basic = { username = "a:b" } }"#,
            "a user name holds neither a colon",
        ),
        (r#"{ query = "a=b" }"#, "the name of a parameter"),
        (
            r#""aws-sigv4""#,
            "`aws-sigv4` needs an access key and a secret key",
        ),
    ] {
        refused(&credential(&format!("{ENV}\ninject = {inject}")), expected);
    }
    // The control: the same frame with a good one.
    taken(&credential(&format!(
        "{ENV}\ninject = {{ header = \"x-k\" }}"
    )));
}

#[test]
fn sources_that_cannot_be_meant() {
    for (source, expected) in [
        (r#"{ value = "s3cret" }"#, "unknown key `value`"),
        (
            r#""s3cret""#,
            r#"wrong type: string "s3cret", expected a table"#,
        ),
        (
            r#"{ env = "K", file = "k" }"#,
            "`env` and `file` are two; give one",
        ),
        (
            r#"{ env = "K", ttl = "1h" }"#,
            "a variable of the environment never changes",
        ),
        (
            r#"{ file = "k", ttl = "1" }"#,
            "a `ttl` is a time from 1s to 7d",
        ),
        (r#"{ env = "a b" }"#, "the name of a variable"),
        (
            r#"{ env = { access_key = "A", secret_key = "B" } }"#,
            "this way of injection takes one value",
        ),
        ("{ command = [] }", "the command is empty"),
        (
            r#"{ command = ["pass show x"] }"#,
            "the whole command stands in one text",
        ),
        (
            r#"{ vault = { address = "https://v.example", path = "a" } }"#,
            "there is no login for this server",
        ),
        (
            r#"{ vault = { address = "http://v.example", path = "a", token = { env = "T" } } }"#,
            "secrets are asked for over https",
        ),
        (
            r#"{ vault = { address = "https://v.example", path = "../a", token = { env = "T" } } }"#,
            "a path here is made of",
        ),
        (
            r#"{ env = "ghp_0123456789abcdefghijklmnopqrstuvwxyz" }"#,
            "this looks like a secret itself",
        ),
        (
            r#""ghp_0123456789abcdefghijklmnopqrstuvwxyz""#,
            "wrong type: string",
        ),
    ] {
        refused(
            &credential(&format!("source = {source}\n{QUERY}")),
            expected,
        );
    }
    taken(&credential(&format!("{ENV}\n{QUERY}")));
}

#[test]
fn credentials_that_cannot_be_meant() {
    let oauth2 = |keys: &str| {
        format!(
            r#"inject = {{ oauth2 = {{ client_id = {{ env = "I" }}, client_secret = {{ env = "S" }}, {keys} }} }}"#
        )
    };
    for (lines, expected) in [
        (String::new(), "the key `inject` is missing"),
        (
            r#"inject = { header = "x-k" }"#.into(),
            "the credential `k` has no `source`",
        ),
        (
            "source = { env = { access_key = \"A\" } }\ninject = \"aws-sigv4\"".into(),
            "`secret_key` is missing",
        ),
        (
            format!("{ENV}\n{}", oauth2(r#"token_url = "https://a.example""#)),
            "a token by `oauth2` is fetched from `token_url`",
        ),
        (
            oauth2(r#"token_url = "http://a.example""#),
            "secrets are asked for over https",
        ),
        (
            oauth2(r#"token_url = "https://u:p@a.example""#),
            "user and password have no place",
        ),
        (
            oauth2(r#"token_url = "https://a.example", scopes = ["a b"]"#),
            "a scope is one word",
        ),
    ] {
        refused(&credential(&lines), expected);
    }
    taken(&credential(&oauth2(r#"token_url = "https://a.example""#)));
}

#[test]
fn errors_point_to_the_place() {
    each_is_shown(
        r#"
[[network.allow]]
host = "a.example"
credential = "k"
[credentials.k]
source = { env = "K" }
inject = { header = "x-k", ‹fromat› = "{secret}" }
  unknown key `fromat`
  = help: did you mean `format`?

[[network.allow]]
host = "a.example"
credential = ‹"githb"›
[credentials.github]
source = { env = "K" }
inject = { query = "k" }
  there is no credential `githb`
  = help: did you mean `github`?

[[network.allow]]
host = "a.example"
credential = ‹"k"›
  there is no credential `k`
  = help: define it in `[credentials.k]`
"#,
    );
}

#[test]
fn a_credential_may_stand_in_a_file_that_this_one_extends() {
    let world = World::new();
    world.put(
        ".config/palisade/keys.toml",
        &format!("version = 1\n[credentials.k]\n{ENV}\n{QUERY}\n"),
    );
    world.user_policy(&format!("version = 1\nextends = [\"./keys.toml\"]\n{USED}"));
    assert_eq!(world.effective().credentials.len(), 1);
}

#[test]
fn d17_no_credential_for_names_that_anybody_can_get() {
    refused(
        "[[network.allow]]\nhost = \"*.github.io\"\ncredential = \"k\"\n",
        "`*.github.io` covers the names of many owners",
    );
}

#[test]
fn neither_the_secret_nor_its_stand_in_is_handed_in_twice() {
    let k = credential(&format!("{ENV}\n{QUERY}\nplaceholder = {{ env = \"P\" }}"));
    let l = format!(
        "[credentials.l]\nsource = {{ env = \"L\" }}\n{QUERY}\nplaceholder = {{ env = \"P\" }}"
    );
    for (section, expected) in [
        (
            "[environment]\nset = { P = \"x\" }",
            "P is to hold a placeholder, and is set by",
        ),
        (
            "[environment]\npass = [\"P\"]",
            "P is to hold a placeholder, and is taken over from outside by",
        ),
        (
            "[environment]\npass = [\"K\"]",
            "K holds the secret of `k`, and ~/.config/palisade/policy.toml:10 hands it to the agent",
        ),
        (
            l.as_str(),
            "P holds the placeholder of `k` and cannot hold that of `l` as well",
        ),
    ] {
        refused(&format!("{k}{section}\n"), expected);
    }
    let mut world = World::new();
    world.user_policy(&format!("version = 1\n{k}"));
    assert!(!world.effective().environment.pass.contains_key("P"));
    world.options.env = vec!["P".into()];
    assert!(world.error().contains("by --env"), "{}", world.error());
}

/// A placeholder wins over whatever else a variable would hold, so one in `PATH` would take the agent's programs away, and one
/// in `HTTPS_PROXY` or `SSL_CERT_FILE` its way out.
#[test]
fn a_placeholder_takes_no_variable_that_programs_need() {
    let policy = |name: &str| {
        let placeholder = format!("placeholder = {{ env = \"{name}\" }}");
        credential(&format!("{ENV}\n{QUERY}\n{placeholder}"))
    };
    let session = palisade_workspace::SESSION_VARIABLES.map(|(name, _)| name);
    let others = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "TMPDIR",
        "TERM",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "ftp_proxy",
        "CLOUDSDK_PROXY_PORT",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "PHP_INI_SCAN_DIR",
    ];
    for name in session.into_iter().chain(others) {
        refused(
            &policy(name),
            &format!("{name} says something else to programs inside"),
        );
    }
    // Names are told apart as programs do it: to the letter.
    for name in [
        "Path",
        "PATH_TOKEN",
        "TERMINAL",
        "LD",
        "ld_preload",
        "HTTPS_PROXY_TOKEN",
        "ssl_cert_file",
    ] {
        taken(&policy(name));
    }
    each_is_shown(
        r#"
[[network.allow]]
host = "a.example"
credential = "k"
[credentials.k]
source = { env = "K" }
inject = { query = "k" }
placeholder = ‹{ env = "SSL_CERT_FILE" }›
  SSL_CERT_FILE says something else to programs inside, and cannot hold a placeholder
  = help: name the variable that the tool reads its token from

[[network.allow]]
host = "a.example"
credential = "k"
[credentials.k]
source = { env = { access_key = "A", secret_key = "B" } }
inject = "aws-sigv4"
placeholder = ‹{ env = { access_key = "A", secret_key = "AWS_CA_BUNDLE" } }›
  AWS_CA_BUNDLE says something else to programs inside, and cannot hold a placeholder
  = help: name the variable that the tool reads its token from
"#,
    );
}

#[test]
fn where_the_agent_can_look_no_secret_lies() {
    let world = World::new();
    world.put("project/token", "s3cret");
    world.put(".keys/token", "s3cret");
    world.put(".tools/get", "#!/bin/sh");
    let (token, tool) = (
        r#"{ file = "~/.keys/token" }"#,
        r#"{ command = ["~/.tools/get"] }"#,
    );
    let policy = |source: &str, files: &str| {
        let k = credential(&format!("source = {source}\n{QUERY}"));
        world.user_policy(&format!("version = 1\n{k}[filesystem]\n{files}\n"));
    };
    for (source, files, expected) in [
        (
            r#"{ file = "~/project/token" }"#,
            "",
            "the agent could read its secret: /home/ada/project/token of `k` is shown to it by the workspace",
        ),
        (
            token,
            r#"read = ["~/.keys"]"#,
            "the agent could read its secret",
        ),
        (
            tool,
            r#"write = ["~/.tools"]"#,
            "the agent could change its program",
        ),
    ] {
        policy(source, files);
        assert!(world.error().starts_with(expected), "{}", world.error());
    }
    // A program it may read is fine, and so is a file it does not see.
    for (source, files) in [(tool, r#"read = ["~/.tools"]"#), (token, "")] {
        policy(source, files);
        world.effective();
    }
}
