//! The gate under load from inside a session: small requests on the plain path, large transfers on the tunnel path,
//! beside a direct connection and sandbox-runtime's bridge to the same upstream.
//!
//! Whatever stands between client and upstream runs on core 0, client and upstream on core 1.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::boundaries::Boundary;
use super::place::{Binaries, Place, places};
use super::start::srt_program;
use super::statistics::median;
use crate::shell::{self, Done};

pub(super) const ROUNDS: usize = 3;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 16;
/// Bytes of a large transfer: some seconds through the gate.
const LARGE: u64 = 2 << 30;
/// The same for sandbox-runtime.
const LARGE_FOR_SRT: u64 = 512 << 20;
const HOST: &str = "bench.example.com";
const RAW_PORT: u16 = 9000;
const BETWEEN: &str = "0";
const ENDS: &str = "1";

/// One way from client to upstream.
pub(super) struct Way {
    name: String,
    requests: Vec<String>,
    transfer: Vec<String>,
    large: u64,
}

/// Measures as the ordinary user where root can be one, as most people run it.
pub(super) fn run(binaries: &Binaries) -> Done {
    if shell::program("wrk").is_none() || shell::program("taskset").is_none() {
        println!("inside: wrk or taskset is not installed");
        return Ok(());
    }
    let places = places(binaries)?;
    let place = places.last().ok_or("no user to measure as")?;
    let upstream = Upstream::start(binaries)?;
    let ways = ways(binaries, place, upstream.port)?;
    println!("inside, as {}: {ROUNDS} rounds, medians", place.user);
    compare(place, &ways)
}

/// Loads each way in turn; the first is what the others are measured by.
pub(super) fn compare(place: &Place, ways: &[Way]) -> Done {
    let mut requests = vec![Vec::new(); ways.len()];
    let mut transfers = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (at, way) in ways.iter().enumerate() {
            requests[at].push(requests_per_second(place, way)?);
            transfers[at].push(bytes_per_second(place, way)?);
        }
    }
    let direct = (median(requests[0].clone()), median(transfers[0].clone()));
    for (at, way) in ways.iter().enumerate() {
        let (rate, speed) = (median(requests[at].clone()), median(transfers[at].clone()));
        println!(
            "  {:<34} {rate:>9.0} requests/s ({:.2} of direct)   {:>7.0} MB/s ({:.2} of direct)",
            way.name,
            rate / direct.0,
            speed / 1e6,
            speed / direct.1
        );
    }
    Ok(())
}

fn ways(binaries: &Binaries, place: &Place, port: u16) -> Done<Vec<Way>> {
    let policy = place.write("gate.toml", &policy(port))?;
    // In the workspace, since a session shows the home as empty.
    let script = place.write("project/absolute.lua", ABSOLUTE)?;
    let script = script.display();
    let session = ["taskset", "-c", BETWEEN]
        .map(str::to_owned)
        .into_iter()
        .chain([binaries.path("palisade").display().to_string()])
        .chain(["run", "--quiet", "--policy"].map(str::to_owned))
        .chain([policy.display().to_string()])
        .chain(["--", "sh", "-c"].map(str::to_owned))
        .collect::<Vec<_>>();
    let (wrk, curl) = (wrk(), curl());
    let inside = |line: String| [session.clone(), vec![line]].concat();
    let mut ways = vec![
        direct(port),
        Way {
            name: "palisade, by proxy variables".into(),
            requests: inside(format!(
                "{wrk} -s {script} http://127.0.0.1:3128 -- http://{HOST}/"
            )),
            transfer: inside(format!(
                "{curl} --proxytunnel http://{HOST}:{RAW_PORT}/bytes/{LARGE}"
            )),
            large: LARGE,
        },
        transparent("palisade, transparent".into(), &session),
    ];
    ways.extend(srt(place, port, &wrk, &curl, &script.to_string())?);
    Ok(ways)
}

fn wrk() -> String {
    format!("exec taskset -c {ENDS} wrk -t1 -c{CONNECTIONS} -d{SECONDS}s")
}

fn curl() -> String {
    format!("exec taskset -c {ENDS} curl -sS -o /dev/null -w '%{{speed_download}}'")
}

/// Nothing between client and upstream.
pub(super) fn direct(port: u16) -> Way {
    let (wrk, curl) = (wrk(), curl());
    let outside = |line: String| vec!["sh".to_owned(), "-c".to_owned(), line];
    Way {
        name: "direct".into(),
        requests: outside(format!("{wrk} http://127.0.0.1:{port}/")),
        transfer: outside(format!("{curl} http://127.0.0.1:{port}/bytes/{LARGE}")),
        large: LARGE,
    }
}

/// The gate in between, by a session that takes a line of shell.
fn transparent(name: String, session: &[String]) -> Way {
    let (wrk, curl) = (wrk(), curl());
    let inside = |line: String| [session, &[line]].concat();
    Way {
        name,
        requests: inside(format!("{wrk} http://{HOST}/")),
        transfer: inside(format!(
            "{curl} --noproxy '*' http://{HOST}:{RAW_PORT}/bytes/{LARGE}"
        )),
        large: LARGE,
    }
}

