//! The real Claude Code without a key: the gate has it. And a search for the secret in everything a session touches.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{Demand, Guarded, MessagesApi, Server, ToolCall, Web};
use palisade_test_support::{
    Finished, Identity, Lab, Need, Policy, Skip, Terminal, claude, each_identity, need,
};
use serde_json::json;

use crate::lab;

const API: &str = "api.anthropic.com";
const HOST: &str = "private.example.com";
const KEY: &str = "sk-ant-api03-real-key-7d0c2f4e91ab";
const TOKEN: &str = "sk-ant-oat01-real-token-7d0c2f4e91ab";
/// Longer than any run needs; a refused key is tried twice.
const PATIENCE: Duration = Duration::from_secs(120);

/// A task of two tool calls with one of the profiles that keep the login at the gate. Yields the stand-in and its server.
fn task(
    who: Identity,
    profile: &str,
    (variable, secret): (&str, &str),
    login: impl Fn(MessagesApi) -> MessagesApi,
) -> Result<(Lab, Finished, MessagesApi, Server), Skip> {
    let folder = claude::folder()?;
    let lab = lab(who);
    let target = lab.workspace().join("NOTES.md");
    let script = vec![
        ToolCall::new("Write", json!({ "file_path": target, "content": "one\n" })),
        ToolCall::new(
            "Bash",
            json!({ "command": "echo two >> NOTES.md", "description": "append" }),
        ),
    ];
    let api = login(MessagesApi::new(script, "The task is done."));
    let authority = Authority::new();
    let server = Server::https(api.clone(), &authority, &[API]);
    let policy = Policy::new()
        .extends(&["claude-code", profile])
        .resolve(&format!("{API}:443"), server.address())
        .trust(&authority)
        .filesystem(&format!("read = [\"{}\"]", folder.display()));
    let program = folder.join("claude");
    let command = [
        program.to_str().expect("plain path"),
        "-p",
        "edit the file",
        "--dangerously-skip-permissions",
    ];
    let done = lab
        .run(&policy, command)
        .env(variable, secret)
        .patience(PATIENCE)
        .run();
    Ok((lab, done, api, server))
}

/// The two tools ran, the upstream never saw a placeholder, and nothing shows the secret.
fn check_task(lab: &Lab, done: Finished, api: &MessagesApi, server: &Server, secret: &str) {
    let done = done.expect(0).expect_output("The task is done.");
    let notes =
        fs::read_to_string(lab.workspace().join("NOTES.md")).expect("the first tool wrote it");
    assert_eq!(notes, "one\ntwo\n", "{done}");
    let results = api.results();
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(results.iter().all(|result| !result.is_error), "{results:?}");
    let requests = server.requests();
    let messages = || requests.iter().filter(|r| r.path() == "/v1/messages");
    assert!(messages().count() >= 3, "one request a turn");
    for text in [done.stdout.as_str(), &done.stderr] {
        assert!(!text.contains(secret), "{done}");
    }
    assert!(!format!("{:?}", lab.audit()).contains(secret));
}

