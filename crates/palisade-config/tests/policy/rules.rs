//! Rules that look inside requests.

use palisade_config::Effective;
use palisade_policy::{Decision, Host, Inspection, Request};

use crate::world::{World, decide};

fn load(rules: &str) -> Effective {
    let world = World::new();
    world.user_policy(&format!("version = 1\n{rules}"));
    world.effective()
}

fn allowed(policy: &Effective, method: &str, host: &str, path: &str) -> bool {
    matches!(decide(policy, method, host, 443, path), Decision::Permit(_))
}

fn code(policy: &Effective, method: &str, host: &str, path: &str) -> &'static str {
    match decide(policy, method, host, 443, path) {
        Decision::Permit(_) => "",
        Decision::Deny(denial) => denial.reason.code(),
    }
}

fn inspection(policy: &Effective, host: &str, port: u16) -> Inspection {
    let host = Host::parse(host.as_bytes()).unwrap();
    match policy.network.decide(&Request::new(&host, port)) {
        Decision::Permit(permit) => permit.inspection(),
        Decision::Deny(denial) => panic!("{denial:?}"),
    }
}

#[test]
fn methods_and_paths_are_held() {
    let policy = load(
        "[[network.allow]]\nhost = \"api.github.com\"\nmethods = [\"GET\", \"POST\"]\npaths = [\"/repos/acme/**\"]\n",
    );
    let host = "api.github.com";
    assert!(allowed(&policy, "GET", host, "/repos/acme/x?page=2"));
    assert!(allowed(&policy, "POST", host, "/repos/acme"));
    assert_eq!(
        code(&policy, "DELETE", host, "/repos/acme/x"),
        "method-not-allowed"
    );
    assert_eq!(
        code(&policy, "get", host, "/repos/acme/x"),
        "method-not-allowed"
    );
    assert_eq!(
        code(&policy, "GET", host, "/repos/other"),
        "path-not-allowed"
    );
    assert_eq!(
        code(&policy, "GET", host, "/repos/acme/../other"),
        "ambiguous-path"
    );
    assert_eq!(inspection(&policy, host, 443), Inspection::Intercept);
}

#[test]
fn deny_rules_may_name_methods_and_paths() {
    let policy = load(
        "[[network.allow]]\nhost = \"api.example.com\"\n\
         [[network.deny]]\nhost = \"*.example.com\"\nmethods = [\"DELETE\"]\n\
         [[network.deny]]\nhost = \"api.example.com\"\npaths = [\"/admin/**\"]\n",
    );
    let host = "api.example.com";
    assert!(allowed(&policy, "GET", host, "/a"));
    assert_eq!(code(&policy, "DELETE", host, "/a"), "deny-rule");
    assert_eq!(code(&policy, "GET", host, "/admin"), "deny-rule");
    assert_eq!(code(&policy, "GET", host, "/%61dmin/x"), "deny-rule");
    // What cannot be told apart is refused as well.
    assert_eq!(
        code(&policy, "GET", host, "/a%2f..%2fadmin"),
        "ambiguous-path"
    );
    assert_eq!(code(&policy, "GET", host, "/a%2fb"), "ambiguous-path");
}

#[test]
fn what_is_passed_unread_and_what_is_not() {
    let policy = load(
        "[[network.allow]]\nhost = \"a.example\"\n\
         [[network.allow]]\nhost = \"b.example\"\nintercept = true\n\
         [[network.allow]]\nhost = \"c.example\"\nintercept = false\n\
         [[network.allow]]\nhost = \"d.example\"\nprotocol = \"websocket\"\n\
         [[network.allow]]\nhost = \"e.example\"\nprotocol = \"grpc\"\n\
         [[network.allow]]\nhost = \"f.example\"\nports = [22]\nprotocol = \"tcp\"\n\
         [[network.allow]]\nhost = \"f.example\"\nports = [443]\nmethods = [\"GET\"]\n",
    );
    for (host, port, expected) in [
        ("a.example", 443, Inspection::Tunnel),
        ("b.example", 443, Inspection::Intercept),
        ("c.example", 443, Inspection::Tunnel),
        ("d.example", 443, Inspection::Intercept),
        ("e.example", 443, Inspection::Intercept),
        ("f.example", 22, Inspection::Raw),
        ("f.example", 443, Inspection::Intercept),
    ] {
        assert_eq!(inspection(&policy, host, port), expected, "{host}:{port}");
    }
}

