//! One `[[network.allow]]` or `[[network.deny]]`, checked.

use std::sync::Arc;

use palisade_policy::{CredentialName, METHODS, PathPattern, Ports, Protocol, Rule};

use crate::breadth::{self, Breadth};
use crate::error::PolicyError;
use crate::format;
use crate::parse::suggestion;
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

/// More methods than there are.
const MOST_METHODS: usize = METHODS.len();

/// More paths than a person writes into one rule. Each request to the host is compared with all of them.
const MOST_PATHS: usize = 256;

/// Longest path pattern. Servers take request lines of some 8 KiB.
const LONGEST_PATH: usize = 2048;

pub(crate) fn allow_rule(text: &Text, rule: &format::AllowRule) -> Result<Rule, PolicyError> {
    let pattern = value::host_pattern(text, &rule.host)?;
    let breadth = breadth::breadth(&pattern);
    if breadth == Breadth::Registry {
        let message = format!("`{pattern}` covers a whole registry, where anybody can get a name");
        return Err(text
            .wrong(&rule.host, message)
            .hint("name the hosts that are needed"));
    }
    let ports = value::ports(text, rule.ports.as_ref(), Ports::WEB)?;
    let mut resolved = Rule::new(pattern, ports, text.source_of(&rule.host));
    resolved.private = is(&rule.private);
    resolved.protocol = protocol(rule);
    resolved.methods = methods(text, rule.methods.as_ref())?;
    resolved.paths = paths(text, rule.paths.as_ref())?;
    resolved.intercept = rule.intercept.as_ref().map(|written| *written.get_ref());
    if let Some(name) = &rule.credential {
        resolved.credential = Some(credential(text, name, &resolved, breadth)?);
    }
    resolved.dangerous_plaintext = is(&rule.dangerous_plaintext);
    contradiction(text, rule)?;
    fixed_method(text, rule)?;
    plaintext(text, rule, &resolved)?;
    Ok(resolved)
}

pub(crate) fn deny_rule(text: &Text, rule: &format::DenyRule) -> Result<Rule, PolicyError> {
    let pattern = value::host_pattern(text, &rule.host)?;
    let ports = value::ports(text, rule.ports.as_ref(), Ports::ANY)?;
    let mut resolved = Rule::new(pattern, ports, text.source_of(&rule.host));
    resolved.methods = methods(text, rule.methods.as_ref())?;
    resolved.paths = paths(text, rule.paths.as_ref())?;
    Ok(resolved)
}

fn is(written: &Option<Spanned<bool>>) -> bool {
    written.as_ref().is_some_and(|written| *written.get_ref())
}

fn protocol(rule: &format::AllowRule) -> Protocol {
    match rule.protocol.as_ref().map(Spanned::get_ref) {
        Some(format::Protocol::Http) | None => Protocol::Web,
        Some(format::Protocol::WebSocket) => Protocol::WebSocket,
        Some(format::Protocol::Grpc) => Protocol::Grpc,
        Some(format::Protocol::Tcp) => Protocol::Tcp,
    }
}

type Written<'a> = Option<&'a Spanned<Vec<Spanned<String>>>>;

fn methods(text: &Text, written: Written<'_>) -> Result<Option<Arc<[Box<str>]>>, PolicyError> {
    let Some(list) = filled(text, written, "methods", MOST_METHODS)? else {
        return Ok(None);
    };
    let checked: Result<Vec<Box<str>>, PolicyError> = list
        .iter()
        .map(|method| {
            let name = method.get_ref();
            if METHODS.contains(&name.as_str()) {
                return Ok(name.as_str().into());
            }
            let upper = name.to_ascii_uppercase();
            let (message, hint) = match name.as_str() {
                "CONNECT" => (
                    "CONNECT asks for a connection, which `host` and `ports` speak of".to_owned(),
                    None,
                ),
                "TRACE" | "TRACK" => (
                    format!("the gate carries no {name} requests, whatever a rule says"),
                    None,
                ),
                _ if METHODS.contains(&upper.as_str()) => (
                    "methods are case-sensitive".to_owned(),
                    Some(format!("write `{upper}`")),
                ),
                _ => (
                    format!("the gate carries no method `{name}`"),
                    suggestion(&upper, &METHODS, "it carries"),
                ),
            };
            Err(text.wrong(method, message).hint_if(hint))
        })
        .collect();
    checked.map(|methods| Some(methods.into()))
}

fn paths(text: &Text, written: Written<'_>) -> Result<Option<Arc<[PathPattern]>>, PolicyError> {
    let Some(list) = filled(text, written, "paths", MOST_PATHS)? else {
        return Ok(None);
    };
    let checked: Result<Vec<PathPattern>, PolicyError> = list
        .iter()
        .map(|path| {
            let name = path.get_ref();
            if name.len() > LONGEST_PATH {
                let message = format!("a path pattern has at most {LONGEST_PATH} bytes");
                return Err(text.wrong(path, message));
            }
            PathPattern::parse(name)
                .map_err(|error| text.wrong(path, error.to_string()).hint_if(path_hint(name)))
        })
        .collect();
    checked.map(|paths| Some(paths.into()))
}

