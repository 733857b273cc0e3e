//! Requests per second and processor time per request of the gate, against a direct connection and against a bare
//! relay in the same runtime, which is what any user-space proxy costs at least. Needs `wrk` on the PATH.
//!
//! `cargo run --release -p palisade-gate --example gate_bench [SECONDS]`
//!
//! Processor time is what counts: `wrk`, upstream and gate share the machine's cores, so that requests per second
//! say as much about them as about the gate.
#![allow(clippy::print_stdout, missing_docs)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use palisade_audit::LineSink;
use palisade_gate::{Gate, GateConfig, OriginalDestination};
use palisade_policy::{Authority, HostPattern, NetworkPolicy, Ports, Protocol, Rule, Source};
use palisade_protocol::{EgressEndpoint, Listener, ListenerKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HOST: &str = "bench.example";
/// Bytes of one large transfer.
const BULK: u64 = 1 << 30;
/// Clock ticks a second in /proc/PID/stat, the same on every Linux port in use.
const TICKS: f64 = 100.0;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    match args.as_slice() {
        ["upstream"] => runtime.block_on(upstream()),
        ["relay", to] => runtime.block_on(relay(to.parse()?)),
        ["gate", to] => runtime.block_on(gate(to.parse()?)),
        [] => compare("3"),
        [seconds] => compare(seconds),
        _ => Err("usage: gate_bench [SECONDS]".into()),
    }
}

fn announce(addresses: &[SocketAddr]) -> Result<()> {
    let line: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    println!("{}", line.join(" "));
    Ok(io::stdout().flush()?)
}

async fn listener() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}

/// Answers each read with a small response, or with a large one if the path says so.
async fn upstream() -> Result<()> {
    let listener = listener().await?;
    announce(&[listener.local_addr()?])?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut bytes = vec![0; 16384];
            let small = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n{}",
                "x".repeat(100)
            );
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                if bytes[..count].starts_with(b"GET /bulk") {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).await;
                    let block = vec![7; 1 << 18];
                    for _ in 0..BULK / (1 << 18) {
                        if stream.write_all(&block).await.is_err() {
                            return;
                        }
                    }
                } else if stream.write_all(small.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn relay(to: SocketAddr) -> Result<()> {
    let listener = listener().await?;
    announce(&[listener.local_addr()?])?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let Ok(mut upstream) = TcpStream::connect(to).await else {
                return;
            };
            let _ = upstream.set_nodelay(true);
            let _ = copy_bidirectional(&mut stream, &mut upstream).await;
        });
    }
}

struct Fixed(SocketAddr);

impl OriginalDestination for Fixed {
    fn of(&self, _: &TcpStream) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

async fn gate(to: SocketAddr) -> Result<()> {
    let rule = |pattern: &str, protocol| -> Result<Rule> {
        let rule = Rule::new(
            HostPattern::parse(pattern)?,
            Ports::ANY,
            Source::new("bench"),
        );
        Ok(Rule { protocol, ..rule })
    };
    let mut policy = NetworkPolicy::builder()
        .allow(rule(HOST, Protocol::Web)?)
        .allow(rule("192.0.2.1", Protocol::Web)?)
        .allow(rule("raw.example", Protocol::Tcp)?);
    for from in ["bench.example:80", "192.0.2.1:80", "raw.example:9"] {
        policy = policy.resolve(Authority::parse(from.as_bytes(), None)?, to);
    }
    // As many rules as a real policy has.
    for n in 0..100 {
        policy = policy.allow(rule(&format!("h{n}.example"), Protocol::Web)?);
    }
    let log = std::env::temp_dir().join(format!("gate-bench-{}.jsonl", std::process::id()));
    let file = File::create(&log)?;
    std::fs::remove_file(&log)?;
    let sink = Arc::new(LineSink::new("bench", Box::new(file)));
    let mut config = GateConfig::new(Arc::new(policy.build()), sink);
    config.original_destination = Arc::new(Fixed("192.0.2.1:80".parse()?));
    let (proxy, transparent) = (
        StdListener::bind("127.0.0.1:0")?,
        StdListener::bind("127.0.0.1:0")?,
    );
    announce(&[proxy.local_addr()?, transparent.local_addr()?])?;
    let sockets = vec![
        Listener {
            kind: ListenerKind::Proxy,
            socket: proxy.into(),
        },
        Listener {
            kind: ListenerKind::Transparent,
            socket: transparent.into(),
        },
    ];
    let forever = std::future::pending();
    Gate::new(config)
        .serve(EgressEndpoint::Sockets(sockets), forever)
        .await?;
    Ok(())
}

/// A server in a process of its own, so that its processor time can be told apart.
struct Role {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Role {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let addresses = line
            .split_whitespace()
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self { child, addresses })
    }