each_identity! {
    fn claude_code_without_a_key(who) {
        let (lab, done, api, server) = task(who, "anthropic-api-key", ("ANTHROPIC_API_KEY", KEY), |api| api.require_key(KEY))?;
        check_task(&lab, done, &api, &server, KEY);
        for request in server.requests() {
            assert!(request.header("x-api-key").is_none_or(|key| key == KEY), "{request:?}");
        }
    }

    fn claude_code_without_a_token(who) {
        let (lab, done, api, server) =
            task(who, "anthropic-oauth-token", ("CLAUDE_CODE_OAUTH_TOKEN", TOKEN), |api| api.require_token(TOKEN))?;
        check_task(&lab, done, &api, &server, TOKEN);
    }

    fn claude_code_with_the_wrong_key_is_refused_by_the_server(who) {
        let wrong = "sk-ant-api03-another-key-0123456789";
        let (_, done, _, server) = task(who, "anthropic-api-key", ("ANTHROPIC_API_KEY", wrong), |api| api.require_key(KEY))?;
        assert_ne!(done.status, 0, "{done}");
        let seen = server.requests();
        assert!(seen.iter().any(|request| request.header("x-api-key") == Some(wrong)), "the control: it got there");
    }

    fn the_secret_is_nowhere_but_upstream(who) {
        need(&[Need::Program("curl", "curl")])?;
        let lab = lab(who);
        let authority = Authority::new();
        let secret = "real-secret-0b44d2c97f5e";
        let demand = Demand::Header("authorization", format!("Bearer {secret}"));
        let server = Server::https(Guarded::new(Web, demand), &authority, &[HOST]);
        // The variable is passed on by name as well: that it is a credential's comes first.
        let policy = Policy::new()
            .rule("allow", &format!("host = {HOST:?}\nports = [443]\ncredential = \"upstream\""))
            .resolve(&format!("{HOST}:443"), server.address())
            .trust(&authority)
            .tables(
                "[credentials.upstream]\nsource = { env = \"UPSTREAM_TOKEN\" }\n\
                 inject = { header = \"authorization\", format = \"Bearer {secret}\" }\n",
            );
        // Everything inside that can be read, after a request that was given the secret.
        let script = format!(
            "curl -sS -f https://{HOST}/echo > answer; env > environment; cat /proc/*/environ /proc/*/cmdline > processes 2>/dev/null; \
             echo ready; read -r line; grep -rl -s \"$(printf %s%s {} {})\" /tmp /run /etc /home /dev/shm . ; true",
            // In two parts, so that the script itself does not hold it.
            &secret[..8], &secret[8..],
        );
        let invocation = lab.run(&policy, ["sh", "-c", &script]).env("UPSTREAM_TOKEN", secret);
        let mut terminal = Terminal::start(&invocation, 24, 80);
        terminal.expect("ready");
        assert_eq!(server.requests().len(), 1);
        assert_eq!(server.requests()[0].header("authorization"), Some(format!("Bearer {secret}").as_str()), "the control");
        let outside = processes_of(terminal.id());
        assert!(outside.len() >= 3, "palisade, init and the agent: {outside:?}");
        for process in &outside {
            for file in ["environ", "cmdline"] {
                let shown = fs::read(process.join(file)).unwrap_or_default();
                assert!(!holds(&shown, secret), "{}/{file}", process.display());
            }
        }
        let palisade = PathBuf::from(format!("/proc/{}", terminal.id()));
        let limits = fs::read_to_string(palisade.join("limits")).expect("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "no core file: {core}");
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(palisade.join("mem")).expect("mem").uid();
        assert_eq!(owner, 0, "memory of a process that cannot be dumped belongs to root");
        terminal.type_keys("go on\r");
        assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
        let screen = terminal.screen();
        assert!(!screen.contains(secret) && !screen.contains("answer"), "{screen}");
        let found = files_with(&lab.home(), secret);
        assert_eq!(found, Vec::<PathBuf>::new(), "files of the session and of the workspace");
        lab.expect_allowed(HOST);
    }

    fn a_source_that_the_agent_could_change_is_refused(who) {
        let lab = lab(who);
        let program = lab.write(&lab.workspace().join("get-token"), "#!/bin/sh\necho a-secret-of-some-length\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set permissions");
        let policy = |access: &str| {
            Policy::new()
                .rule("allow", &format!("host = {HOST:?}\ncredential = \"upstream\""))
                .filesystem(&format!("access = {access:?}"))
                .tables(&format!("[credentials.upstream]\nsource = {{ command = [{program:?}] }}\ninject = {{ header = \"x-key\" }}\n"))
        };
        lab.run(&policy("read"), ["true"]).run().expect(0);
        lab.run(&policy("write"), ["true"]).run().expect(125).expect_error("get-token");
    }

    fn a_secret_that_the_agent_could_read_is_refused(who) {
        let lab = lab(who);
        let policy = |file: &Path| {
            Policy::new()
                .rule("allow", &format!("host = {HOST:?}\ncredential = \"upstream\""))
                .tables(&format!("[credentials.upstream]\nsource = {{ file = {file:?} }}\ninject = {{ header = \"x-key\" }}\n"))
        };
        let kept = lab.write(&lab.home().join("token"), "a-secret-of-some-length\n");
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).expect("set permissions");
        lab.run(&policy(&kept), ["true"]).run().expect(0);
        let link = lab.home().join("link");
        let in_workspace = lab.write(&lab.workspace().join("token"), "a-secret-of-some-length\n");
        std::os::unix::fs::symlink(in_workspace, &link).expect("make a link");
        // The system is shown to every agent, though no rule names it.
        for shown in [link.as_path(), Path::new("/usr/lib/os-release")] {
            let refused = lab.run(&policy(shown), ["true"]).run().expect(125);
            refused.expect_error("upstream").expect_error("read").expect_error(&shown.display().to_string());
        }
    }

    fn a_missing_variable_or_file_is_said_at_the_start(who) {
        let lab = lab(who);
        let policy = Policy::new()
            .rule("allow", &format!("host = {HOST:?}\ncredential = \"upstream\""))
            .tables("[credentials.upstream]\nsource = { env = \"UPSTREAM_TOKEN\" }\ninject = { header = \"x-key\" }\n");
        lab.run(&policy, ["true"]).run().expect(0).expect_error("UPSTREAM_TOKEN");
        let set = lab.run(&policy, ["true"]).env("UPSTREAM_TOKEN", "a-secret-of-some-length").run().expect(0);
        assert!(!set.stderr.contains("UPSTREAM_TOKEN"), "{set}");
        let token = lab.home().join("token");
        let policy = Policy::new()
            .rule("allow", &format!("host = {HOST:?}\ncredential = \"upstream\""))
            .tables(&format!("[credentials.upstream]\nsource = {{ file = {token:?} }}\ninject = {{ header = \"x-key\" }}\n"));
        lab.run(&policy, ["true"]).run().expect(0).expect_error(&token.display().to_string());
        lab.write(&token, "a-secret-of-some-length\n");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o620)).expect("set permissions");
        lab.run(&policy, ["true"]).run().expect(0).expect_error("chmod 600");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("set permissions");
        let set = lab.run(&policy, ["true"]).run().expect(0);
        assert!(!set.stderr.contains("upstream"), "{set}");
    }

    fn a_failing_source_is_said_while_the_agent_runs(who) {
        need(&[Need::Program("curl", "curl")])?;
        let lab = lab(who);
        let authority = Authority::new();
        let server = Server::https(Web, &authority, &[HOST]);
        let policy = |program: &str| {
            Policy::new()
                .rule("allow", &format!("host = {HOST:?}\nports = [443]\ncredential = \"upstream\""))
                .resolve(&format!("{HOST}:443"), server.address())
                .trust(&authority)
                .tables(&format!("[credentials.upstream]\nsource = {{ command = {program} }}\ninject = {{ header = \"x-key\" }}\n"))
        };
        let url = format!("https://{HOST}/");
        let good = "[\"/bin/echo\", \"a-secret-of-some-length\"]";
        lab.run(&policy(good), ["curl", "-sS", "-f", &url]).run().expect(0);
        let failing = lab.run(&policy("[\"/bin/false\"]"), ["curl", "-sS", "-w", "%{http_code}", &url]).run();
        failing.expect_output("502").expect_error("palisade: ").expect_error("upstream");
        assert_eq!(server.requests().len(), 1, "without its credential nothing is sent");
    }
}

/// `/proc` folders of a process and all below it.
fn processes_of(root: u32) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(format!("/proc/{root}"))];
    let mut at = 0;
    while let Some(process) = found.get(at).cloned() {
        let tasks = fs::read_dir(process.join("task"))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .map(|pid| PathBuf::from(format!("/proc/{pid}"))),
            );
        }
        at += 1;
    }
    found
}

fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, text));
        } else if holds(&fs::read(&path).unwrap_or_default(), text) {
            found.push(path);
        }
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
