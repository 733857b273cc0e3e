//! The options of `run`, each seen to make a difference.

use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Need, Policy, each_identity, need};

use crate::lab;

const HOST: &str = "web.example.com";

each_identity! {
    fn allow_adds_a_host_and_a_port(who) {
        need(&[Need::Program("curl", "curl")])?;
        let lab = lab(who);
        let server = Server::http(Web);
        let policy = Policy::new()
            .resolve(&format!("{HOST}:80"), server.address())
            .resolve(&format!("{HOST}:8080"), server.address());
        let policy = lab.policy(policy.to_toml());
        let fetch = |options: &[&str], port: u16| {
            let url = format!("http://{HOST}:{port}/");
            let run = lab.palisade(["run", "--quiet", "--policy"]).args([&policy]).args(options);
            run.args(["--", "curl", "-sS", "-f", &url]).run().status
        };
        assert_eq!(fetch(&[], 80), 22);
        assert_eq!(fetch(&["--allow", HOST], 80), 0);
        assert_eq!(fetch(&["--allow", HOST], 8080), 22);
        assert_eq!(fetch(&["--allow", &format!("{HOST}:8080")], 8080), 0);
        assert_eq!(fetch(&["--allow", &format!("{HOST}:8080")], 80), 22);
        assert_eq!(fetch(&["--allow", "a.example.com", "--allow", HOST], 80), 0);
    }

    fn a_deny_rule_wins_over_allow(who) {
        need(&[Need::Program("curl", "curl")])?;
        let lab = lab(who);
        let server = Server::http(Web);
        let allowed = Policy::new().reach(HOST, 80, server.address());
        let url = format!("http://{HOST}/");
        lab.run(&allowed, ["curl", "-sS", "-f", &url]).run().expect(0);
        let denied = allowed.rule("deny", &format!("host = {HOST:?}"));
        lab.run(&denied, ["curl", "-sS", "-f", &url]).run().expect(22);
        lab.expect_denied(HOST, "deny-rule");
    }

    fn env_passes_and_sets(who) {
        let lab = lab(who);
        let show = |options: &[&str]| {
            let run = lab.palisade(["run", "--quiet"]).args(options).env("OUTER", "from outside");
            run.args(["--", "sh", "-c", "echo \"$OUTER/$SET\""]).run().expect(0).stdout
        };
        assert_eq!(show(&[]), "/\n");
        assert_eq!(show(&["--env", "OUTER", "--env", "SET=a b"]), "from outside/a b\n");
    }

    fn workspace_chooses_the_folder(who) {
        let lab = lab(who);
        let other = lab.home().join("other");
        lab.write(&other.join("file"), "of the other\n");
        let run = lab.palisade(["run", "--quiet", "--workspace"]).args([&other]);
        let done = run.args(["--", "sh", "-c", "cat file; ls ../project"]).run();
        assert_eq!(done.stdout, "of the other\n", "{done}");
        assert_ne!(done.status, 0);
    }

    fn a_profile_brings_its_hosts(who) {
        let lab = lab(who);
        let check = |options: &[&str]| {
            lab.palisade(["check"]).args(options).args(["https://api.anthropic.com/v1/messages"]).run().status
        };
        assert_eq!(check(&[]), 1);
        assert_eq!(check(&["--profile", "claude-code"]), 0);
        lab.palisade(["run", "--profile", "no-such-profile", "--", "true"]).run().expect(125).expect_error("claude-code");
    }

    fn only_known_boundaries_are_taken(who) {
        let lab = lab(who);
        lab.palisade(["run", "--quiet", "--boundary", "native", "--", "true"]).run().expect(0);
        lab.palisade(["run", "--boundary", "no-such-thing", "--", "true"]).run().expect(125).expect_error("native");
    }

    fn an_upstream_proxy_is_gone_through(who) {
        need(&[Need::Program("curl", "curl")])?;
        let lab = lab(who);
        // The proxy is a web server here: it answers a request for any host by itself, so that its answer shows that it
        // was asked, and for whom.
        let proxy = Server::http(Web);
        let through = Policy::new().allow(HOST, &[80]);
        let text = through.to_toml().replace(
            "[network]\n",
            &format!("[network]\nupstream_proxy = \"http://{}\"\n", proxy.address()),
        );
        let policy = lab.policy(text);
        let url = format!("http://{HOST}/");
        let run = lab.palisade(["run", "--quiet", "--policy"]).args([&policy]);
        run.args(["--", "curl", "-sS", &url]).run();
        let asked: Vec<String> = proxy.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains(HOST), "{asked:?}");
        let run = lab.palisade(["run", "--quiet", "--policy"]).args([&policy]);
        run.args(["--", "curl", "-sS", "-f", "http://denied.example.com/"]).run().expect(22);
        assert_eq!(proxy.requests().len(), 1, "a refused request does not reach the proxy");
    }
}
