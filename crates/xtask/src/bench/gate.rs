//! The gate beside Envoy, Squid, mitmproxy and a bare relay: one run, rounds interleaved, every proxy on one core, load and
//! origin on the other.
//!
//! Ours has its rules (by method and path), its credential (added to each request, redacted in each response) and its log.
//! The peers have a static configuration for the same: a header that is added, a log of requests.

mod certificates;
mod peers;
mod process;
mod proxy;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::statistics::median;
use crate::shell::{self, Done};
use certificates::Certificates;
use process::{ENDS, PROXY, Process, figures, machine_load, pinned};
use proxy::{Figures, Proxy, Way};

const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
/// Connections at a time that ask, or that are made anew.
const CONNECTIONS: u32 = 32;
const HANDSHAKES: u32 = 8;
/// Names that were never seen, in all; the gate keeps the certificates of a part of them.
const NAMES: usize = 20_000;
/// Names of one round for a proxy that takes its time.
const NAMES_OF_ROUND: usize = 200;
const BULK: u64 = 256 << 20;
const IDLE: u32 = 1000;
const STREAMS: u32 = 200;

type Part = fn(&Bench) -> Done;

/// The parts, each of which can be asked for: `gate.bulk`.
pub(super) const PARTS: [(&str, Part); 7] = [
    ("requests", Bench::requests),
    ("connections", Bench::connections),
    ("bulk", Bench::bulk),
    ("events", Bench::events),
    ("idle", Bench::idle),
    ("names", Bench::names),
    ("decisions", Bench::decisions),
];

/// Runs the parts that are wanted.
pub(super) fn run(wanted: impl Fn(&str) -> bool) -> Done {
    for tool in ["setpriv", "taskset", "openssl"] {
        if shell::program(tool).is_none() {
            println!("gate: {tool} is not installed");
            return Ok(());
        }
    }
    let bench = Bench::start()?;
    println!(
        "gate: {ROUNDS} rounds of {SECONDS} s, medians; machine load before: {}",
        machine_load()
    );
    bench.at_rest();
    for (name, part) in PARTS {
        if wanted(name) {
            part(&bench)?;
        }
    }
    println!("machine load after: {}", machine_load());
    Ok(())
}

/// Where the origin listens.
struct Origin {
    plain: u16,
    secure: u16,
    _process: Process,
}

pub(super) struct Bench {
    program: PathBuf,
    origin: Origin,
    certificates: Certificates,
    /// Ours first.
    proxies: Vec<Proxy>,
    _folder: Folder,
}

