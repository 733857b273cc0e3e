//! TLS around the scripted upstreams and the clients, so that both go on speaking plain text.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use palisade_gate::{ConstrainedName, SessionAuthority, TlsConfig};
use palisade_policy::{Host, HostPattern, NetworkPolicy};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Client;

/// What a session would give its gate, and the authority's certificate.
pub(crate) fn config(policy: &NetworkPolicy, roots: String) -> (TlsConfig, String) {
    let names: Vec<_> = policy
        .intercepted()
        .into_iter()
        .map(|pattern| match pattern {
            HostPattern::Exact(Host::Ip(ip)) => ConstrainedName::Address(*ip),
            HostPattern::Exact(Host::Name(name)) | HostPattern::Below(name) => {
                ConstrainedName::Name(name.to_string())
            }
        })
        .collect();
    let authority = SessionAuthority::new("test", &names).unwrap();
    let trust = authority.certificate_pem().to_owned();
    let tls = TlsConfig {
        authority: Some(authority),
        roots: roots.into_bytes(),
    };
    (tls, trust)
}

/// Ends TLS in front of `behind`.
pub(crate) fn front(config: Arc<ServerConfig>, behind: SocketAddr) -> SocketAddr {
    let listener = listen();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(config);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut inside) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut plain = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut inside, &mut plain).await;
                });
            }
        });
    });
    address
}

/// A client of TLS that trusts these roots alone.
pub(crate) fn trusting(trust: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(trust.as_bytes()).filter_map(Result::ok),
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Client {
    /// TLS within this stream, to a host of this name, trusting `trust` alone. Also says which protocol was agreed upon.
    pub(crate) fn secure(
        self,
        trust: &str,
        name: &str,
        protocols: &[&str],
    ) -> Result<(Self, Option<String>), String> {
        let mut config = trusting(trust);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = self.stream;
        let listener = listen();
        let own = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (report, agreed) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            run(async move {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let connector = TlsConnector::from(Arc::new(config));
                let mut inside = match connector.connect(name, stream).await {
                    Ok(inside) => inside,
                    Err(error) => return report.send(Err(error.to_string())).unwrap(),
                };
                let protocol = inside.get_ref().1.alpn_protocol();
                let protocol = protocol.map(|name| String::from_utf8_lossy(name).into_owned());
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (mut plain, _) = listener.accept().await.unwrap();
                report.send(Ok(protocol)).unwrap();
                let _ = copy_bidirectional(&mut plain, &mut inside).await;
            });
        });
        let protocol = agreed.recv().unwrap()?;
        Ok((Self::new(own), protocol))
    }
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn run(task: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(task);
}
