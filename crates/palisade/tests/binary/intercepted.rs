//! Real clients through interception, without a key of their own: the gate adds the credential. The server answers only
//! who shows the real one, and the control is the same client, in a session whose rule adds none.

mod protocols;

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{
    Demand, GitHost, Guarded, Handler, NpmRegistry, PackageIndex, Server, Web,
};
use palisade_test_support::{
    Finished, Identity, Invocation, Lab, Need, Policy, each_identity, need,
};

use crate::lab;

const HOST: &str = "private.example.com";
/// What the agent never sees. Characters that each form of quoting and encoding treats in its own way.
const SECRET: &str = "real+secret/9f2c41aa7be3d05c==";
/// Where palisade finds it, and where the agent finds the placeholder.
const VARIABLE: &str = "UPSTREAM_TOKEN";

const CURL: Need = Need::Program("curl", "curl");
const GIT: Need = Need::Program("git", "git");
const NODE: Need = Need::Program("node", "nodejs");
const PYTHON: Need = Need::Program("python3", "python3");
const JAVA: Need = Need::Program("java", "openjdk-17-jdk-headless");
const GO: Need = Need::Program("go", "golang-go");

const BEARER: &str = "inject = { header = \"authorization\", format = \"Bearer {secret}\" }";
const BASIC: &str = "inject = { basic = { username = \"ci\" } }";
const QUERY: &str = "inject = { query = \"api_key\" }";

/// A lab, an authority of the test, and a server that knows the secret.
struct Bench {
    lab: Lab,
    authority: Authority,
    server: Server,
    inject: &'static str,
}

impl Bench {
    fn new(who: Identity, handler: impl Handler, inject: &'static str) -> Self {
        let authority = Authority::new();
        let demand = match inject {
            BASIC => Demand::Basic("ci", SECRET.into()),
            QUERY => Demand::Query("api_key", percent(SECRET)),
            _ => Demand::Header("authorization", format!("Bearer {SECRET}")),
        };
        let server = Server::https(Guarded::new(handler, demand), &authority, &[HOST]);
        Self {
            lab: lab(who),
            authority,
            server,
            inject,
        }
    }

    fn web(who: Identity) -> Self {
        Self::new(who, Web, BEARER)
    }

    /// The policy with the credential in force.
    fn policy(&self, lines: &str) -> Policy {
        policy(&self.authority, self.server.address(), lines).tables(&credential(self.inject))
    }

    fn run(&self, policy: &Policy, command: &[String]) -> Invocation {
        self.lab.run(policy, command).env(VARIABLE, SECRET)
    }

    /// Runs the command without the credential, which must fail, and then with it.
    #[track_caller]
    fn both(&self, command: &[String]) -> Finished {
        let without = policy(&self.authority, self.server.address(), "intercept = true");
        let refused = self.run(&without, command).run();
        assert_ne!(
            refused.status, 0,
            "the control: no credential, no success\n{refused}"
        );
        let asked = self.server.requests().len();
        assert!(asked > 0, "the control reached the server\n{refused}");
        let done = self
            .run(&self.policy("credential = \"upstream\""), command)
            .run();
        let done = done.expect(0);
        assert!(self.server.requests().len() > asked);
        self.lab.expect_allowed(HOST);
        assert_kept(&self.lab, &done);
        done
    }
}

fn policy(authority: &Authority, to: std::net::SocketAddr, lines: &str) -> Policy {
    Policy::new()
        .rule("allow", &format!("host = {HOST:?}\nports = [443]\n{lines}"))
        .resolve(&format!("{HOST}:443"), to)
        .trust(authority)
}

fn credential(inject: &str) -> String {
    format!(
        "[credentials.upstream]\nsource = {{ env = \"{VARIABLE}\" }}\n{inject}\nplaceholder = {{ env = \"{VARIABLE}\" }}\n"
    )
}

