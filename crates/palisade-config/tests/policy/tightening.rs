//! The workspace's own file: what it may take away, and that it can give nothing.

use palisade_policy::{Decision, DenialReason, Host, Request};
use palisade_workspace::WorkspaceAccess;

use crate::world::{World, decide, permits};

fn world(operator: &str, workspace: &str) -> World {
    let world = World::new();
    world.user_policy(&format!("version = 1\n{operator}"));
    world.workspace_policy(&format!("version = 1\n{workspace}"));
    world
}

#[test]
fn it_takes_away() {
    let world = world(
        "[limits]\nmemory = \"2GiB\"\n\
         [[network.allow]]\nhost = \"*.example.com\"\n[[network.allow]]\nhost = \"b.example.org\"\n",
        "[filesystem]\naccess = \"read\"\n[limits]\nmemory = \"1GiB\"\ncpus = 1.5\nprocesses = 64\n\
         [[network.allow]]\nhost = \"a.example.com\"\nports = [443]\n\
         [[network.allow]]\nhost = \"c.example.net\"\n[[network.deny]]\nhost = \"x.example.com\"\n",
    );
    let policy = world.effective();
    assert_eq!(policy.access.value, WorkspaceAccess::Read);
    assert_eq!(policy.access.source.as_str(), "palisade.toml:3");
    let limits = policy.limits();
    assert_eq!(
        (limits.memory, limits.cpus, limits.processes),
        (Some(1 << 30), Some(1.5), Some(64))
    );
    assert!(permits(&policy, "a.example.com", 443));
    for (host, port) in [
        ("a.example.com", 80),
        ("b.example.org", 443),
        ("c.example.net", 443),
        ("x.example.com", 443),
    ] {
        assert!(!permits(&policy, host, port), "{host}:{port}");
    }
    assert_eq!(
        policy.notes,
        ["palisade.toml:12: c.example.net stays refused, since your own policy does not allow it"]
    );
}

#[test]
fn an_empty_allow_list_allows_nothing_and_none_leaves_all() {
    let operator = "[[network.allow]]\nhost = \"a.example.com\"\n";
    let nothing = world(operator, "[network]\nallow = []\n").effective();
    let host = Host::parse(b"a.example.com").unwrap();
    let Decision::Deny(denial) = nothing.network.decide(&Request::new(&host, 443)) else {
        panic!("permitted");
    };
    assert_eq!(denial.reason, DenialReason::Workspace);
    assert!(permits(
        &world(operator, "").effective(),
        "a.example.com",
        443
    ));
}

#[test]
fn what_was_accepted_can_be_taken_back() {
    let operator = "[boundary]\naccept_weaker = [\"limits.memory\"]\n";
    let mut accepting = world(operator, "");
    accepting.options.accept_weaker = vec!["landlock".into()];
    let policy = accepting.effective();
    assert_eq!(
        (policy.accept_weaker.len(), &policy.accepts_nothing),
        (2, &None)
    );
    let mut strict = world(operator, "[boundary]\nrequire = \"all\"\n");
    strict.options.accept_weaker = vec!["landlock".into()];
    let policy = strict.effective();
    assert_eq!(policy.accept_weaker, []);
    assert_eq!(policy.accepts_nothing.unwrap().as_str(), "palisade.toml:3");
}