/// A folder of this run that every user can reach, gone afterwards.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Bench {
    fn start() -> Done<Self> {
        let folder =
            std::env::temp_dir().join(format!("palisade-bench-gate-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .map_err(|error| format!("make {}: {error}", folder.display()))?;
        let folder = Folder(folder);
        let program = build()?;
        let certificates = Certificates::make(&folder.0)?;
        let origin = origin(&program, &certificates)?;
        let mut proxies = vec![
            gate(&program, &origin, &certificates, 10)?,
            gate(&program, &origin, &certificates, 10_000)?,
            relay(&program, &origin)?,
        ];
        proxies.extend(peers::start(&origin, &certificates)?);
        Ok(Self {
            program,
            origin,
            certificates,
            proxies,
            _folder: folder,
        })
    }

    /// Measures each way of each proxy, round by round, and returns the medians.
    fn rounds(&self, ways: &[(&Proxy, &Way)], mode: &str, words: &[String]) -> Done<Vec<Figures>> {
        let mut all = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for ((proxy, way), figures) in ways.iter().zip(&mut all) {
                let measured = way.measure(&self.program, Some(&proxy.process), mode, words);
                figures.push(measured.map_err(|error| format!("{}: {error}", proxy.name))?);
            }
        }
        Ok(all.iter().map(|figures| medians(figures)).collect())
    }

    fn requests(&self) -> Done {
        let words = [
            format!("seconds={SECONDS}"),
            format!("connections={CONNECTIONS}"),
        ];
        println!("small requests in clear text, {CONNECTIONS} kept connections");
        let plain: Vec<_> = self
            .proxies
            .iter()
            .filter_map(|p| Some((p, p.plain.as_ref()?)))
            .collect();
        table(&plain, &self.rounds(&plain, "requests", &words)?);
        println!("the same intercepted: TLS to the proxy, TLS to the origin");
        let secure = self.secure();
        table(&secure, &self.rounds(&secure, "requests", &words)?);
        Ok(())
    }

    fn connections(&self) -> Done {
        println!("new intercepted connections, certificate kept, {HANDSHAKES} at a time");
        let words = [
            format!("seconds={SECONDS}"),
            format!("connections={HANDSHAKES}"),
        ];
        let secure = self.secure();
        table(&secure, &self.rounds(&secure, "connections", &words)?);
        Ok(())
    }

    fn secure(&self) -> Vec<(&Proxy, &Way)> {
        self.proxies
            .iter()
            .flat_map(|proxy| proxy.secure.iter().map(move |way| (proxy, way)))
            .collect()
    }

    fn bulk(&self) -> Done {
        let words = [format!("bytes={BULK}")];
        println!("one transfer of {} MiB, in a tunnel", BULK >> 20);
        let tunnels: Vec<_> = self
            .proxies
            .iter()
            .filter_map(|p| Some((p, p.tunnel.as_ref()?)))
            .collect();
        bulk_table(&tunnels, &self.rounds(&tunnels, "bulk", &words)?);
        println!("the same intercepted");
        let secure = self.secure();
        bulk_table(&secure, &self.rounds(&secure, "bulk", &words)?);
        Ok(())
    }

    fn events(&self) -> Done {
        println!(
            "first event of a stream over an open connection, intercepted; median of {STREAMS}"
        );
        let words = [format!("count={STREAMS}")];
        let roots = self.certificates.certificate("origin-ca");
        let direct = Way::to(format!("127.0.0.1:{}", self.origin.secure)).trusting(&roots);
        let direct = direct.measure(&self.program, None, "events", &words)?;
        println!("  {:<34} {:>8.0} µs", "direct", direct.p50);
        for (proxy, way) in self.secure() {
            let figures = way.measure(&self.program, Some(&proxy.process), "events", &words)?;
            let name = format!("{}{}", proxy.name, way.note);
            println!(
                "  {name:<34} {:>8.0} µs, {:.0} over direct",
                figures.p50,
                figures.p50 - direct.p50
            );
        }
        Ok(())
    }

    fn at_rest(&self) {
        println!("resident memory at rest");
        for proxy in &self.proxies {
            println!("  {:<34} {:>8.1} MiB", proxy.name, proxy.process.resident());
        }
    }

    fn idle(&self) -> Done {
        println!("resident memory with {IDLE} idle intercepted connections");
        for proxy in &self.proxies {
            let Some(way) = proxy.secure.first() else {
                continue;
            };
            let before = proxy.process.resident();
            let mut load = way.load(&self.program, "idle", &[format!("count={IDLE}")]);
            let mut load = load
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| format!("start the load: {error}"))?;
            let mut line = String::new();
            load.stdout
                .take()
                .map(|out| BufReader::new(out).read_line(&mut line));
            let now = proxy.process.resident();
            drop(load.stdin.take());
            load.wait().ok();
            match line.is_empty() {
                true => println!("  {:<34} failed", proxy.name),
                false => println!(
                    "  {:<34} {now:>8.1} MiB, {:.1} before, {:.1} KiB each",
                    proxy.name,
                    before,
                    (now - before) * 1024.0 / f64::from(IDLE)
                ),
            }
        }
        Ok(())
    }

    /// Ours is asked for many names, the others for as many as show their pace.
    fn names(&self) -> Done {
        println!("new intercepted connections to names never seen");
        for proxy in &self.proxies {
            let Some(way) = &proxy.minted else {
                continue;
            };
            let count = if proxy.tunnel.is_some() {
                NAMES
            } else {
                NAMES_OF_ROUND
            };
            let words = [
                "from=0".to_owned(),
                format!("until={count}"),
                format!("connections={HANDSHAKES}"),
            ];
            let figures = way
                .measure(&self.program, Some(&proxy.process), "names", &words)
                .map_err(|error| format!("{}: {error}", proxy.name))?;
            println!(
                "  {:<34} {:>8.0}/s {:>8.0} µs each, {:.1} MiB after {count}",
                proxy.name,
                figures.rate,
                figures.cost(),
                proxy.process.resident()
            );
        }
        Ok(())
    }

    fn decisions(&self) -> Done {
        let times = figures(pinned(ENDS, &self.program).arg("decide"))?;
        println!(
            "one decision: {} ns with 10 rules, {} ns with 10,000",
            times["10"], times["10000"]
        );
        Ok(())
    }
}

/// The roles of the bench that are ours.
fn build() -> Done<PathBuf> {
    let arguments = [
        "build",
        "--release",
        "--locked",
        "--package",
        "palisade-gate",
        "--example",
        "gate_bench",
    ];
    shell::run(shell::cargo().args(arguments))?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), PathBuf::from);
    Ok(target.join("release/examples/gate_bench"))
}

