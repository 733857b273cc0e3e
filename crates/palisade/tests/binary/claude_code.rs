//! The real Claude Code, with a stand-in of the Messages API as its model.

use std::time::Duration;

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{MessagesApi, Server, ToolCall};
use palisade_test_support::{Finished, Lab, Policy, Terminal, claude, each_identity};
use serde_json::json;

use crate::lab;

const API: &str = "api.anthropic.com";
const KEY: &str = "test";
/// Longer than any run needs; without a final refusal Claude Code retries for three minutes.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a refused run may take. Seven seconds were measured on an idle machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// Runs one task inside, the API being at this server.
fn task(
    lab: &Lab,
    policy: Policy,
    options: &[&str],
) -> Result<Finished, palisade_test_support::Skip> {
    let folder = claude::folder()?;
    let policy = policy.filesystem(&format!("read = [\"{}\"]", folder.display()));
    let policy = lab.policy(policy.to_toml());
    let program = folder.join("claude");
    let done = lab
        .palisade(["run", "--env"])
        .args([format!("ANTHROPIC_API_KEY={KEY}")])
        .args(["--policy"])
        .args([&policy])
        .args(options)
        .args(["--"])
        .args([&program])
        .args(["-p", "edit the file", "--dangerously-skip-permissions"])
        .patience(PATIENCE)
        .run();
    Ok(done)
}

/// Runs one task whose model says what the script says, to its end.
fn scripted(
    lab: &Lab,
    script: Vec<ToolCall>,
    options: &[&str],
) -> Result<(MessagesApi, Server), palisade_test_support::Skip> {
    let api = MessagesApi::new(script, "The task is done.").require_key(KEY);
    let authority = Authority::new();
    let server = Server::https(api.clone(), &authority, &[API]);
    let policy = Policy::new()
        .extends(&["claude-code"])
        .resolve(&format!("{API}:443"), server.address())
        .trust(&authority);
    let done = task(lab, policy, options)?.expect(0);
    done.expect_output("The task is done.");
    Ok((api, server))
}

each_identity! {
    fn a_task_edits_a_file(who) {
        let lab = lab(who);
        let target = lab.workspace().join("NOTES.md");
        let script = vec![
            ToolCall::new("Write", json!({ "file_path": target, "content": "one\n" })),
            ToolCall::new("Bash", json!({ "command": "echo two >> NOTES.md; id -u; cat /etc/shadow", "description": "append" })),
        ];
        let (api, server) = scripted(&lab, script, &[])?;

        assert_eq!(std::fs::read_to_string(&target).unwrap(), "one\ntwo\n");
        let results = api.results();
        assert_eq!(results.len(), 2, "{results:?}");
        assert!(!results[0].is_error, "{results:?}");
        // The command as a whole fails, because reading the file with the password hashes does.
        let output = &results[1].text;
        assert!(output.contains("/etc/shadow: No such file"), "{output}");
        let requests = server.requests();
        assert!(requests.iter().all(|r| r.header("x-api-key").is_none_or(|key| key == KEY)));
        lab.expect_allowed(API);
    }

    fn a_task_under_review_lands_when_it_is_applied(who) {
        let lab = lab(who);
        let target = lab.workspace().join("NOTES.md");
        lab.write(&target, "one\n");
        lab.write(&lab.workspace().join(".env"), "TOKEN=S3CRET\n");
        let script = vec![
            ToolCall::new("Read", json!({ "file_path": target })),
            ToolCall::new("Edit", json!({ "file_path": target, "old_string": "one", "new_string": "two" })),
            ToolCall::new("Bash", json!({ "command": "cat .env; mkdir -p .husky; echo evil > .husky/pre-commit; echo done", "description": "look" })),
        ];
        let (api, _server) = scripted(&lab, script, &["--access", "review"])?;

        let results = api.results();
        assert!(results.len() == 3 && results.iter().all(|result| !result.is_error), "{results:?}");
        assert!(results[2].text.contains("done") && !results[2].text.contains("S3CRET"), "{results:?}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "one\n", "nothing lands by itself");
        let review = lab.palisade(["review"]).run().expect(0);
        review.expect_output("-one").expect_output("+two").expect_output(".husky/pre-commit");
        lab.palisade(["apply", "--yes", "--except", ".husky/**"]).run();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "two\n");
        assert!(!lab.workspace().join(".husky/pre-commit").exists());
    }

    fn a_conversation_on_a_terminal(who) {
        let lab = lab(who);
        let folder = claude::folder()?;
        let call = ToolCall::new("Bash", json!({ "command": "echo edited >> NOTES.md", "description": "append" }));
        let api = MessagesApi::new(vec![call], "finished").require_key(KEY);
        let authority = Authority::new();
        let server = Server::https(api, &authority, &[API]);
        // What a person has answered once: theme, key, trust in the folder.
        let settings = json!({
            "hasCompletedOnboarding": true, "theme": "dark",
            "customApiKeyResponses": { "approved": [KEY], "rejected": [] },
            "projects": { (lab.workspace().to_str().unwrap()): { "hasTrustDialogAccepted": true } },
        });
        lab.write(&lab.home().join(".claude.json"), settings.to_string());
        let policy = Policy::new()
            .extends(&["claude-code"])
            .filesystem(&format!("read = [\"{}\"]", folder.display()))
            .resolve(&format!("{API}:443"), server.address())
            .trust(&authority)
            .tables(&format!("[environment]\npass = [\"TERM\"]\nset = {{ ANTHROPIC_API_KEY = \"{KEY}\" }}"));
        let program = folder.join("claude");
        let mut terminal = Terminal::start(&lab.run(&policy, [program]), 40, 120);
        terminal.expect("shortcuts");
        terminal.type_keys("edit");
        terminal.expect("edit");
        terminal.type_keys("\r");
        terminal.expect("proceed");
        terminal.type_keys("1");
        terminal.expect("finished");
        let text = std::fs::read_to_string(lab.workspace().join("NOTES.md")).unwrap();
        assert_eq!(text, "edited\n");
        terminal.type_keys("\x03");
        terminal.expect("again");
        terminal.type_keys("\x03");
        assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
        lab.expect_allowed(API);
    }

    fn without_a_rule_it_ends_with_the_reason(who) {
        let lab = lab(who);
        let done = task(&lab, Policy::new(), &[])?;
        assert_ne!(done.status, 0, "{done}");
        assert!(done.stdout.contains("403"), "{done}");
        assert!(done.stdout.contains("palisade"), "{done}");
        assert!(done.elapsed < REFUSED_WITHIN, "{done}");
        lab.expect_denied(API, "not-allowed");
    }
}