fn path_hint(path: &str) -> Option<String> {
    if path.contains("://") {
        return Some("the host stands in `host`; write the path alone, as in `/v1/**`".to_owned());
    }
    if !path.starts_with('/') {
        return Some(format!("write `/{path}`"));
    }
    if path.contains(['?', '#']) {
        return Some("rules judge the path; the query may be anything".to_owned());
    }
    path.contains("**")
        .then(|| "as in `/repos/acme/**` or `/repos/**/issues`".to_owned())
}

/// The entries of a list that is there and not empty.
fn filled<'a>(
    text: &Text,
    written: Written<'a>,
    key: &str,
    most: usize,
) -> Result<Option<&'a [Spanned<String>]>, PolicyError> {
    let Some(written) = written else {
        return Ok(None);
    };
    let list = written.get_ref();
    if list.is_empty() {
        return Err(text
            .wrong(written, format!("a rule without {key} matches nothing"))
            .hint(format!("leave `{key}` out for every one")));
    }
    if list.len() > most {
        return Err(text.wrong(
            written,
            format!("there are more than {most} {key} in one rule"),
        ));
    }
    Ok(Some(list))
}

fn credential(
    text: &Text,
    name: &Spanned<String>,
    rule: &Rule,
    breadth: Breadth,
) -> Result<CredentialName, PolicyError> {
    let Some(checked) = CredentialName::new(name.get_ref()) else {
        return Err(text.wrong(name, BAD_NAME));
    };
    if breadth == Breadth::Tenants {
        let message = format!(
            "`{}` covers the names of many owners, and anybody who gets one would be sent the credential",
            rule.pattern
        );
        return Err(text.wrong(name, message).hint("name the host it is for"));
    }
    Ok(checked)
}

/// What the name of a credential may be.
pub(crate) const BAD_NAME: &str =
    "the name of a credential is made of letters, digits, `-` and `_`, at most 64";

/// A rule that passes bytes unread and asks for something that needs them read.
fn contradiction(text: &Text, rule: &format::AllowRule) -> Result<(), PolicyError> {
    let line = |span: std::ops::Range<usize>| text.line(span.start);
    let unread = match (&rule.protocol, &rule.intercept) {
        (Some(protocol), _) if *protocol.get_ref() == format::Protocol::Tcp => {
            Some(("`protocol = \"tcp\"`", protocol.span()))
        }
        (_, Some(intercept)) if !intercept.get_ref() => {
            Some(("`intercept = false`", intercept.span()))
        }
        _ => None,
    };
    let Some((unread, place)) = unread else {
        return Ok(());
    };
    if let Some((read, span)) = reading_key(rule) {
        let message = format!(
            "{read} needs a look at each request, but {unread} in line {} passes them unread",
            line(place)
        );
        return Err(text
            .error(span, message)
            .hint("take one of the two out, or make two rules for different hosts or ports"));
    }
    Ok(())
}

/// WebSocket handshakes are always GET (RFC 6455, section 4.1) and gRPC calls always POST, so other methods match nothing.
fn fixed_method(text: &Text, rule: &format::AllowRule) -> Result<(), PolicyError> {
    let (what, only) = match rule.protocol.as_ref().map(Spanned::get_ref) {
        Some(format::Protocol::WebSocket) => ("a WebSocket handshake", "GET"),
        Some(format::Protocol::Grpc) => ("a gRPC call", "POST"),
        _ => return Ok(()),
    };
    let methods = rule.methods.iter().flat_map(|list| list.get_ref());
    match methods.into_iter().find(|method| method.get_ref() != only) {
        None => Ok(()),
        Some(other) => Err(text
            .wrong(other, format!("{what} is always {only}"))
            .hint("leave `methods` out")),
    }
}

/// The first key of a rule that needs a look inside, with its place.
fn reading_key(rule: &format::AllowRule) -> Option<(&'static str, std::ops::Range<usize>)> {
    let list = |key, list: &Option<Spanned<Vec<Spanned<String>>>>| {
        list.as_ref().map(|list| (key, list.span()))
    };
    let protocol = rule.protocol.as_ref().and_then(|protocol| {
        let name = match protocol.get_ref() {
            format::Protocol::WebSocket => "`protocol = \"websocket\"`",
            format::Protocol::Grpc => "`protocol = \"grpc\"`",
            _ => return None,
        };
        Some((name, protocol.span()))
    });
    let intercept = rule.intercept.as_ref().filter(|written| *written.get_ref());
    list("`methods`", &rule.methods)
        .or_else(|| list("`paths`", &rule.paths))
        .or_else(|| Some(("`credential`", rule.credential.as_ref()?.span())))
        .or(protocol)
        .or_else(|| Some(("`intercept = true`", intercept?.span())))
}

/// A credential goes over TLS, unless the person says otherwise.
fn plaintext(text: &Text, rule: &format::AllowRule, resolved: &Rule) -> Result<(), PolicyError> {
    match (&rule.credential, &rule.dangerous_plaintext) {
        (None, Some(written)) => Err(text
            .wrong(written, "`dangerous_plaintext` speaks of a credential, and this rule has none")
            .hint("take it out, or name the `credential`")),
        (Some(name), written) if !is(written) && resolved.ports.as_slice() == Some(&[80]) => {
            Err(text
                .wrong(name, "port 80 is clear text, so the credential would never be added")
                .hint("leave `ports` out, or add `dangerous_plaintext = true` if everybody on the way may read it"))
        }
        _ => Ok(()),
    }
}
