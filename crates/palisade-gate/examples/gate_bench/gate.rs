//! The gate as a session has it: rules by method and path, a credential that is added and redacted, a log that is
//! written.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use palisade_audit::LineSink;
use palisade_credential::{Credentials, Definition, HeaderFormat, Injection, Part, Secret, Source};
use palisade_gate::{
    ConstrainedName, Gate, GateConfig, OriginalDestination, SessionAuthority, TlsConfig,
};
use palisade_policy::{
    Authority, CredentialName, HostPattern, NetworkPolicy, PathPattern, Ports, Rule,
};
use palisade_protocol::{EgressEndpoint, Listener, ListenerKind};
use tokio::net::TcpStream;

use crate::words::Words;
use crate::{Result, orphaned};

pub(crate) const HOST: &str = "bench.example";
/// Names below it are made up as they are asked for.
const MINTED: &str = "mint.example";
const SECRET: &str = "bench-secret-0123456789abcdef";
const CREDENTIAL: &str = "bench";

pub(crate) async fn serve(words: &Words) -> Result<()> {
    let (plain, secure) = (words.get("plain")?, words.get("secure")?);
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let name = |text: String| Authority::parse(text.as_bytes(), None);
    let mut policy = NetworkPolicy::builder();
    for rule in rules(words.or("rules", 10)?)? {
        policy = policy.allow(rule);
    }
    policy = policy
        .resolve(name(format!("{HOST}:80"))?, local(plain))
        .resolve(name(format!("{HOST}:443"))?, local(secure))
        .resolve(name("raw.example:9".into())?, local(plain));
    for number in 0..words.or("names", 0)? {
        policy = policy.resolve(name(format!("n{number}.{MINTED}:443"))?, local(secure));
    }

    let log = File::create(words.text("log")?)?;
    let sink = Arc::new(LineSink::new("bench", Box::new(log)));
    let mut config = GateConfig::new(Arc::new(policy.build()), sink);
    config.tls = tls(
        Path::new(words.text("roots")?),
        Path::new(words.text("trust")?),
    )?;
    if !words.has("bare") {
        config.credentials = credentials()?;
    }
    config.original_destination = Arc::new(ByListener);
    config.limits.connections = 4096;
    config.limits.pool_per_host = words.or("pool", config.limits.pool_per_host)?;

    let sockets = Sockets::bind()?;
    println!("{}", sockets.described());
    let dns = sockets.dns.local_addr()?;
    let endpoint = sockets.endpoint();
    tokio::spawn(async move { ask_name(dns).await.map_err(|error| error.to_string()) });
    Gate::new(config).serve(endpoint, orphaned()).await?;
    Ok(())
}

/// The rules of the bench's hosts, and others up to this number.
pub(crate) fn rules(count: usize) -> Result<Vec<Rule>> {
    let source = palisade_policy::Source::new("bench");
    let rule = |pattern: &str, ports| -> Result<Rule> {
        Ok(Rule::new(
            HostPattern::parse(pattern)?,
            ports,
            source.clone(),
        ))
    };
    let judged = |pattern: &str, credential: Option<CredentialName>| -> Result<Rule> {
        let paths = ["/small/**", "/bulk/*", "/events"].map(PathPattern::parse);
        let paths = paths.into_iter().collect::<std::result::Result<_, _>>();
        Ok(Rule {
            methods: Some(["GET", "POST"].map(Box::from).into()),
            paths: Some(paths.map_err(|error| error.to_string())?),
            credential,
            dangerous_plaintext: true,
            ..rule(pattern, Ports::WEB)?
        })
    };
    let mut rules = vec![
        judged(HOST, CredentialName::new(CREDENTIAL))?,
        judged(&format!("*.{MINTED}"), None)?,
        Rule {
            protocol: palisade_policy::Protocol::Tcp,
            ..rule("raw.example", Ports::ANY)?
        },
    ];
    for number in rules.len()..count {
        rules.push(judged(&format!("h{number}.example"), None)?);
    }
    Ok(rules)
}

fn credentials() -> Result<Credentials> {
    let definition = Definition {
        name: CredentialName::new(CREDENTIAL).ok_or("a bad name")?,
        source: Source::Environment([(Part::Value, "TOKEN".to_owned())].into()),
        injection: Injection::Header {
            name: "authorization".to_owned(),
            format: HeaderFormat::parse("Bearer {secret}")?,
            remove: Vec::new(),
            append: Default::default(),
        },
        ttl: None,
        placeholders: [(Part::Value, "TOKEN".to_owned())].into(),
        quotable: false,
    };
    let outside = |_: &str| Some(Secret::new(SECRET.into()));
    Ok(Credentials::new(vec![definition], outside)?)
}

fn tls(roots: &Path, trust: &Path) -> Result<TlsConfig> {
    let names = [HOST, MINTED].map(|name| ConstrainedName::Name(name.into()));
    let authority = SessionAuthority::new("bench", &names)?;
    std::fs::write(trust, authority.certificate_pem())?;
    Ok(TlsConfig {
        authority: Some(authority),
        roots: std::fs::read(roots)?,
    })
}

/// Listeners that say by their port where a connection was going.
struct Sockets {
    proxy: TcpListener,
    clear: TcpListener,
    secure: TcpListener,
    dns: UdpSocket,
}

/// On 127.0.0.2 a caught connection was going to port 80, on 127.0.0.3 to port 443.
struct ByListener;

impl Sockets {
    fn bind() -> io::Result<Self> {
        Ok(Self {
            proxy: TcpListener::bind("127.0.0.1:0")?,
            clear: TcpListener::bind("127.0.0.2:0")?,
            secure: TcpListener::bind("127.0.0.3:0")?,
            dns: UdpSocket::bind("127.0.0.1:0")?,
        })
    }

    fn described(&self) -> String {
        let shown = |name: &str, listener: &TcpListener| {
            let address = listener.local_addr().map(|address| address.to_string());
            format!(r#""{name}": "{}""#, address.unwrap_or_default())
        };
        format!(
            "{{{}, {}, {}}}",
            shown("proxy", &self.proxy),
            shown("clear", &self.clear),
            shown("secure", &self.secure)
        )
    }

    fn endpoint(self) -> EgressEndpoint {
        EgressEndpoint::Sockets(vec![
            Listener {
                kind: ListenerKind::Proxy,
                socket: self.proxy.into(),
            },
            Listener {
                kind: ListenerKind::Transparent,
                socket: self.clear.into(),
            },
            Listener {
                kind: ListenerKind::Transparent,
                socket: self.secure.into(),
            },
            Listener {
                kind: ListenerKind::DnsV4,
                socket: self.dns.into(),
            },
        ])
    }
}

impl OriginalDestination for ByListener {
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr> {
        // The first synthetic address, which `ask_name` has had the host be given.
        let port = match accepted.local_addr()?.ip().to_string().as_str() {
            "127.0.0.2" => 80,
            _ => 443,
        };
        Ok(SocketAddr::from(([198, 18, 0, 1], port)))
    }
}

/// Has the gate give the host its address, as a client's look-up would.
async fn ask_name(dns: SocketAddr) -> Result<()> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in HOST.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&query, dns).await?;
    let mut answer = [0; 512];
    let (count, _) = socket.recv_from(&mut answer).await?;
    let address = answer[..count].last_chunk::<4>().ok_or("a short answer")?;
    if *address == [198, 18, 0, 1] {
        Ok(())
    } else {
        Err("another address".into())
    }
}
