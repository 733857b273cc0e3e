//! Credentials in words: where each is found, what is done with it, who is sent it. There is no value to show.

use palisade_credential::{Definition, Injection, Part, Source, VaultLogin};
use palisade_policy::Layer;

use crate::effective::{Effective, Sourced};
use crate::value;

/// Some lines for each credential.
pub(super) fn credentials(policy: &Effective) -> Vec<String> {
    let lines = policy.credentials.iter();
    lines
        .flat_map(|credential| of_one(policy, credential))
        .collect()
}

fn of_one(policy: &Effective, credential: &Sourced<Definition>) -> Vec<String> {
    let definition = &credential.value;
    let mut found = source(&definition.source);
    if let Some(ttl) = definition.ttl {
        found.push_str(&format!(", every {}", value::show_duration(ttl)));
    }
    let mut lines = vec![
        format!("{} ({})", definition.name, credential.source),
        format!("  found in {found}"),
        format!("  added as {}", describe_injection(&definition.injection)),
    ];
    let rules = policy.network.allow_rules(Layer::Operator).iter();
    let mut hosts: Vec<String> = rules
        .filter(|rule| rule.credential.as_ref() == Some(&definition.name))
        .map(|rule| rule.pattern.to_string())
        .collect();
    hosts.dedup();
    lines.push(match hosts.is_empty() {
        true => "  sent to nobody: no rule names it".to_owned(),
        false => format!("  sent to {}", hosts.join(", ")),
    });
    let inside: Vec<&str> = definition
        .placeholders
        .values()
        .map(String::as_str)
        .collect();
    if !inside.is_empty() {
        lines.push(format!("  inside, {} holds a stand-in", inside.join(", ")));
    }
    lines
}

/// How a credential is added, in words.
pub fn describe_injection(injection: &Injection) -> String {
    match injection {
        Injection::Header {
            name,
            format,
            remove,
            append,
        } => {
            let mut line = format!("the header {name}: {format}");
            for (field, element) in append {
                line.push_str(&format!(", with {element} in {field}"));
            }
            if !remove.is_empty() {
                line.push_str(&format!(", {} removed", remove.join(", ")));
            }
            line
        }
        Injection::Basic { username } => format!("the password of {username} (HTTP Basic)"),
        Injection::Query { name } => format!("the query parameter {name}"),
        Injection::AwsSigV4 => "an AWS signature (SigV4), made anew".to_owned(),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Environment(variables) => {
            let several = variables.len() > 1;
            let names: Vec<String> = variables
                .iter()
                .map(|(part, name)| match several || *part != Part::Value {
                    true => format!("{name} ({part})"),
                    false => name.clone(),
                })
                .collect();
            format!("the environment: {}", names.join(", "))
        }
        Source::File(path) => format!("the file {}", path.display()),
        // Arguments may hold what is nobody's business; the program says enough.
        Source::Command(argv) => format!("what `{}` prints", argv.first().map_or("", |word| word)),
        Source::Keyring { service, account } => format!("the key store: {service}, {account}"),
        Source::Vault(vault) => {
            let login = match &vault.login {
                VaultLogin::Token(token) => format!("token from {}", self::source(token)),
                VaultLogin::AppRole { .. } => "by AppRole".to_owned(),
            };
            let (mount, path) = (&vault.mount, &vault.path);
            format!("{} at {mount}/{path} ({login})", vault.address)
        }
        Source::OAuth2(oauth2) => format!("a token from {}", oauth2.token_url),
    }
}
