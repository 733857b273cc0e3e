//! The client side: TLS to servers, always verified.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::alpn::{Alpn, Offer, agreed};
use crate::suites;

/// A connection to a server, verified.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<S>;

/// Sessions kept for resumption. Each is about 2 KiB; an agent talks to a handful of hosts.
const KEPT_SESSIONS: usize = 256;

/// Why roots cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// There is no certificate among them that can be used.
    #[error("there are no root certificates to verify servers with")]
    None,
    /// The TLS library refused its own settings.
    #[error("set TLS up")]
    Setup,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's certificate is not to be trusted, or not for this host.
    #[error("the server's certificate is refused: {0}")]
    Certificate(String),
    /// The handshake failed otherwise.
    #[error("TLS handshake: {0}")]
    Handshake(#[source] io::Error),
    /// The name cannot stand in a ClientHello.
    #[error("the host cannot be named in TLS")]
    Name,
    /// There is nothing to verify with.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Connects to servers of one session.
pub struct Connector {
    roots: Vec<u8>,
    configs: OnceLock<Result<Configs, RootsError>>,
}

struct Configs {
    plain: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    both: Arc<ClientConfig>,
}

impl Connector {
    /// A connector that trusts the certificates in this PEM text. They are read when the first connection is made.
    pub fn new(roots: Vec<u8>) -> Self {
        Self {
            roots,
            configs: OnceLock::new(),
        }
    }

    /// TLS to `host` (an A-label name or an address) over this stream.
    ///
    /// # Errors
    /// The server is not who it should be, or speaks no TLS that is safe today.
    pub async fn connect<S>(
        &self,
        stream: S,
        host: &str,
        offer: Offer,
    ) -> Result<(ClientStream<S>, Alpn), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self
            .configs
            .get_or_init(|| Configs::new(&self.roots))
            .as_ref()
            .map_err(|error| *error)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Name)?;
        let connector = TlsConnector::from(Arc::clone(configs.offering(offer)));
        let stream = connector.connect(name, stream).await.map_err(refused)?;
        let alpn = agreed(stream.get_ref().1.alpn_protocol());
        Ok((stream, alpn))
    }
}

impl Configs {
    fn new(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        // A bundle may hold a certificate that is too old or too new to be read: the others are no worse for it.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(RootsError::None);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(suites::provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| RootsError::Setup)?;
        let mut plain = builder.with_root_certificates(roots).with_no_client_auth();
        plain.resumption = Resumption::in_memory_sessions(KEPT_SESSIONS);
        let offering = |http1, http2| {
            let mut config = plain.clone();
            config.alpn_protocols = Offer { http1, http2 }.names();
            Arc::new(config)
        };
        Ok(Self {
            http1: offering(true, false),
            http2: offering(false, true),
            both: offering(true, true),
            plain: Arc::new(plain),
        })
    }

    fn offering(&self, offer: Offer) -> &Arc<ClientConfig> {
        match (offer.http1, offer.http2) {
            (false, false) => &self.plain,
            (true, false) => &self.http1,
            (false, true) => &self.http2,
            (true, true) => &self.both,
        }
    }
}

fn refused(error: io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => ConnectError::Certificate(format!("{why}")),
        _ => ConnectError::Handshake(error),
    }
}
