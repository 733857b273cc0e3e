//! `[credentials.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_config::{Effective, explain};
use palisade_credential::{Definition, Injection, Part, Source, VaultLogin};
use palisade_policy::Decision;

use crate::world::{World, decide};

/// Every form the format knows.
const ALL: &str = r#"version = 1
[network]
allow = [
  { host = "api.github.com", methods = ["GET", "POST"], paths = ["/repos/acme/**"], credential = "github" },
  { host = "npm.example.com", credential = "registry" },
  { host = "search.example.com", credential = "search" },
  { host = "s3.eu-central-1.amazonaws.com", credential = "aws" },
  { host = "crm.example.com", credential = "crm" },
  { host = "db.example.com", credential = "vaulted" },
  { host = "ring.example.com", credential = "ring" },
]

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
    let [workspace, rules, credentials, claude] = examples.as_slice() else {
        panic!("four examples, not {}", examples.len())
    };
    let world = World::new();
    world.user_policy(&format!("version = 1\n{workspace}{rules}{credentials}"));
    let policy = world.effective();
    assert_eq!((policy.volumes.len(), policy.tmpfs.len()), (1, 1));
    assert_eq!(policy.credentials.len(), 7);
    assert!(matches!(
        decide(&policy, "GET", "api.github.com", 443, "/repos/acme/x"),
        Decision::Permit(permit) if permit.credential().is_some()
    ));
    world.user_policy(claude);
    assert_eq!(world.effective().parts[0], "profile claude-code");
}