/// The same of one boundary.
pub(super) fn within(
    binaries: &Binaries,
    place: &Place,
    port: u16,
    boundary: &Boundary,
) -> Done<Way> {
    let policy = place.write("gate.toml", &policy(port))?;
    let mut session: Vec<String> = vec![
        "taskset".into(),
        "-c".into(),
        BETWEEN.into(),
        binaries.path("palisade").display().to_string(),
        "run".into(),
        "--quiet".into(),
        format!("--policy={}", policy.display()),
    ];
    session.extend(boundary.options.iter().cloned());
    session.extend(["--", "sh", "-c"].map(str::to_owned));
    Ok(transparent(boundary.name.into(), &session))
}

fn policy(port: u16) -> String {
    format!(
        "version = 1\n[network]\nresolve = {{ \"{HOST}:80\" = \"127.0.0.1:{port}\", \"{HOST}:{RAW_PORT}\" = \"127.0.0.1:{port}\" }}\n\
         [[network.allow]]\nhost = \"{HOST}\"\nports = [80]\n\
         [[network.allow]]\nhost = \"{HOST}\"\nports = [{RAW_PORT}]\nprotocol = \"tcp\"\n"
    )
}

/// wrk knows no proxy: it asks the proxy's port for absolute targets, with the proxy's password where there is one.
const ABSOLUTE: &str = r#"
function init(args)
    wrk.headers["Host"] = args[1]:match("//([^/]+)")
    wrk.headers["Proxy-Authorization"] = os.getenv("AUTHORIZATION")
    asked = wrk.format("GET", args[1])
end
function request() return asked end
"#;

fn srt(place: &Place, port: u16, wrk: &str, curl: &str, script: &str) -> Done<Option<Way>> {
    let settings = r#"{"network": {"allowedDomains": ["localhost"], "deniedDomains": []},
        "filesystem": {"denyRead": [], "allowRead": [], "allowWrite": ["."], "denyWrite": []}}"#;
    let settings = place.write("srt.json", settings)?;
    let Some(program) = srt_program() else {
        println!("  sandbox-runtime is not installed");
        return Ok(None);
    };
    let prefix = ["taskset", "-c", BETWEEN].map(str::to_owned).into_iter();
    let prefix: Vec<String> = prefix
        .chain(program)
        .chain([
            "--settings".into(),
            settings.display().to_string(),
            "-c".into(),
        ])
        .collect();
    let authorization = "export AUTHORIZATION=$(/usr/bin/python3 -c 'import os, base64, urllib.parse as u; \
        p = u.urlsplit(os.environ[\"HTTP_PROXY\"]); \
        print(\"Basic \" + base64.b64encode((u.unquote(p.username) + \":\" + p.password).encode()).decode())')";
    let requests = format!(
        "{authorization}; {wrk} -s {script} http://localhost:3128 -- http://localhost:{port}/"
    );
    let large = LARGE_FOR_SRT;
    let transfer = format!(
        "{curl} --proxytunnel -x $HTTP_PROXY --noproxy '' http://localhost:{port}/bytes/{large}"
    );
    Ok(Some(Way {
        name: "sandbox-runtime, by proxy variables".into(),
        requests: [prefix.clone(), vec![requests]].concat(),
        transfer: [prefix, vec![transfer]].concat(),
        large,
    }))
}

fn requests_per_second(place: &Place, way: &Way) -> Done<f64> {
    let text = output(place, &way.requests)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("{}: requests failed:\n{text}", way.name));
    }
    let line = text.lines().find(|line| line.starts_with("Requests/sec:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| format!("{}: wrk says:\n{text}", way.name))
}

fn bytes_per_second(place: &Place, way: &Way) -> Done<f64> {
    let text = output(place, &way.transfer)?;
    text.trim()
        .parse()
        .map_err(|_| format!("{}: {} bytes: curl says {text:?}", way.name, way.large))
}

pub(super) fn output(place: &Place, words: &[String]) -> Done<String> {
    let (program, rest) = words.split_first().ok_or("no command to run")?;
    let done = place
        .command(program)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("start {program}: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    match done.status.success() {
        true => Ok(text),
        false => Err(format!(
            "{} failed: {}\n{text}{}",
            words.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

/// The stand-in that all ways lead to. It ends when its standard input does.
pub(super) struct Upstream {
    child: Child,
    pub(super) port: u16,
}

impl Upstream {
    pub(super) fn start(binaries: &Binaries) -> Done<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", ENDS])
            .arg(binaries.path("upstream"))
            .arg("web")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start the upstream: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).ok();
        }
        let report: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let port = report["web"]["http"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        match port {
            Some(port) => Ok(Self { child, port }),
            None => {
                child.kill().ok();
                child.wait().ok();
                Err(format!("the upstream says {line:?}"))
            }
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}