/// The whole error of an allow rule for `a.example` with these lines.
#[track_caller]
fn rule_error(lines: &str, expected: &str) {
    let found = World::error_of(&format!(
        "[[network.allow]]\nhost = \"a.example\"\n{lines}\n"
    ));
    assert_eq!(found, expected, "\n{found}\n");
}

#[test]
fn p04_methods_are_exact() {
    rule_error(
        "methods = [\"GET\", \"get\"]",
        r#"methods are case-sensitive
 --> ~/.config/palisade/policy.toml:4:19
  |
4 | methods = ["GET", "get"]
  |                   ^^^^^
  = help: write `GET`"#,
    );
    rule_error(
        "methods = [\"DELTE\"]",
        r#"the gate carries no method `DELTE`
 --> ~/.config/palisade/policy.toml:4:12
  |
4 | methods = ["DELTE"]
  |            ^^^^^^^
  = help: did you mean `DELETE`?"#,
    );
    for (method, message) in [
        (
            "TRACE",
            "the gate carries no TRACE requests, whatever a rule says",
        ),
        ("CONNECT", "CONNECT asks for a connection"),
        ("G ET", "the gate carries no method `G ET`"),
        ("*", "the gate carries no method `*`"),
    ] {
        let error = World::error_of(&format!(
            "[[network.allow]]\nhost = \"a.example\"\nmethods = [\"{method}\"]\n"
        ));
        assert!(error.starts_with(message), "{error}");
    }
    rule_error(
        "methods = []",
        "a rule without methods matches nothing
 --> ~/.config/palisade/policy.toml:4:11
  |
4 | methods = []
  |           ^^
  = help: leave `methods` out for every one",
    );
}

#[test]
fn p01_patterns_that_match_nothing_or_too_much_are_errors() {
    rule_error(
        "paths = [\"/ok/**\", \"/a/../b\"]",
        r#"the path has a dot segment
 --> ~/.config/palisade/policy.toml:4:20
  |
4 | paths = ["/ok/**", "/a/../b"]
  |                    ^^^^^^^^^"#,
    );
    rule_error(
        "paths = [\"repos/**\"]",
        r#"a path pattern begins with a slash
 --> ~/.config/palisade/policy.toml:4:10
  |
4 | paths = ["repos/**"]
  |          ^^^^^^^^^^
  = help: write `/repos/**`"#,
    );
    rule_error(
        "paths = [\"/repos**\"]",
        r#"`**` stands alone between two slashes
 --> ~/.config/palisade/policy.toml:4:10
  |
4 | paths = ["/repos**"]
  |          ^^^^^^^^^^
  = help: as in `/repos/acme/**` or `/repos/**/issues`"#,
    );
    rule_error(
        "paths = [\"/search?q=*\"]",
        r#"a path pattern has no query and no fragment
 --> ~/.config/palisade/policy.toml:4:10
  |
4 | paths = ["/search?q=*"]
  |          ^^^^^^^^^^^^^
  = help: rules judge the path; the query may be anything"#,
    );
}

#[test]
fn a_rule_that_contradicts_itself_names_both_places() {
    rule_error(
        "intercept = false\nmethods = [\"GET\"]",
        r#"`methods` needs a look at each request, but `intercept = false` in line 4 passes them unread
 --> ~/.config/palisade/policy.toml:5:11
  |
5 | methods = ["GET"]
  |           ^^^^^^^
  = help: take one of the two out, or make two rules for different hosts or ports"#,
    );
    for (lines, expected) in [
        (
            "protocol = \"tcp\"\npaths = [\"/a\"]",
            "`paths` needs a look at each request, but `protocol = \"tcp\"` in line 4",
        ),
        (
            "protocol = \"tcp\"\ncredential = \"x\"",
            "`credential` needs a look",
        ),
        (
            "protocol = \"tcp\"\nintercept = true",
            "`intercept = true` needs a look",
        ),
        (
            "intercept = false\nprotocol = \"websocket\"",
            "`protocol = \"websocket\"` needs a look",
        ),
        (
            "intercept = false\nprotocol = \"grpc\"",
            "`protocol = \"grpc\"` needs a look",
        ),
        (
            "protocol = \"websocket\"\nmethods = [\"POST\"]",
            "a WebSocket handshake is always GET",
        ),
        (
            "protocol = \"grpc\"\nmethods = [\"GET\"]",
            "a gRPC call is always POST",
        ),
        (
            "dangerous_plaintext = true",
            "`dangerous_plaintext` speaks of a credential",
        ),
    ] {
        let error = World::error_of(&format!(
            "[[network.allow]]\nhost = \"a.example\"\n{lines}\n"
        ));
        assert!(error.starts_with(expected), "{lines}: {error}");
    }
    // The control: each of them alone is fine.
    for lines in [
        "intercept = false",
        "methods = [\"GET\"]",
        "protocol = \"tcp\"",
        "protocol = \"grpc\"\nmethods = [\"POST\"]",
    ] {
        load(&format!(
            "[[network.allow]]\nhost = \"a.example\"\n{lines}\n"
        ));
    }
}

