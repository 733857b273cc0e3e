//! A gate on loopback, scripted upstreams, a log in memory, and a client for each way in.

mod client;
mod credentials;
mod hello;
mod server;
mod sink;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use palisade_credential::Credentials;
use palisade_gate::{
    Gate, GateConfig, GateLimits, LocalAddress, Notice, OriginalDestination, Resolve,
    ResolveFuture, Summary, SummaryHandle, TlsConfig, UpstreamProxy,
};
use palisade_policy::{
    Authority, DnsName, HostPattern, NetworkPolicyBuilder, Ports, Protocol, Rule, Source,
};
use palisade_protocol::{EgressEndpoint, Listener, ListenerKind};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub(crate) use client::{Client, PLAIN_WAYS, Response, TUNNELS, Way, question, request};
pub(crate) use credentials::{Notices, bearer, carrying, credentials, placeholder, query, secret};
pub(crate) use hello::{hello, hello_with, in_records, server_name};
pub(crate) use server::Server;
pub(crate) use sink::{MemorySink, Record};
pub(crate) use tls::trusting;

/// A policy under construction, with its upstreams.
#[derive(Default)]
pub(crate) struct Setup {
    policy: NetworkPolicyBuilder,
    limits: GateLimits,
    addresses: HashMap<String, Vec<std::net::IpAddr>>,
    proxy: Option<UpstreamProxy>,
    roots: Option<String>,
    credentials: Option<Credentials>,
}

pub(crate) fn rule(pattern: &str) -> Rule {
    let pattern = HostPattern::parse(pattern).unwrap();
    Rule::new(pattern, Ports::ANY, Source::new("test"))
}

impl Setup {
    /// `host` allowed on every port; what goes to `host:port` reaches `server`.
    pub(crate) fn allow(mut self, host: &str, port: u16, server: &Server) -> Self {
        self.policy = self.policy.allow(rule(host));
        self.map(host, port, server)
    }

    /// The same, for any protocol.
    pub(crate) fn allow_tcp(mut self, host: &str, port: u16, server: &Server) -> Self {
        let rule = Rule {
            protocol: Protocol::Tcp,
            ..rule(host)
        };
        self.policy = self.policy.allow(rule);
        self.map(host, port, server)
    }

    pub(crate) fn map(mut self, host: &str, port: u16, server: &Server) -> Self {
        let from = Authority::parse(format!("{host}:{port}").as_bytes(), None).unwrap();
        self.policy = self.policy.resolve(from, server.address);
        self
    }

    pub(crate) fn rule(mut self, rule: Rule) -> Self {
        self.policy = self.policy.allow(rule);
        self
    }

    pub(crate) fn deny(mut self, host: &str) -> Self {
        self.policy = self.policy.deny(rule(host));
        self
    }

