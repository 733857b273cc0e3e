//! `[credentials.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_config::{Effective, explain};
use palisade_credential::{Definition, Injection, Part, Source, VaultLogin};
use palisade_policy::Decision;

use crate::world::{World, decide};

/// Every form the format knows.
const ALL: &str = r#"version = 1
[[network.allow]]
host = "api.github.com"
methods = ["GET", "POST"]
paths = ["/repos/acme/**"]
credential = "github"

[[network.allow]]
host = "npm.example.com"
credential = "registry"

[[network.allow]]
host = "search.example.com"
credential = "search"

[[network.allow]]
host = "s3.eu-central-1.amazonaws.com"
credential = "aws"

[[network.allow]]
host = "crm.example.com"
credential = "crm"

[[network.allow]]
host = "db.example.com"
credential = "vaulted"

[[network.allow]]
host = "ring.example.com"
credential = "ring"

[credentials.github]
source = { env = "GITHUB_TOKEN" }
inject = { header = "Authorization", format = "Bearer {secret}", remove = ["x-api-key"], append = { Accept = "application/json" } }
placeholder = { env = "GITHUB_TOKEN" }

[credentials.registry]
source = { file = "~/.config/npm-token" }
inject = { basic = { username = "ci" } }

[credentials.search]
source = { command = ["pass", "show", "search"], ttl = "1h" }
inject = { query = "api_key" }

[credentials.aws]
source = { env = { access_key = "AWS_ACCESS_KEY_ID", secret_key = "AWS_SECRET_ACCESS_KEY", session_token = "AWS_SESSION_TOKEN" } }
inject = "aws-sigv4"

[credentials.crm]
inject = { oauth2 = { token_url = "https://auth.example.com/token", client_id = { env = "CRM_ID" }, client_secret = { env = "CRM_SECRET" }, scopes = ["read"] } }

[credentials.vaulted]
source = { vault = { address = "https://vault.example.com:8200", path = "apps/db", field = "password", namespace = "team", approle = { role_id = { env = "ROLE" }, secret_id = { file = "secret-id" } } } }
inject = { header = "x-db-token" }

[credentials.ring]
source = { keyring = { service = "acme", account = "ada" }, ttl = "15m" }
inject = { header = "cookie", format = "session={secret}" }
"#;

fn all() -> Effective {
    let world = World::new();
    world.user_policy(ALL);
    world.effective()
}

fn get<'a>(policy: &'a Effective, name: &str) -> &'a Definition {
    let found = policy.credentials.iter();
    found
        .map(|credential| &credential.value)
        .find(|definition| definition.name.as_str() == name)
        .unwrap()
}