#[test]
fn two_rules_that_contradict_each_other_name_both_places() {
    let body = "[[network.allow]]\nhost = \"a.example\"\nmethods = [\"GET\"]\n\n[[network.allow]]\nhost = \"a.example\"\nintercept = false\n";
    assert_eq!(
        World::error_of(body),
        r#"this contradicts the rule for a.example, ports 80, 443 in ~/.config/palisade/policy.toml:3, which looks at each request
 --> ~/.config/palisade/policy.toml:7:8
  |
7 | host = "a.example"
  |        ^^^^^^^^^^^
  = help: let both look inside, or none, or give them different ports"#
    );
    for (second, expected) in [
        (
            "[[network.allow]]\nhost = \"b.example\"\npaths = [\"/a\"]\n[[network.allow]]\nhost = \"b.example\"\nports = [443]\nprotocol = \"tcp\"",
            "which looks at each request",
        ),
        (
            "[[network.allow]]\nhost = \"b.c.example\"\nprotocol = \"tcp\"\nports = [22]\n[[network.deny]]\nhost = \"*.c.example\"\nmethods = [\"PUT\"]",
            "which passes them unread",
        ),
    ] {
        let error = World::error_of(&format!("{second}\n"));
        assert!(error.contains(expected), "{error}");
    }
    // Different ports, different hosts, and two that both look inside are fine.
    load(
        "[[network.allow]]\nhost = \"a.example\"\nports = [443]\nmethods = [\"GET\"]\n\
         [[network.allow]]\nhost = \"a.example\"\nports = [443]\npaths = [\"/x\"]\n\
         [[network.allow]]\nhost = \"a.example\"\nports = [22]\nprotocol = \"tcp\"\n\
         [[network.allow]]\nhost = \"b.example\"\nintercept = false\n\
         [[network.deny]]\nhost = \"a.example\"\nports = [443]\nmethods = [\"PUT\"]\n",
    );
}

#[test]
fn rules_of_one_host_are_asked_closest_first() {
    let policy = load(
        "[credentials.key]\nsource = { env = \"KEY\" }\ninject = { header = \"authorization\" }\n\
         [[network.allow]]\nhost = \"a.example\"\n\
         [[network.allow]]\nhost = \"a.example\"\npaths = [\"/v1/**\"]\ncredential = \"key\"\n\
         [[network.allow]]\nhost = \"*.b.example\"\ncredential = \"key\"\n\
         [[network.allow]]\nhost = \"c.b.example\"\n",
    );
    let credential = |host: &str, path: &str| match decide(&policy, "GET", host, 443, path) {
        Decision::Permit(permit) => permit.credential().map(ToString::to_string),
        Decision::Deny(denial) => panic!("{denial:?}"),
    };
    assert_eq!(credential("a.example", "/v1/x").as_deref(), Some("key"));
    assert_eq!(credential("a.example", "/v2/x"), None);
    assert_eq!(credential("d.b.example", "/").as_deref(), Some("key"));
    assert_eq!(credential("c.b.example", "/"), None);
    assert!(
        policy
            .notes
            .iter()
            .any(|note| note.ends_with("every host of *.b.example is sent the credential `key`")),
        "{:?}",
        policy.notes
    );
}