/// Nothing the session showed or wrote holds the secret.
#[track_caller]
fn assert_kept(lab: &Lab, done: &Finished) {
    assert!(
        !done.stdout.contains(SECRET) && !done.stderr.contains(SECRET),
        "{done}"
    );
    let log = format!("{:?}", lab.audit());
    assert!(!log.contains(SECRET), "{log}");
}

fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn script(interpreter: &str, text: &str) -> Vec<String> {
    let mut command = words(interpreter);
    command.push(text.to_owned());
    command
}

each_identity! {
    fn curl_with_each_kind_of_injection(who) {
        need(&[CURL])?;
        for inject in [BEARER, BASIC, QUERY] {
            let bench = Bench::new(who, Web, inject);
            let done = bench.both(&words(&format!("curl -sS -f https://{HOST}/")));
            assert_eq!(done.stdout, Web::GREETING);
        }
    }

    fn curl_sends_the_placeholder_where_it_belongs(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let line = format!("curl -sS -f -H \"authorization: Bearer ${VARIABLE}\" https://{HOST}/; printenv {VARIABLE}");
        let done = bench.both(&script("sh -c", &line));
        let placeholder = done.stdout.trim_start_matches(Web::GREETING).trim().to_owned();
        assert!(placeholder.len() > 8 && placeholder != SECRET, "{done}");
        let seen = format!("{:?}", bench.server.requests());
        assert!(!seen.contains(&placeholder), "{seen}");
    }

    fn an_echoed_secret_comes_back_redacted(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let done = bench.both(&words(&format!("curl -sS -f https://{HOST}/echo")));
        let echoed: serde_json::Value = serde_json::from_str(&done.stdout).expect("the echo is JSON");
        let stars = "*".repeat(SECRET.len());
        assert!(echoed["headers"].to_string().contains(&stars), "{done}");
    }

    fn curl_without_proxy(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        bench.both(&words(&format!("curl -sS -f --noproxy * https://{HOST}/")));
        let entries = bench.lab.decisions(HOST, "allow");
        assert!(entries.iter().any(|event| event["entry"] == "transparent"), "{entries:#?}");
    }

    fn rules_reach_down_to_method_and_path(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let policy = bench.policy("methods = [\"GET\"]\npaths = [\"/repos/acme/**\", \"/echo\"]\ncredential = \"upstream\"");
        let status = |options: &str, path: &str| {
            let line = format!("curl -sS -o /dev/null -w %{{http_code}} {options}https://{HOST}{path}");
            bench.run(&policy, &words(&line)).run().expect(0).stdout
        };
        assert_eq!(status("", "/echo"), "200");
        assert_eq!(status("", "/repos/acme/widgets"), "404", "the server has no such page, but it was asked");
        let asked = bench.server.requests().len();
        assert_eq!(status("", "/repos/other/widgets"), "403");
        assert_eq!(status("", "/repos/acme/../other"), "403");
        assert_eq!(status("--path-as-is ", "/repos/acme/../other"), "403");
        assert_eq!(status("-X DELETE ", "/repos/acme/widgets"), "403");
        assert_eq!(bench.server.requests().len(), asked, "what is refused does not reach the server");
    }

    fn git_clones_and_pushes(who) {
        need(&[GIT])?;
        let host = GitHost::new()?;
        let bench = Bench::new(who, host.clone(), BASIC);
        let url = format!("https://{HOST}{}", GitHost::REPOSITORY);
        let line = format!(
            "set -e; export GIT_TERMINAL_PROMPT=0; rm -rf work; git clone --quiet {url} work; cd work; echo more >> README; \
             git -c user.name=a -c user.email=a@example.test commit --quiet -a -m pushed; git push --quiet origin HEAD:main"
        );
        let done = bench.both(&script("sh -c", &line));
        assert_eq!(host.log(), ["pushed", "first"], "{done}");
    }

    fn npm_installs_from_a_private_registry(who) {
        need(&[NODE, Need::Program("npm", "npm")])?;
        let bench = Bench::new(who, NpmRegistry::new(), BASIC);
        bench.lab.write(&bench.lab.workspace().join("package.json"), "{}");
        bench.both(&words(&format!(
            "npm install --no-audit --no-fund --fetch-retries=0 --registry https://{HOST}/ {}", NpmRegistry::PACKAGE
        )));
        let module = bench.lab.workspace().join("node_modules").join(NpmRegistry::PACKAGE);
        assert!(module.join("index.js").is_file());
    }

    fn pip_installs_from_a_private_index(who) {
        need(&[PYTHON, Need::PythonModule("pip", "python3-pip")])?;
        let bench = Bench::new(who, PackageIndex::new()?, BASIC);
        bench.both(&words(&format!(
            "python3 -m pip install --quiet --no-input --disable-pip-version-check --no-cache-dir --retries 0 --target made \
             --index-url https://{HOST}/simple/ {}", PackageIndex::PACKAGE
        )));
        assert!(bench.lab.workspace().join("made/palisade_sample.py").is_file());
    }

    fn node_fetches(who) {
        need(&[NODE])?;
        let bench = Bench::web(who);
        let text = format!("fetch('https://{HOST}/').then(async r => {{ console.log(await r.text()); process.exit(r.ok ? 0 : 9) }})");
        bench.both(&script("node -e", &text)).expect_output(Web::GREETING);
    }

    fn python_requests(who) {
        need(&[PYTHON, Need::PythonModule("requests", "python3-requests")])?;
        let bench = Bench::web(who);
        let text = format!("import requests; r = requests.get('https://{HOST}/'); r.raise_for_status(); print(r.text)");
        bench.both(&script("python3 -c", &text)).expect_output(Web::GREETING);
    }

    fn java_trusts_and_is_served(who) {
        need(&[JAVA])?;
        let bench = Bench::web(who);
        bench.lab.write(&bench.lab.workspace().join("Get.java"),
            "public class Get { public static void main(String[] a) throws Exception { \
             System.out.write(new java.net.URL(a[0]).openStream().readAllBytes()); System.out.flush(); } }");
        bench.both(&words(&format!("java Get.java https://{HOST}/"))).expect_output(Web::GREETING);
    }

    fn go_trusts_and_is_served(who) {
        need(&[GO])?;
        let bench = Bench::web(who);
        bench.lab.write(&bench.lab.workspace().join("get.go"),
            "package main\nimport (\"io\"; \"net/http\"; \"os\")\nfunc main() { r, err := http.Get(os.Args[1]); \
             if err != nil { println(err.Error()); os.Exit(1) }; io.Copy(os.Stdout, r.Body); \
             if r.StatusCode != 200 { os.Exit(9) } }\n");
        bench.both(&words(&format!("go run get.go https://{HOST}/"))).expect_output(Web::GREETING);
    }

    fn a_server_nobody_vouches_for_is_refused_at_the_gate(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let command = words(&format!("curl -sS -i https://{HOST}/"));
        bench.both(&words(&format!("curl -sS -f https://{HOST}/")));
        let stranger = Authority::new();
        let server = Server::https(Web, &stranger, &[HOST]);
        let policy = policy(&bench.authority, server.address(), "credential = \"upstream\"").tables(&credential(BEARER));
        let done = bench.run(&policy, &command).run();
        assert!(done.status != 0 || done.stdout.contains(" 502 "), "{done}");
        assert!(server.requests().is_empty(), "no request and no secret for a stranger");
    }

    fn what_is_not_intercepted_goes_through_unread(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let command = words(&format!("curl -sS -v https://{HOST}/"));
        let looked = bench.run(&bench.policy("credential = \"upstream\""), &command).run().expect(0);
        looked.expect_error("Palisade session");
        let tunnel = policy(&bench.authority, bench.server.address(), "intercept = false");
        bench.run(&tunnel, &command).run().expect(0).expect_error("palisade test authority");
    }
}