#[test]
fn every_form_of_the_format_is_understood() {
    let policy = all();
    assert_eq!(policy.credentials.len(), 7);
    let github = get(&policy, "github");
    assert_eq!(
        github.source,
        Source::Environment([(Part::Value, "GITHUB_TOKEN".into())].into())
    );
    let Injection::Header {
        name,
        format,
        remove,
        append,
    } = &github.injection
    else {
        panic!("{:?}", github.injection)
    };
    assert_eq!(
        (name.as_str(), format.to_string().as_str()),
        ("authorization", "Bearer {secret}")
    );
    assert_eq!(remove, &["x-api-key"]);
    assert_eq!(
        append,
        &BTreeMap::from([("accept".into(), "application/json".into())])
    );
    assert_eq!(github.placeholders[&Part::Value], "GITHUB_TOKEN");

    let Source::File(path) = &get(&policy, "registry").source else {
        panic!()
    };
    assert!(path.is_absolute() && path.ends_with("home/ada/.config/npm-token"));
    assert_eq!(
        get(&policy, "registry").injection,
        Injection::Basic {
            username: "ci".into()
        }
    );

    let search = get(&policy, "search");
    assert_eq!(
        search.source,
        Source::Command(vec!["pass".into(), "show".into(), "search".into()])
    );
    assert_eq!(search.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(
        search.injection,
        Injection::Query {
            name: "api_key".into()
        }
    );

    let aws = get(&policy, "aws");
    assert_eq!(aws.injection, Injection::AwsSigV4);
    let names = [
        (Part::AccessKey, "AWS_ACCESS_KEY_ID".to_owned()),
        (Part::SecretKey, "AWS_SECRET_ACCESS_KEY".to_owned()),
        (Part::SessionToken, "AWS_SESSION_TOKEN".to_owned()),
    ];
    assert_eq!(
        aws.placeholders,
        names.clone().into(),
        "without a word: the names the tools read"
    );
    assert_eq!(aws.source, Source::Environment(names.into()));

    let Source::OAuth2(crm) = &get(&policy, "crm").source else {
        panic!()
    };
    assert_eq!(
        crm.token_url.to_string(),
        "https://auth.example.com:443/token"
    );
    assert_eq!(crm.scopes, ["read"]);

    let Source::Vault(vault) = &get(&policy, "vaulted").source else {
        panic!()
    };
    assert_eq!(
        (vault.mount.as_str(), vault.path.as_str()),
        ("secret", "apps/db")
    );
    assert_eq!(vault.fields[&Part::Value], "password");
    assert!(matches!(&vault.login, VaultLogin::AppRole { mount, .. } if mount == "approle"));
}

#[test]
fn it_goes_to_what_the_rule_names_and_nowhere_else() {
    let policy = all();
    let credential = |method, host, path| match decide(&policy, method, host, 443, path) {
        Decision::Permit(permit) => permit.credential().map(ToString::to_string),
        Decision::Deny(_) => None,
    };
    assert_eq!(
        credential("GET", "api.github.com", "/repos/acme/x").as_deref(),
        Some("github")
    );
    assert_eq!(credential("GET", "api.github.com", "/user"), None);
    assert_eq!(credential("PUT", "api.github.com", "/repos/acme/x"), None);
    assert_eq!(
        credential("GET", "npm.example.com", "/x").as_deref(),
        Some("registry")
    );
}

#[test]
fn c20_in_clear_text_only_by_a_dangerous_word() {
    let policy = all();
    let Decision::Deny(denial) = decide(&policy, "GET", "npm.example.com", 80, "/x") else {
        panic!("it would go out in clear text")
    };
    assert_eq!(denial.reason.code(), "plaintext-credential");
    let world = World::new();
    world.user_policy(
        "version = 1\n[[network.allow]]\nhost = \"a.example\"\nports = [80]\ncredential = \"k\"\ndangerous_plaintext = true\n\
         [credentials.k]\nsource = { env = \"K\" }\ninject = { header = \"x-k\" }\n",
    );
    let Decision::Permit(permit) = decide(&world.effective(), "GET", "a.example", 80, "/x") else {
        panic!()
    };
    assert!(permit.credential().is_some());
    let error = World::error_of(
        "[[network.allow]]\nhost = \"a.example\"\nports = [80]\ncredential = \"k\"\n",
    );
    assert!(error.starts_with("port 80 is clear text"), "{error}");
}

#[test]
fn explained_without_a_value() {
    let words = explain(&all()).to_string();
    for line in [
        "  github (~/.config/palisade/policy.toml:",
        "    found in the environment: GITHUB_TOKEN\n",
        "    added as the header authorization: Bearer {secret}, with application/json in accept, x-api-key removed\n",
        "    sent to api.github.com\n",
        "    inside, GITHUB_TOKEN holds a stand-in\n",
        "    found in what `pass` prints, every 1h\n",
        "    found in https://vault.example.com:8200 at secret/apps/db (by AppRole)\n",
        "  allow api.github.com, ports 80, 443, GET POST, /repos/acme/**, with the credential github (",
        "  TLS is ended at the gate, for methods, paths, credentials of rules, at: api.github.com, npm.example.com,",
    ] {
        assert!(words.contains(line), "{line}is not in\n{words}");
    }
}

/// The error of a credential `k` with these lines, and a rule for it.
fn error(lines: &str) -> String {
    World::error_of(&format!(
        "[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n[credentials.k]\n{lines}\n"
    ))
}

const ENV: &str = "source = { env = \"K\" }\n";

#[test]
fn what_cannot_be_meant_is_an_error() {
    let inject = |table: &str| format!("{ENV}inject = {table}");
    for (lines, expected) in [
        (String::new(), "the key `inject` is missing"),
        ("inject = { header = \"x-k\" }".into(), "the credential `k` has no `source`"),
        (inject("{ }"), "a way to add the secret is missing"),
        (inject("{ header = \"x-k\", query = \"k\" }"), "`header` and `query` are two; give one"),
        (inject("{ format = \"{secret}\", query = \"k\" }"), "`format` goes with `header`"),
        (inject("{ headr = \"x-k\" }"), "unknown key `headr`"),
        (inject("\"sigv4\""), "`sigv4` is not known here"),
        (inject("1"), "wrong type: integer `1`, expected \"aws-sigv4\", or a table"),
        (inject("{ header = \"x-k\", format = \"Bearer\" }"), "there is no {secret} in it"),
        (inject("{ header = \"x-k\", format = \"{secret}{secret}\" }"), "there is more than one {secret} in it"),
        (inject("{ header = \"x-k\", format = \"{secret}\\r\\nx: y\" }"), "it may hold visible ASCII"),
        (inject("{ header = \"x k\" }"), "this is no name of a header field"),
        (inject("{ header = \"Host\" }"), "the field `host` belongs to the gate"),
        (inject("{ header = \"x-k\", remove = [\"Content-Length\"] }"), "the field `content-length` belongs to the gate"),
        (inject("{ header = \"palisade-denied\" }"), "the field `palisade-denied` belongs to the gate"),
        (inject("{ header = \"x-k\", append = { x-k = \"a\" } }"), "`x-k` is written or removed by this credential already"),
        (inject("{ header = \"x-k\", append = { x-l = \"a, b\" } }"), "one member of a list holds no comma"),
        (inject("{ basic = { username = \"a:b\" } }"), "a user name holds neither a colon"),
        (inject("{ query = \"a=b\" }"), "the name of a parameter"),
        (inject("\"aws-sigv4\""), "`aws-sigv4` needs an access key and a secret key"),
        ("source = { value = \"s3cret\" }\ninject = { query = \"k\" }".into(), "unknown key `value`"),
        ("source = \"s3cret\"\ninject = { query = \"k\" }".into(), "wrong type: string \"s3cret\", expected a table"),
        ("source = { env = \"K\" }\ninject = { query = \"k\" }\nplaceholder = { env = \"PATH\" }".into(), "PATH says something else to programs inside"),
        ("source = { env = \"K\" }\ninject = { query = \"k\" }\nplaceholder = { env = \"LD_PRELOAD\" }".into(), "LD_PRELOAD says something else to programs inside"),
        ("source = { env = \"K\" }\ninject = { query = \"k\" }\nplaceholder = { env = \"https_proxy\" }".into(), "https_proxy says something else to programs inside"),
        ("source = { env = \"K\", file = \"k\" }\ninject = { query = \"k\" }".into(), "`env` and `file` are two; give one"),
        ("source = { env = \"K\", ttl = \"1h\" }\ninject = { query = \"k\" }".into(), "a variable of the environment never changes"),
        ("source = { file = \"k\", ttl = \"1\" }\ninject = { query = \"k\" }".into(), "a `ttl` is a time from 1s to 7d"),
        ("source = { env = \"a b\" }\ninject = { query = \"k\" }".into(), "the name of a variable"),
        ("source = { env = { access_key = \"A\", secret_key = \"B\" } }\ninject = { query = \"k\" }".into(), "this way of injection takes one value"),
        ("source = { env = { access_key = \"A\" } }\ninject = \"aws-sigv4\"".into(), "`secret_key` is missing"),
        ("source = { command = [] }\ninject = { query = \"k\" }".into(), "the command is empty"),
        ("source = { command = [\"pass show x\"] }\ninject = { query = \"k\" }".into(), "the whole command stands in one text"),
        ("source = { vault = { address = \"https://v.example\", path = \"a\" } }\ninject = { query = \"k\" }".into(), "there is no login for this server"),
        ("source = { vault = { address = \"http://v.example\", path = \"a\", token = { env = \"T\" } } }\ninject = { query = \"k\" }".into(), "secrets are asked for over https"),
        ("source = { vault = { address = \"https://v.example\", path = \"../a\", token = { env = \"T\" } } }\ninject = { query = \"k\" }".into(), "a path here is made of"),
        ("source = { env = \"K\" }\ninject = { oauth2 = { token_url = \"https://a.example\", client_id = { env = \"I\" }, client_secret = { env = \"S\" } } }".into(), "a token by `oauth2` is fetched from `token_url`"),
        ("inject = { oauth2 = { token_url = \"http://a.example\", client_id = { env = \"I\" }, client_secret = { env = \"S\" } } }".into(), "secrets are asked for over https"),
        ("inject = { oauth2 = { token_url = \"https://u:p@a.example\", client_id = { env = \"I\" }, client_secret = { env = \"S\" } } }".into(), "user and password have no place"),
        ("inject = { oauth2 = { token_url = \"https://a.example\", client_id = { env = \"I\" }, client_secret = { env = \"S\" }, scopes = [\"a b\"] } }".into(), "a scope is one word"),
    ] {
        let error = error(&lines);
        assert!(error.starts_with(expected), "{lines}\n{error}");
        assert!(error.contains("policy.toml:"), "{error}");
        assert!(!error.contains("u:p@"), "{error}");
    }
    let pasted = error(
        "source = { env = \"ghp_0123456789abcdefghijklmnopqrstuvwxyz\" }\ninject = { query = \"k\" }",
    );
    assert!(
        pasted.starts_with("this looks like a secret itself") && !pasted.contains("ghp_"),
        "{pasted}"
    );
    let pasted =
        error("source = \"ghp_0123456789abcdefghijklmnopqrstuvwxyz\"\ninject = { query = \"k\" }");
    assert!(
        pasted.starts_with("wrong type: string") && !pasted.contains("ghp_"),
        "{pasted}"
    );
    // The control: the same frame with a good credential.
    let world = World::new();
    world.user_policy(&format!(
        "version = 1\n[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n[credentials.k]\n{ENV}inject = {{ header = \"x-k\" }}\n"
    ));
    assert!(world.effective().notes.is_empty());
}

#[test]
fn errors_point_into_tables() {
    assert_eq!(
        error(&format!(
            "{ENV}inject = {{ header = \"x-k\", fromat = \"{{secret}}\" }}"
        )),
        r#"unknown key `fromat`
 --> ~/.config/palisade/policy.toml:7:28
  |
7 | inject = { header = "x-k", fromat = "{secret}" }
  |                            ^^^^^^
  = help: did you mean `format`?"#
    );
}

#[test]
fn a_credential_that_is_not_there_is_an_error_wherever_it_is_missing() {
    assert_eq!(
        World::error_of(
            "[[network.allow]]\nhost = \"a.example\"\ncredential = \"githb\"\n[credentials.github]\nsource = { env = \"K\" }\ninject = { query = \"k\" }\n"
        ),
        r#"there is no credential `githb`
 --> ~/.config/palisade/policy.toml:4:14
  |
4 | credential = "githb"
  |              ^^^^^^^
  = help: did you mean `github`?"#
    );
    let error = World::error_of("[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n");
    assert!(error.ends_with("define it in `[credentials.k]`"), "{error}");
    // It may stand in a file that this one extends.
    let world = World::new();
    world.put(
        ".config/palisade/keys.toml",
        "version = 1\n[credentials.k]\nsource = { env = \"K\" }\ninject = { query = \"k\" }\n",
    );
    world.user_policy("version = 1\nextends = [\"./keys.toml\"]\n[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n");
    assert_eq!(world.effective().credentials.len(), 1);
}

#[test]
fn d17_no_credential_for_names_that_anybody_can_get() {
    let error = World::error_of("[[network.allow]]\nhost = \"*.github.io\"\ncredential = \"k\"\n");
    assert!(
        error.starts_with("`*.github.io` covers the names of many owners"),
        "{error}"
    );
}

const USED: &str = "[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n";

#[test]
fn neither_the_secret_nor_its_stand_in_is_handed_in_twice() {
    let k = "[credentials.k]\nsource = { env = \"K\" }\ninject = { query = \"k\" }\nplaceholder = { env = \"P\" }\n";
    for (section, expected) in [
        (
            "[environment]\nset = { P = \"x\" }\n",
            "P is to hold a placeholder, and is set by",
        ),
        (
            "[environment]\npass = [\"P\"]\n",
            "P is to hold a placeholder, and is taken over from outside by",
        ),
        (
            "[environment]\npass = [\"K\"]\n",
            "K holds the secret of `k`, and ~/.config/palisade/policy.toml:10 hands it to the agent",
        ),
        (
            "[credentials.l]\nsource = { env = \"L\" }\ninject = { query = \"l\" }\nplaceholder = { env = \"P\" }\n",
            "P holds the placeholder of `k` and cannot hold that of `l` as well",
        ),
    ] {
        let error = World::error_of(&format!("{USED}{k}{section}"));
        assert!(error.starts_with(expected), "{error}");
    }
    let mut world = World::new();
    world.user_policy(&format!("version = 1\n{USED}{k}"));
    assert!(!world.effective().environment.pass.contains_key("P"));
    world.options.env = vec!["P".into()];
    assert!(world.error().contains("by --env"), "{}", world.error());
}

#[test]
fn where_the_agent_can_look_no_secret_lies() {
    let world = World::new();
    world.put("project/token", "s3cret");
    world.put(".keys/token", "s3cret");
    world.put(".tools/get", "#!/bin/sh");
    let policy = |source: &str, files: &str| {
        world.user_policy(&format!(
            "version = 1\n{USED}[credentials.k]\nsource = {source}\ninject = {{ query = \"k\" }}\n{files}"
        ));
    };
    policy("{ file = \"~/project/token\" }", "");
    assert!(world.error().starts_with("the agent could read its secret: /home/ada/project/token of `k` is shown to it by the workspace"), "{}", world.error());
    policy(
        "{ file = \"~/.keys/token\" }",
        "[filesystem]\nread = [\"~/.keys\"]\n",
    );
    assert!(
        world.error().starts_with("the agent could read its secret"),
        "{}",
        world.error()
    );
    policy(
        "{ command = [\"~/.tools/get\"] }",
        "[filesystem]\nwrite = [\"~/.tools\"]\n",
    );
    assert!(
        world
            .error()
            .starts_with("the agent could change its program"),
        "{}",
        world.error()
    );
    // A program it may read is fine, and so is a file it does not see.
    policy(
        "{ command = [\"~/.tools/get\"] }",
        "[filesystem]\nread = [\"~/.tools\"]\n",
    );
    world.effective();
    policy("{ file = \"~/.keys/token\" }", "");
    world.effective();
}

#[test]
fn notes_for_what_has_no_effect() {
    let world = World::new();
    world.user_policy(
        "version = 1\n[[network.allow]]\nhost = \"a.example\"\ncredential = \"k\"\n[[network.allow]]\nhost = \"a.example\"\ncredential = \"l\"\n\
         [credentials.k]\nsource = { env = \"K\" }\ninject = { query = \"k\" }\n\
         [credentials.l]\nsource = { env = \"L\" }\ninject = { query = \"l\" }\n\
         [credentials.m]\nsource = { env = \"M\" }\ninject = { query = \"m\" }\n",
    );
    let file = "~/.config/palisade/policy.toml";
    assert_eq!(
        world.effective().notes,
        [
            format!("{file}:14: no rule uses the credential `m`"),
            format!(
                "{file}:6: {file}:3 adds another credential to every request to a.example first"
            ),
        ]
    );
}

/// The examples of the reference are policies.
#[test]
fn the_examples_of_the_reference_are_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let text = std::fs::read_to_string(path).unwrap();
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let [rules, credentials, claude] = examples.as_slice() else {
        panic!("three examples, not {}", examples.len())
    };
    let world = World::new();
    world.user_policy(&format!("version = 1\n{rules}{credentials}"));
    let policy = world.effective();
    assert_eq!(policy.credentials.len(), 7);
    assert!(matches!(
        decide(&policy, "GET", "api.github.com", 443, "/repos/acme/x"),
        Decision::Permit(permit) if permit.credential().is_some()
    ));
    world.user_policy(claude);
    assert_eq!(world.effective().parts[0], "profile claude-code");
}