#[test]
fn whatever_gives_is_refused_with_its_place() {
    let operator = "[filesystem]\naccess = \"read\"\n[limits]\nmemory = \"1GiB\"\ncpus = 1\n";
    for (workspace, line, key) in [
        ("extends = [\"node\"]", 2, "`extends` has no place in it"),
        (
            "[boundary]\nbackend = \"native\"",
            3,
            "`boundary.backend` has no place in it",
        ),
        (
            "[boundary.gvisor]\nrunsc = \"/tmp/runsc\"",
            3,
            "`boundary.gvisor` has no place in it",
        ),
        (
            "[boundary.gvisor]\nplatform = \"ptrace\"",
            3,
            "`boundary.gvisor` has no place in it",
        ),
        (
            "[boundary.gvisor]\nvia = \"docker\"",
            3,
            "`boundary.gvisor` has no place in it",
        ),
        (
            "[boundary]\naccept_weaker = [\"limits.memory\"]",
            3,
            "`boundary.accept_weaker` has no place in it",
        ),
        (
            "[boundary.container]\nruntime = \"runc\"",
            2,
            "`boundary.container` has no place in it",
        ),
        (
            "[filesystem]\nworkspace = \"/\"",
            3,
            "`filesystem.workspace` has no place in it",
        ),
        (
            "[filesystem]\nread = [\"~/.ssh\"]",
            3,
            "`filesystem.read` has no place in it",
        ),
        (
            "[filesystem]\nwrite = [\"~\"]",
            3,
            "`filesystem.write` has no place in it",
        ),
        (
            "[filesystem]\naccess = \"write\"",
            3,
            "the workspace is read-only for this session",
        ),
        (
            "[network]\nresolve = { \"a.b:1\" = \"127.0.0.1:1\" }",
            3,
            "`network.resolve` has no place in it",
        ),
        (
            "[network]\nextra_ca = [\"evil.pem\"]",
            3,
            "`network.extra_ca` has no place in it",
        ),
        (
            "[network]\nupstream_proxy = \"http://evil:1\"",
            3,
            "`network.upstream_proxy` has no place in it",
        ),
        (
            "[[network.allow]]\nhost = \"a.b\"\nprivate = true",
            4,
            "`private = true` gives something",
        ),
        (
            "[[network.allow]]\nhost = \"a.b\"\nprotocol = \"tcp\"",
            4,
            "`protocol = \"tcp\"` gives something",
        ),
        (
            "[[network.allow]]\nhost = \"a.b\"\nintercept = false",
            4,
            "`intercept = false` gives something",
        ),
        (
            "[[network.allow]]\nhost = \"a.b\"\ncredential = \"k\"",
            4,
            "a credential is yours to give",
        ),
        (
            "[[network.allow]]\nhost = \"a.b\"\ndangerous_plaintext = true",
            4,
            "`dangerous_plaintext` has no place in it",
        ),
        (
            "[credentials.k]\nsource = { env = \"K\" }\ninject = { query = \"k\" }",
            2,
            "`credentials` has no place in it",
        ),
        (
            "[network.limits]\nconnections = 9",
            2,
            "`network.limits` has no place in it",
        ),
        (
            "[filesystem]\nwithhold = [\"~/x\"]",
            3,
            "`filesystem.withhold` has no place in it",
        ),
        (
            "[filesystem]\nunmask = [\".env\"]",
            3,
            "`filesystem.unmask` has no place in it",
        ),
        (
            "[filesystem]\nprotect = false",
            3,
            "`protect = false` gives something",
        ),
        (
            "[[filesystem.volume]]\npath = \"~/x\"\nname = \"x\"",
            3,
            "`filesystem.volume` has no place in it",
        ),
        (
            "[[filesystem.tmpfs]]\npath = \"~/x\"",
            3,
            "`filesystem.tmpfs` has no place in it",
        ),
        (
            "[filesystem]\naccess = \"scratch\"",
            3,
            "the workspace is read-only for this session",
        ),
        (
            "[environment]\nwithhold = [\"TOKEN\"]",
            3,
            "`environment.withhold` has no place in it",
        ),
        (
            "[environment]\npass = [\"TOKEN\"]",
            3,
            "`environment.pass` has no place in it",
        ),
        (
            "[environment]\nset = { A = \"b\" }",
            3,
            "`environment.set` has no place in it",
        ),
        (
            "[limits]\nmemory = \"2GiB\"",
            3,
            "the limit of this session is 1073741824",
        ),
        ("[limits]\ncpus = 1.5", 3, "the limit of this session is 1"),
        (
            "[limits]\nprocesses = 5000",
            3,
            "the limit of this session is 4096",
        ),
    ] {
        let error = world(operator, workspace).load().unwrap_err();
        assert_eq!(
            error.message(),
            format!("a policy file inside the workspace may only tighten: {key}")
        );
        let (file, at, _) = error.position().unwrap();
        assert_eq!((file, at), ("palisade.toml", line), "{workspace}");
    }
    // The same operator with a file that gives nothing is fine.
    world(operator, "[limits]\nmemory = \"1GiB\"\ncpus = 1.0\n[[network.allow]]\nhost = \"a.b\"\nprivate = false\n")
        .effective();
}