    /// What a look-up of `name` finds. Names not set here have no address.
    pub(crate) fn address(mut self, name: &str, ips: &[&str]) -> Self {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.addresses.insert(name.to_owned(), ips);
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut GateLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn proxy(mut self, server: &Server) -> Self {
        let at = server.address.to_string();
        let at = Authority::parse(at.as_bytes(), None).unwrap();
        self.proxy = Some(UpstreamProxy::new(at, Some(("me", "secret"))).unwrap());
        self
    }

    /// Ends TLS where a rule needs it, and trusts upstream what this authority signed.
    pub(crate) fn intercept(
        mut self,
        upstreams: &palisade_test_support::authority::Authority,
    ) -> Self {
        self.roots = Some(upstreams.pem().to_owned());
        self
    }

    pub(crate) fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// A gate on listeners of its own, on loopback.
    pub(crate) fn start(self) -> TestGate {
        let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (proxy, transparent) = (listener(), listener());
        let dns = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addresses = Addresses {
            proxy: proxy.local_addr().unwrap(),
            transparent: transparent.local_addr().unwrap(),
            dns: dns.local_addr().unwrap(),
        };
        let sockets = vec![
            socket(ListenerKind::Proxy, proxy),
            socket(ListenerKind::Transparent, transparent),
            socket(ListenerKind::DnsV4, dns),
        ];
        let destinations = Arc::new(Destinations::default());
        let original = Arc::clone(&destinations) as Arc<dyn OriginalDestination>;
        self.serve(sockets, original, addresses, destinations)
    }

    /// A gate on these sockets, which tell the original destination themselves.
    pub(crate) fn start_on(self, sockets: Vec<Listener>) -> TestGate {
        self.serve(
            sockets,
            Arc::new(LocalAddress),
            Addresses::NOWHERE,
            Arc::new(Destinations::default()),
        )
    }

    /// A gate on a socket that connections are relayed to, and the socket's path. It lies in `folder`.
    pub(crate) fn start_relay(self, folder: &std::path::Path) -> (TestGate, std::path::PathBuf) {
        let path = folder.join("gate");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let gate = self.serve_endpoint(
            EgressEndpoint::Relay(listener.into()),
            Arc::new(LocalAddress),
            Addresses::NOWHERE,
            Arc::new(Destinations::default()),
        );
        (gate, path)
    }

    fn serve(
        self,
        sockets: Vec<Listener>,
        original_destination: Arc<dyn OriginalDestination>,
        addresses: Addresses,
        destinations: Arc<Destinations>,
    ) -> TestGate {
        let endpoint = EgressEndpoint::Sockets(sockets);
        self.serve_endpoint(endpoint, original_destination, addresses, destinations)
    }

    fn serve_endpoint(
        self,
        endpoint: EgressEndpoint,
        original_destination: Arc<dyn OriginalDestination>,
        addresses: Addresses,
        destinations: Arc<Destinations>,
    ) -> TestGate {
        let sink = Arc::new(MemorySink::default());
        let resolver = Arc::new(FixedNames {
            names: self.addresses,
            asked: Mutex::default(),
        });
        let policy = Arc::new(self.policy.build());
        let (tls, trust) = match self.roots {
            Some(roots) => tls::config(&policy, roots),
            None => (TlsConfig::default(), String::new()),
        };
        let notices = Arc::new(Notices::default());
        let gate = Gate::new(GateConfig {
            policy,
            audit: Arc::clone(&sink) as Arc<dyn palisade_audit::Sink>,
            limits: self.limits,
            tls,
            credentials: self.credentials.unwrap_or_else(Credentials::none),
            notices: Arc::clone(&notices) as Arc<dyn Notice>,
            upstream_proxy: self.proxy,
            resolver: Arc::clone(&resolver) as Arc<dyn Resolve>,
            original_destination,
        });
        let summary = gate.summary();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(gate.serve(endpoint, stopped)).unwrap()
        });
        TestGate {
            addresses,
            sink,
            summary,
            destinations,
            resolver,
            trust,
            notices,
            running: Some((stop, thread)),
        }
    }
}

pub(crate) fn socket(kind: ListenerKind, socket: impl Into<OwnedFd>) -> Listener {
    Listener {
        kind,
        socket: socket.into(),
    }
}

#[derive(Clone, Copy)]
struct Addresses {
    proxy: SocketAddr,
    transparent: SocketAddr,
    dns: SocketAddr,
}

impl Addresses {
    /// Of a gate that is reached in another way.
    const NOWHERE: Self = {
        let nowhere = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
        Self {
            proxy: nowhere,
            transparent: nowhere,
            dns: nowhere,
        }
    };
}

/// A gate that serves until it is stopped or dropped.
pub(crate) struct TestGate {
    addresses: Addresses,
    pub(crate) sink: Arc<MemorySink>,
    pub(crate) summary: SummaryHandle,
    destinations: Arc<Destinations>,
    pub(crate) resolver: Arc<FixedNames>,
    /// Lines to the person.
    pub(crate) notices: Arc<Notices>,
    /// The session's authority, PEM.
    pub(crate) trust: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<Summary>)>,
}

impl TestGate {
    /// Ends the gate and waits for it.
    pub(crate) fn stop(&mut self) -> Summary {
        let (stop, thread) = self.running.take().expect("the gate runs");
        stop.send(()).expect("the gate waits");
        thread.join().expect("the gate did not panic")
    }

    pub(crate) fn dns(&self) -> SocketAddr {
        self.addresses.dns
    }
}

impl Drop for TestGate {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the gate did not panic");
            }
        }
    }
}

/// Original destinations by client address: the client says where it wants to go before it connects.
#[derive(Default)]
pub(crate) struct Destinations(Mutex<HashMap<SocketAddr, SocketAddr>>);

impl Destinations {
    fn set(&self, client: SocketAddr, destination: SocketAddr) {
        self.0.lock().unwrap().insert(client, destination);
    }
}

impl OriginalDestination for Destinations {
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr> {
        let peer = accepted.peer_addr()?;
        let found = self.0.lock().unwrap().remove(&peer);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Names with fixed addresses, and a note of what was asked.
pub(crate) struct FixedNames {
    names: HashMap<String, Vec<std::net::IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl FixedNames {
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for FixedNames {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> ResolveFuture<'a> {
        assert!(name.as_str() != "panics.example", "a resolver that panics");
        self.asked.lock().unwrap().push(name.to_string());
        let found = self.names.get(name.as_str()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }
}
