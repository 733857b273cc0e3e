//! Real clients, each once with its destination allowed and once not. The allowed run is the positive control of the
//! denied one: same client, same session set-up, another name.

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{
    GitHost, Handler, NpmRegistry, PackageIndex, Server, ServerFirst, Web,
};
use palisade_test_support::{Finished, Identity, Lab, Need, Policy, each_identity, need};

use crate::lab;

const ALLOWED: &str = "allowed.example.com";
const DENIED: &str = "denied.example.com";
const CURL: Need = Need::Program("curl", "curl");
const GIT: Need = Need::Program("git", "git");
const NODE: Need = Need::Program("node", "nodejs");
const NPM: Need = Need::Program("npm", "npm");
const PYTHON: Need = Need::Program("python3", "python3");

/// A lab and an upstream that the policy lets [`ALLOWED`] stand for, on 80 and 443.
struct Bench {
    lab: Lab,
    policy: Policy,
    authority: Authority,
    _upstreams: [Server; 2],
}

impl Bench {
    fn new<H: Handler>(who: Identity, plain: H, tls: H) -> Self {
        let authority = Authority::new();
        let plain = Server::http(plain);
        let tls = Server::https(tls, &authority, &[ALLOWED]);
        let policy = Policy::new()
            .allow(ALLOWED, &[80, 443])
            .resolve(&format!("{ALLOWED}:80"), plain.address())
            .resolve(&format!("{ALLOWED}:443"), tls.address())
            .trust(&authority);
        Self {
            lab: lab(who),
            policy,
            authority,
            _upstreams: [plain, tls],
        }
    }

    fn web(who: Identity) -> Self {
        Self::new(who, Web, Web)
    }