    /// Seconds of processor time so far.
    fn processor(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).ok_or("short stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .ok_or("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(seconds: &str) -> Result<()> {
    let upstream = Role::start(&["upstream"])?;
    let to = upstream.addresses[0].to_string();
    let relay = Role::start(&["relay", &to])?;
    let gate = Role::start(&["gate", &to])?;
    println!("gate at rest: {} KiB resident", gate.resident_kib()?);
    println!("small requests, 16 kept connections, {seconds} s each");
    let direct = wrk("direct", &to, "/", seconds, &upstream, false)?;
    for (name, role, at, path) in [
        ("bare relay", &relay, 0, "/"),
        ("gate, forward", &gate, 0, "http://bench.example/"),
        ("gate, transparent", &gate, 1, "/"),
    ] {
        let address = role.addresses[at].to_string();
        let rate = wrk(name, &address, path, seconds, role, true)?;
        println!("{:>44.2} of direct", rate / direct);
    }
    println!("one transfer of {} MiB", BULK >> 20);
    let proxy = gate.addresses[0];
    bulk(
        "bare relay",
        relay.addresses[0],
        "GET /bulk HTTP/1.1\r\nhost: x\r\n\r\n",
        &relay,
    )?;
    bulk(
        "gate, forward",
        proxy,
        "GET http://bench.example/bulk HTTP/1.1\r\nhost: bench.example\r\n\r\n",
        &gate,
    )?;
    let raw = "CONNECT raw.example:9 HTTP/1.1\r\nhost: raw.example:9\r\n\r\nGET /bulk HTTP/1.1\r\nhost: x\r\n\r\n";
    bulk("gate, tunnel", proxy, raw, &gate)?;
    println!("gate afterwards: {} KiB resident", gate.resident_kib()?);
    Ok(())
}

fn wrk(
    name: &str,
    address: &str,
    path: &str,
    seconds: &str,
    role: &Role,
    costs: bool,
) -> Result<f64> {
    let script = std::env::temp_dir().join(format!("gate-bench-{}.lua", std::process::id()));
    let host = if path == "/" { "192.0.2.1" } else { HOST };
    std::fs::write(
        &script,
        format!("wrk.path = \"{path}\"\nwrk.headers[\"Host\"] = \"{host}\"\n"),
    )?;
    let before = role.processor()?;
    let output = Command::new("wrk")
        .args(["-t1", "-c16", &format!("-d{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("http://{address}/"))
        .output()?;
    let used = role.processor()? - before;
    std::fs::remove_file(&script)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") || !output.status.success() {
        return Err(format!("{name}: {text}").into());
    }
    let figure = |label: &str| -> Result<f64> {
        let line = text
            .lines()
            .find(|line| line.contains(label))
            .ok_or_else(|| text.clone())?;
        let word = line
            .split_whitespace()
            .find(|word| word.parse::<f64>().is_ok());
        Ok(word.ok_or("no figure")?.parse()?)
    };
    let (requests, rate) = (figure(" requests in ")?, figure("Requests/sec")?);
    let cost = if costs {
        format!("{:6.1} µs processor time a request", used * 1e6 / requests)
    } else {
        String::new()
    };
    println!("  {name:<20} {rate:>9.0} requests/s {cost}");
    Ok(rate)
}

fn bulk(name: &str, address: SocketAddr, request: &str, role: &Role) -> Result<()> {
    use std::io::Read as _;
    let before = role.processor()?;
    let begin = std::time::Instant::now();
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = vec![0; 1 << 18];
    let mut seen = 0;
    while seen < BULK {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(format!("{name}: the transfer ended early").into());
        }
        seen += count as u64;
    }
    let gib = seen as f64 / (1u64 << 30) as f64;
    let rate = gib * 1024.0 / begin.elapsed().as_secs_f64();
    println!(
        "  {name:<20} {rate:>9.0} MiB/s      {:6.0} ms processor time a GiB",
        (role.processor()? - before) * 1e3 / gib
    );
    Ok(())
}
