//! Bodies of every shape, through each way in.

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{Server, Web};
use palisade_test_support::{Identity, Lab, Need, Policy, each_identity, need};

use crate::lab;

const HOST: &str = "web.example.com";
const CURL: Need = Need::Program("curl", "curl");
/// Larger than any buffer on the way.
const LARGE: u64 = 64 << 20;

struct Bench {
    lab: Lab,
    policy: Policy,
    plain: Server,
    _tls: Server,
    _authority: Authority,
}

fn bench(who: Identity) -> Bench {
    let authority = Authority::new();
    let plain = Server::http(Web);
    let tls = Server::https(Web, &authority, &[HOST]);
    let policy = Policy::new()
        .allow(HOST, &[80, 443])
        .resolve(&format!("{HOST}:80"), plain.address())
        .resolve(&format!("{HOST}:443"), tls.address())
        .trust(&authority);
    Bench {
        lab: lab(who),
        policy,
        plain,
        _tls: tls,
        _authority: authority,
    }
}

impl Bench {
    /// Runs a shell line inside with `$U` standing for each way to the host in turn.
    #[track_caller]
    fn each_way(&self, line: &str, expected: &str) {
        for (options, scheme) in [
            ("", "http"),
            ("", "https"),
            ("--noproxy '*'", "http"),
            ("--noproxy '*'", "https"),
            ("-x socks5h://127.0.0.1:3128", "http"),
            ("-x socks5h://127.0.0.1:3128", "https"),
        ] {
            let line = line
                .replace("CURL", &format!("curl -sS -f {options}"))
                .replace("URL", &format!("{scheme}://{HOST}"));
            let done = self.lab.run(&self.policy, ["sh", "-c", &line]).run();
            assert_eq!(done.stdout, expected, "{line}: {done}");
        }
    }
}

each_identity! {
    fn large_downloads(who) {
        need(&[CURL])?;
        bench(who).each_way(&format!("CURL URL/bytes/{LARGE} | wc -c"), &format!("{LARGE}\n"));
    }

    fn large_uploads(who) {
        need(&[CURL])?;
        let line = format!("head -c {LARGE} /dev/zero > big; CURL -T big URL/sink; rm big");
        bench(who).each_way(&line, &LARGE.to_string());
    }

    fn chunked_uploads(who) {
        need(&[CURL])?;
        let line = "head -c 3000000 /dev/zero | CURL -T - URL/sink";
        bench(who).each_way(line, "3000000");
    }

    fn chunked_downloads(who) {
        need(&[CURL])?;
        let expected: String = (0..10).map(|n| format!("chunk {n}\n")).collect();
        bench(who).each_way("CURL URL/chunked", &expected);
    }

    fn many_requests_on_one_connection(who) {
        need(&[CURL])?;
        bench(who).each_way("CURL 'URL/echo?n=[1-20]' | tr -cd { | wc -c", "20\n");
    }

    fn proxy_headers_stay_here_and_the_rest_arrives(who) {
        need(&[CURL])?;
        let bench = bench(who);
        let line = format!(
            "curl -sS -H 'x-own: kept' -H 'proxy-authorization: secret' -H 'te: trailers' http://{HOST}/echo?q=1 --data body"
        );
        bench.lab.run(&bench.policy, ["sh", "-c", &line]).run().expect(0);
        let requests = bench.plain.requests();
        let request = requests.last().unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/echo?q=1"));
        assert_eq!(request.header("x-own"), Some("kept"));
        assert_eq!(request.header("host"), Some(HOST));
        assert_eq!(request.body, b"body");
        assert_eq!(request.header("proxy-authorization"), None);
        assert_eq!(request.header("proxy-connection"), None);
    }
}