#[test]
fn the_refusal_says_how_to_use_the_file_as_ones_own() {
    let error = world("", "extends = [\"node\"]\n").error();
    assert_eq!(
        error,
        "a policy file inside the workspace may only tighten: `extends` has no place in it\n \
         --> palisade.toml:2:12\n  \
         |\n\
         2 | extends = [\"node\"]\n  \
         |            ^^^^^^\n  \
         = help: to use this file as your own policy, name it: `--policy palisade.toml`"
    );
}

#[test]
fn named_by_policy_the_file_is_the_operators_and_not_applied_twice() {
    let mut world = World::new();
    world.workspace_policy(
        "version = 1\nextends = [\"node\"]\n[[network.allow]]\nhost = \"a.example.com\"\n",
    );
    world.options.policy = Some("palisade.toml".into());
    let policy = world.effective();
    assert!(permits(&policy, "a.example.com", 443) && permits(&policy, "nodejs.org", 443));
    assert!(!policy.network.workspace_narrows());
}

#[test]
fn the_file_has_to_be_a_plain_one() {
    let world = World::new();
    let secret = world.put(".netrc", "password");
    std::os::unix::fs::symlink(secret, world.project().join("palisade.toml")).unwrap();
    let error = world.error();
    assert!(
        error.contains("symbolic link") && !error.contains("password"),
        "{error}"
    );

    let world = World::new();
    std::fs::create_dir(world.project().join("palisade.toml")).unwrap();
    assert!(
        world.error().contains("not a plain file"),
        "{}",
        world.error()
    );
}

#[test]
fn a_workspace_named_elsewhere_brings_its_own_file() {
    let mut world = World::new();
    world.user_policy("version = 1\n[[network.allow]]\nhost = \"a.example.com\"\n");
    world.put(
        "other/palisade.toml",
        "version = 1\n[network]\nallow = []\n",
    );
    assert!(permits(&world.effective(), "a.example.com", 443));
    world.options.workspace = Some(world.home().join("other"));
    assert!(!permits(&world.effective(), "a.example.com", 443));
}

#[test]
fn methods_and_paths_narrow() {
    let operator = "[[network.allow]]\nhost = \"a.example.com\"\nmethods = [\"GET\", \"POST\"]\n\
                    [[network.allow]]\nhost = \"b.example.com\"\nports = [22]\nprotocol = \"tcp\"\n";
    let policy = world(
        operator,
        "[[network.allow]]\nhost = \"*.example.com\"\nports = [443]\nmethods = [\"GET\", \"PUT\"]\npaths = [\"/v1/**\"]\n",
    )
    .effective();
    let code = |method, path| match decide(&policy, method, "a.example.com", 443, path) {
        Decision::Permit(_) => "",
        Decision::Deny(denial) => denial.reason.code(),
    };
    assert_eq!(code("GET", "/v1/x"), "");
    assert_eq!(code("POST", "/v1/x"), "workspace-policy");
    assert_eq!(code("PUT", "/v1/x"), "method-not-allowed");
    assert_eq!(code("GET", "/v2"), "workspace-policy");
    // What the operator passes unread cannot be judged.
    for list in ["allow", "deny"] {
        let error = world(
            operator,
            &format!(
                "[[network.{list}]]\nhost = \"b.example.com\"\nports = [22]\npaths = [\"/v1/**\"]\n"
            ),
        )
        .error();
        assert!(
            error.contains("passes connections to b.example.com unread"),
            "{error}"
        );
    }
}
