//! Nothing inside the boundary can widen the policy: whatever a session permits with the workspace's file in place, the
//! operator's policy permits alone.

use std::fmt::Write;

use palisade_config::Effective;
use palisade_policy::{Decision, Host, Request};
use proptest::prelude::*;

use crate::world::{World, decide};

/// Few hosts, so that rules and requests meet often.
const HOSTS: [&str; 8] = [
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "d.example",
    "e.d.example",
    "192.0.2.1",
    "10.0.0.1",
    "localhost",
];
const PATTERNS: [&str; 9] = [
    "a.example",
    "*.a.example",
    "b.a.example",
    "*.b.a.example",
    "d.example",
    "*.d.example",
    "192.0.2.1",
    "10.0.0.1",
    "localhost",
];
const PORTS: [u16; 4] = [22, 80, 443, 8443];

#[derive(Clone, Debug)]
struct Written {
    list: &'static str,
    pattern: &'static str,
    ports: Vec<u16>,
    private: bool,
    tcp: bool,
    methods: &'static str,
    paths: &'static str,
    credential: bool,
}

fn rule(may_give: bool) -> impl Strategy<Value = Written> {
    (
        prop::sample::select(vec!["allow", "allow", "deny"]),
        prop::sample::select(PATTERNS.to_vec()),
        prop::collection::vec(prop::sample::select(PORTS.to_vec()), 0..3),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::sample::select(vec!["", "", "[\"GET\"]", "[\"GET\", \"POST\"]"]),
        prop::sample::select(vec!["", "", "[\"/a/**\"]", "[\"/a/*\", \"/b\"]"]),
        any::<bool>(),
    )
        .prop_map(
            move |(list, pattern, ports, private, tcp, methods, paths, credential)| {
                let clear_text = ports == [80];
                Written {
                    list,
                    pattern,
                    ports,
                    private: private && may_give,
                    tcp: tcp && may_give,
                    // A rule that passes bytes unread judges none.
                    methods: if tcp && may_give { "" } else { methods },
                    paths: if tcp && may_give { "" } else { paths },
                    credential: credential && may_give && !tcp && !clear_text,
                }
            },
        )
}

fn text(rules: &[Written], narrow_to_nothing: bool) -> String {
    let mut text = String::from("version = 1\n");
    if narrow_to_nothing {
        text.push_str("[network]\nallow = []\n");
    }
    for rule in rules
        .iter()
        .filter(|rule| !(narrow_to_nothing && rule.list == "allow"))
    {
        writeln!(
            text,
            "[[network.{}]]\nhost = \"{}\"",
            rule.list, rule.pattern
        )
        .unwrap();
        if !rule.ports.is_empty() {
            writeln!(text, "ports = {:?}", rule.ports).unwrap();
        }
        if rule.list == "allow" && rule.private {
            text.push_str("private = true\n");
        }
        if rule.list == "allow" && rule.tcp {
            text.push_str("protocol = \"tcp\"\n");
        }
        for (key, value) in [("methods", rule.methods), ("paths", rule.paths)] {
            if !value.is_empty() {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        if rule.list == "allow" && rule.credential {
            text.push_str("credential = \"key\"\n");
        }
    }
    text
}

/// Requests, and none: the question whether a connection may be made.
const REQUESTS: [Option<(&str, &str)>; 6] = [
    None,
    Some(("GET", "/a/x")),
    Some(("GET", "/a/%2e%2e/b")),
    Some(("POST", "/b")),
    Some(("PUT", "/a")),
    Some(("GET", "/a/b%2fc")),
];

/// Everything a policy says about one request: the addresses it may go to, the credential it would get.
fn answer(
    policy: &Effective,
    host: &str,
    port: u16,
    request: Option<(&str, &str)>,
) -> Option<(String, bool)> {
    let decision = match request {
        Some((method, path)) => decide(policy, method, host, port, path),
        None => {
            let host = Host::parse(host.as_bytes()).unwrap();
            policy.network.decide(&Request::new(&host, port))
        }
    };
    match decision {
        Decision::Permit(permit) => Some((
            format!("{:?} {:?}", permit.credential(), permit.mapped()),
            permit.admit([10, 0, 0, 9].into()).is_ok(),
        )),
        Decision::Deny(_) => None,
    }
}

proptest! {
    #[test]
    fn no_workspace_file_widens(
        operator in prop::collection::vec(rule(true), 0..8),
        workspace in prop::collection::vec(rule(false), 0..6),
        narrow_to_nothing in prop::bool::weighted(0.1),
    ) {
        let world = World::new();
        let credentials = "[credentials.key]\nsource = { env = \"K\" }\ninject = { query = \"k\" }\n";
        world.user_policy(&(text(&operator, false) + credentials));
        // Rules may contradict each other, in the operator's file or with the workspace's.
        let Ok(alone) = world.load() else { return Ok(()) };
        world.workspace_policy(&text(&workspace, narrow_to_nothing));
        let Ok(both) = world.load() else { return Ok(()) };
        let narrows = narrow_to_nothing || workspace.iter().any(|rule| rule.list == "allow");
        for host in HOSTS {
            for (port, request) in PORTS.into_iter().flat_map(|port| REQUESTS.map(|request| (port, request))) {
                let (alone, both) = (answer(&alone, host, port, request), answer(&both, host, port, request));
                prop_assert!(both.is_none() || both == alone, "{host}:{port} {request:?} {both:?} {alone:?}");
                // The control: a file that says nothing changes nothing.
                if workspace.is_empty() && !narrows {
                    prop_assert_eq!(both, alone);
                }
            }
        }
    }

    /// Whatever stands in a workspace's file, the result is a policy or an error, never a panic, and the policy permits
    /// nothing to an operator without one.
    #[test]
    fn no_text_at_all_widens(noise in "(?s).{0,200}", keys in prop::collection::vec(0usize..15, 0..5)) {
        const LINES: [&str; 15] = [
            "version = 1", "extends = [\"node\"]", "[network]", "[[network.allow]]", "host = \"a.example\"", "private = true",
            "[filesystem]", "read = [\"/\"]", "access = \"write\"", "[limits]", "memory = \"1TiB\"", "\u{0}",
            "[boundary]", "accept_weaker = [\"landlock\"]", "require = \"all\"",
        ];
        let world = World::new();
        let body: String = keys.iter().flat_map(|at| [LINES[*at], "\n"]).collect();
        world.workspace_policy(&format!("version = 1\n{body}{noise}"));
        match world.load() {
            Ok(policy) => {
                prop_assert!(policy.shown.is_empty() && policy.accept_weaker.is_empty());
                prop_assert!(HOSTS.iter().all(|host| answer(&policy, host, 443, None).is_none()));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
