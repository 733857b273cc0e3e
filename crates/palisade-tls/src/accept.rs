//! The server side: TLS of the agent's clients, ended here with a certificate of the session's authority.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::alpn::{Alpn, Offer, agreed};
use crate::authority::{AuthorityError, SessionAuthority};
use crate::suites;

/// A connection of the agent whose TLS ends here.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// A leaf is minted anew after this time, well within its life.
const MINT_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Why a client's TLS could not be ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The client does not trust the session's authority.
    #[error("the client does not trust the session's certificate authority ({0})")]
    Distrusted(&'static str),
    /// The handshake failed otherwise.
    #[error("TLS handshake with the client: {0}")]
    Handshake(#[source] io::Error),
    /// No certificate could be made.
    #[error(transparent)]
    Mint(#[from] AuthorityError),
    /// The TLS library refused its own settings.
    #[error("set TLS up: {0}")]
    Setup(#[source] rustls::Error),
}

/// Ends TLS for the hosts of one session.
pub struct Interceptor {
    authority: SessionAuthority,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    leaves: Cache<(Box<str>, Offer), Leaf>,
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    minted: Instant,
}

impl Interceptor {
    /// Keeps up to `leaves` certificates; the least used go first.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(authority: SessionAuthority, leaves: usize) -> Result<Self, AcceptError> {
        Ok(Self {
            authority,
            provider: Arc::new(suites::provider()),
            tickets: Ticketer::new().map_err(AcceptError::Setup)?,
            leaves: Cache::new(leaves),
        })
    }

    /// Ends the TLS of a client that connected to `host` (an A-label name or an address), offering these protocols.
    ///
    /// # Errors
    /// The client does not trust the session's authority, or speaks no TLS that is safe today.
    pub async fn accept<S>(
        &self,
        stream: S,
        host: &str,
        offer: Offer,
    ) -> Result<(ServerStream<S>, Alpn), AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config(host, offer)?;
        let stream = TlsAcceptor::from(config)
            .accept(stream)
            .await
            .map_err(refused)?;
        let alpn = agreed(stream.get_ref().1.alpn_protocol());
        Ok((stream, alpn))
    }

    /// Certificates kept at this moment.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    fn config(&self, host: &str, offer: Offer) -> Result<Arc<ServerConfig>, AcceptError> {
        let key = (Box::from(host), offer);
        if let Some(leaf) = self.leaves.get(&key)
            && leaf.minted.elapsed() < MINT_AGAIN
        {
            return Ok(leaf.config);
        }
        let certified = self.authority.mint(host)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(AcceptError::Setup)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = offer.names();
        config.ignore_client_order = true;
        config.ticketer = Arc::clone(&self.tickets);
        // One ticket is what a client that reconnects needs; a second one costs a record.
        config.send_tls13_tickets = 1;
        // Replayed requests would be made twice (RFC 8446 section 8).
        config.max_early_data_size = 0;
        let config = Arc::new(config);
        let minted = Instant::now();
        self.leaves.insert(
            key,
            Leaf {
                config: Arc::clone(&config),
                minted,
            },
        );
        Ok(config)
    }
}

fn refused(error: io::Error) -> AcceptError {
    let alert = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .and_then(|error| match error {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        });
    match alert {
        Some(AlertDescription::UnknownCA) => AcceptError::Distrusted("unknown_ca"),
        Some(AlertDescription::BadCertificate) => AcceptError::Distrusted("bad_certificate"),
        Some(AlertDescription::CertificateUnknown) => {
            AcceptError::Distrusted("certificate_unknown")
        }
        _ => AcceptError::Handshake(error),
    }
}