    /// Runs the command for the allowed host, then for the denied one, and checks both logs.
    #[track_caller]
    fn both(&self, command: impl Fn(&str) -> Vec<String>, denied_status: i32) -> [Finished; 2] {
        let allowed = self.lab.run(&self.policy, command(ALLOWED)).run().expect(0);
        self.lab.expect_allowed(ALLOWED);
        let denied = self.lab.run(&self.policy, command(DENIED)).run();
        let denied = denied.expect(denied_status);
        self.lab.expect_denied(DENIED, "not-allowed");
        [allowed, denied]
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The command line with the script as its last word.
fn script(interpreter: &str, text: String) -> Vec<String> {
    let mut command = words(interpreter);
    command.push(text);
    command
}

each_identity! {
    fn curl_http(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let [allowed, denied] = bench.both(|host| words(&format!("curl -sS -f http://{host}/")), 22);
        assert_eq!(allowed.stdout, Web::GREETING);
        denied.expect_error("403").expect_error(DENIED);
    }

    fn curl_http_shows_the_reason(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let [_, denied] = bench.both(|host| words(&format!("curl -sS -i http://{host}/")), 0);
        let head = denied.stdout.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 403 blocked by palisade"), "{denied}");
        assert!(head.contains("palisade-denied: not-allowed"), "{denied}");
        let body = denied.stdout.split("\r\n\r\n").nth(1).unwrap_or("");
        let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
        assert_eq!(body["error"]["type"], "permission_error");
    }

    fn curl_https(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let [allowed, denied] = bench.both(|host| words(&format!("curl -sS https://{host}/")), 56);
        assert_eq!(allowed.stdout, Web::GREETING);
        denied.expect_error("403");
    }

    fn curl_without_proxy_http(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let command = |host: &str| words(&format!("curl -sS -f --noproxy * http://{host}/"));
        let [allowed, denied] = bench.both(command, 22);
        assert_eq!(allowed.stdout, Web::GREETING);
        denied.expect_error("403");
        assert_eq!(bench.lab.decisions(DENIED, "deny")[0]["entry"], "transparent");
    }

    fn curl_without_proxy_https(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let command = |host: &str| words(&format!("curl -sS --noproxy * https://{host}/"));
        let [allowed, _] = bench.both(command, 35);
        assert_eq!(allowed.stdout, Web::GREETING);
    }

    fn curl_socks5(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let command = |host: &str| {
            let line = format!("curl -sS --proxy socks5h://127.0.0.1:3128 https://{host}/");
            words(&line)
        };
        let [allowed, _] = bench.both(command, 97);
        assert_eq!(allowed.stdout, Web::GREETING);
        assert_eq!(bench.lab.decisions(DENIED, "deny")[0]["entry"], "socks5");
    }

    fn git_clone_http(who) {
        need(&[GIT])?;
        let bench = Bench::new(who, GitHost::new()?, GitHost::new()?);
        let command = |host: &str| {
            words(&format!("git clone --quiet http://{host}{} {host}", GitHost::REPOSITORY))
        };
        let [_, denied] = bench.both(command, 128);
        denied.expect_error("403");
        let cloned = bench.lab.workspace().join(ALLOWED).join("README");
        assert_eq!(std::fs::read_to_string(cloned).unwrap(), GitHost::README);
    }

    fn git_clone_https(who) {
        need(&[GIT])?;
        let bench = Bench::new(who, GitHost::new()?, GitHost::new()?);
        let command = |host: &str| {
            words(&format!("git clone --quiet https://{host}{} {host}", GitHost::REPOSITORY))
        };
        let [_, denied] = bench.both(command, 128);
        denied.expect_error("403");
        let cloned = bench.lab.workspace().join(ALLOWED).join("README");
        assert_eq!(std::fs::read_to_string(cloned).unwrap(), GitHost::README);
    }

    fn node_fetch_http(who) {
        need(&[NODE])?;
        let bench = Bench::web(who);
        let command = |host: &str| script("node -e", format!(
            "fetch('http://{host}/').then(async r => {{ console.log(await r.text()); process.exit(r.status == 200 ? 0 : 9) }})"
        ));
        let [allowed, denied] = bench.both(command, 9);
        allowed.expect_output(Web::GREETING);
        denied.expect_output("permission_error");
    }

    fn node_fetch_https(who) {
        need(&[NODE])?;
        let bench = Bench::web(who);
        let command = |host: &str| script("node -e", format!(
            "fetch('https://{host}/').then(async r => console.log(await r.text()))"
        ));
        let [allowed, denied] = bench.both(command, 1);
        allowed.expect_output(Web::GREETING);
        denied.expect_error("fetch failed");
    }

    fn python_urllib(who) {
        need(&[PYTHON])?;
        let bench = Bench::web(who);
        for scheme in ["http", "https"] {
            let command = |host: &str| script("python3 -c", format!(
                "import urllib.request as u; print(u.urlopen('{scheme}://{host}/').read().decode())"
            ));
            let [allowed, denied] = bench.both(command, 1);
            allowed.expect_output(Web::GREETING);
            denied.expect_error("403");
        }
    }

    fn python_requests(who) {
        need(&[PYTHON, Need::PythonModule("requests", "python3-requests")])?;
        let bench = Bench::web(who);
        for scheme in ["http", "https"] {
            let command = |host: &str| script("python3 -c", format!(
                "import requests; r = requests.get('{scheme}://{host}/'); print(r.text); r.raise_for_status()"
            ));
            let [allowed, denied] = bench.both(command, 1);
            allowed.expect_output(Web::GREETING);
            denied.expect_error("403");
        }
    }

    fn npm_install(who) {
        need(&[NODE, NPM])?;
        let bench = Bench::new(who, NpmRegistry::new(), NpmRegistry::new());
        bench.lab.write(&bench.lab.workspace().join("package.json"), "{}");
        let package = NpmRegistry::PACKAGE;
        for scheme in ["http", "https"] {
            let command = |host: &str| words(&format!(
                "npm install --no-audit --no-fund --fetch-retries=0 --prefer-online --registry {scheme}://{host}/ {package}"
            ));
            let module = bench.lab.workspace().join("node_modules").join(package);
            std::fs::remove_dir_all(&module).ok();
            std::fs::remove_file(bench.lab.workspace().join("package-lock.json")).ok();
            bench.lab.run(&bench.policy, command(ALLOWED)).run().expect(0);
            bench.lab.expect_allowed(ALLOWED);
            assert!(module.join("index.js").is_file());
            std::fs::remove_file(bench.lab.workspace().join("package-lock.json")).ok();
            std::fs::remove_dir_all(bench.lab.workspace().join("node_modules")).ok();
            let denied = bench.lab.run(&bench.policy, command(DENIED)).run().expect(1);
            denied.expect_error("403");
            bench.lab.expect_denied(DENIED, "not-allowed");
            assert!(!module.exists());
        }
    }

    fn pip_install(who) {
        need(&[PYTHON, Need::PythonModule("pip", "python3-pip")])?;
        let bench = Bench::new(who, PackageIndex::new()?, PackageIndex::new()?);
        let command = |host: &str| words(&format!(
            "python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 0 --target {host} \
             --index-url https://{host}/simple/ {}", PackageIndex::PACKAGE
        ));
        // This pip keeps the reason of a refused tunnel to itself; the line at the end of the session names the host.
        let [_, denied] = bench.both(command, 1);
        denied.expect_error("No matching distribution").expect_error(DENIED);
        assert!(bench.lab.workspace().join(ALLOWED).join("palisade_sample.py").is_file());
    }

    fn a_raw_socket_by_name(who) {
        raw_socket(who, ALLOWED, DENIED)?;
    }

    fn a_raw_socket_by_ipv4_address(who) {
        raw_socket(who, "203.0.113.7", "203.0.113.8")?;
    }

    fn a_raw_socket_by_ipv6_address(who) {
        raw_socket(who, "2001:db8::7", "2001:db8::8")?;
    }

    fn a_server_without_trust_is_refused_by_the_client(who) {
        need(&[CURL])?;
        let bench = Bench::web(who);
        let trusted = bench.policy.clone();
        let command = words(&format!("curl -sS https://{ALLOWED}/"));
        bench.lab.run(&trusted, &command).run().expect(0);
        let stranger = Authority::new();
        assert_ne!(stranger.pem(), bench.authority.pem());
        let server = Server::https(Web, &stranger, &[ALLOWED]);
        let policy = Policy::new()
            .reach(ALLOWED, 443, server.address())
            .trust(&bench.authority);
        bench.lab.run(&policy, &command).run().expect(60);
    }
}

/// A client that knows no proxy speaks to a service whose server speaks first.
fn raw_socket(who: Identity, allowed: &str, denied: &str) -> palisade_test_support::Outcome {
    need(&[PYTHON])?;
    let upstream = ServerFirst::start();
    let lab = lab(who);
    let shown = match allowed.contains(':') {
        true => format!("[{allowed}]"),
        false => allowed.to_owned(),
    };
    let policy = Policy::new()
        .rule(
            "allow",
            &format!("host = {shown:?}\nports = [9000]\nprotocol = \"tcp\""),
        )
        .resolve(&format!("{shown}:9000"), upstream.address());
    let command = |host: &str| {
        let text = format!(
            "import socket, sys\n\
             s = socket.create_connection(('{host}', 9000), 20)\n\
             s.settimeout(20)\n\
             try: print(s.recv(100).decode(), end='')\n\
             except OSError: pass\n\
             try: s.sendall(b'ping\\n'); answer = s.recv(100)\n\
             except OSError: answer = b''\n\
             print(answer.decode(), end='')\n\
             sys.exit(0 if answer else 7)"
        );
        script("python3 -c", text)
    };
    let done = lab.run(&policy, command(allowed)).run().expect(0);
    assert_eq!(done.stdout, format!("{}PING\n", ServerFirst::GREETING));
    lab.expect_allowed(allowed);
    lab.run(&policy, command(denied)).run().expect(7);
    lab.expect_denied(denied, "not-allowed");
    Ok(())
}