fn origin(program: &Path, certificates: &Certificates) -> Done<Origin> {
    let mut command = pinned(ENDS, program);
    command
        .arg("origin")
        .arg(format!(
            "certificate={}",
            certificates.certificate("origin").display()
        ))
        .arg(format!("key={}", certificates.key("origin").display()));
    let (process, said) = Process::announced(&mut command)?;
    let port = |key: &str| said[key].as_u64().and_then(|port| u16::try_from(port).ok());
    Ok(Origin {
        plain: port("plain").ok_or("the origin has no port")?,
        secure: port("secure").ok_or("the origin has no port")?,
        _process: process,
    })
}

fn gate(program: &Path, origin: &Origin, certificates: &Certificates, rules: u32) -> Done<Proxy> {
    let trust = certificates.file(&format!("gate-{rules}.pem"));
    let log = certificates.file(&format!("gate-{rules}.jsonl"));
    let mut command = pinned(PROXY, program);
    command
        .args(["gate", &format!("rules={rules}"), &format!("names={NAMES}")])
        .args([
            format!("plain={}", origin.plain),
            format!("secure={}", origin.secure),
        ])
        .arg(format!(
            "roots={}",
            certificates.certificate("origin-ca").display()
        ))
        .arg(format!("trust={}", trust.display()))
        .arg(format!("log={}", log.display()));
    let (process, said) = Process::announced(&mut command)?;
    let to = |key: &str| Way::to(said[key].as_str().unwrap_or_default().to_owned());
    let name = if rules > 10 {
        "palisade, 10,000 rules"
    } else {
        "palisade"
    };
    Ok(Proxy {
        name,
        process,
        plain: Some(to("proxy").absolute()),
        secure: vec![
            to("secure").trusting(&trust).note(", transparent"),
            to("proxy")
                .connect("bench.example:443")
                .trusting(&trust)
                .note(", by CONNECT"),
        ],
        minted: (rules == 10).then(|| to("proxy").connect("{host}:443").trusting(&trust)),
        tunnel: Some(to("proxy").connect("raw.example:9")),
    })
}

fn relay(program: &Path, origin: &Origin) -> Done<Proxy> {
    let mut command = pinned(PROXY, program);
    command.args(["relay", &format!("to=127.0.0.1:{}", origin.plain)]);
    let (process, said) = Process::announced(&mut command)?;
    let way = Way::to(format!("127.0.0.1:{}", said["port"]));
    Ok(Proxy {
        name: "bare relay",
        process,
        plain: Some(way.clone()),
        secure: Vec::new(),
        minted: None,
        tunnel: Some(way),
    })
}

fn medians(all: &[Figures]) -> Figures {
    let of = |get: fn(&Figures) -> f64| median(all.iter().map(get).collect());
    let count = of(|figures| figures.count);
    Figures {
        count,
        rate: of(|figures| figures.rate),
        p50: of(|figures| figures.p50),
        p99: of(|figures| figures.p99),
        processor: of(Figures::cost) * count / 1e6,
    }
}

/// The ratios are to Envoy, or to mitmproxy where there is no Envoy.
fn table(ways: &[(&Proxy, &Way)], figures: &[Figures]) {
    let beside = |name| {
        let at = ways.iter().position(|(proxy, _)| proxy.name == name);
        at.and_then(|at| figures.get(at))
            .copied()
            .unwrap_or_default()
    };
    let (envoy, mitmproxy) = (beside("Envoy"), beside("mitmproxy"));
    println!(
        "  {:<34} {:>9} {:>8} {:>8} {:>9}   of Envoy: rate, p99, processor; of mitmproxy: rate",
        "", "a second", "p50 µs", "p99 µs", "cpu µs"
    );
    for ((proxy, way), own) in ways.iter().zip(figures) {
        println!(
            "  {:<34} {:>9.0} {:>8.0} {:>8.0} {:>9.1}   {:.2} {:.2} {:.2}; {:.1}",
            format!("{}{}", proxy.name, way.note),
            own.rate,
            own.p50,
            own.p99,
            own.cost(),
            own.rate / envoy.rate,
            own.p99 / envoy.p99,
            own.cost() / envoy.cost(),
            own.rate / mitmproxy.rate
        );
    }
}

fn bulk_table(ways: &[(&Proxy, &Way)], figures: &[Figures]) {
    for ((proxy, way), own) in ways.iter().zip(figures) {
        println!(
            "  {:<34} {:>9.0} MB/s {:>8.0} ms processor time a GB",
            format!("{}{}", proxy.name, way.note),
            own.rate / 1e6,
            own.processor * 1e3 / (own.count / 1e9)
        );
    }
}
