//! What a gate is made from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use palisade_audit::Sink;
use palisade_credential::Credentials;
use palisade_policy::NetworkPolicy;
use palisade_tls::SessionAuthority;
use tokio::net::TcpStream;

use crate::credential::{Notice, Unheard};
use crate::limits::GateLimits;
use crate::resolve::{Resolve, SystemResolver};
use crate::upstream_proxy::UpstreamProxy;

/// What a gate is made from.
pub struct GateConfig {
    /// What is permitted.
    pub policy: Arc<NetworkPolicy>,
    /// Where each request is recorded.
    pub audit: Arc<dyn Sink>,
    /// What TLS is ended and verified with.
    pub tls: TlsConfig,
    /// What requests are given that rules add a credential to.
    pub credentials: Credentials,
    /// Who is told what the person should know at once.
    pub notices: Arc<dyn Notice>,
    /// The bounds.
    pub limits: GateLimits,
    /// A proxy of the operator's that everything has to go through.
    pub upstream_proxy: Option<UpstreamProxy>,
    /// How permitted names become addresses.
    pub resolver: Arc<dyn Resolve>,
    /// How a caught connection tells where it was going.
    pub original_destination: Arc<dyn OriginalDestination>,
}

impl GateConfig {
    /// A gate with the default limits, the system's resolver and no upstream proxy.
    pub fn new(policy: Arc<NetworkPolicy>, audit: Arc<dyn Sink>) -> Self {
        let limits = GateLimits::default();
        Self {
            policy,
            audit,
            tls: TlsConfig::default(),
            credentials: Credentials::none(),
            notices: Arc::new(Unheard),
            upstream_proxy: None,
            resolver: Arc::new(SystemResolver::new(&limits)),
            limits,
            original_destination: Arc::new(LocalAddress),
        }
    }
}

/// What the gate ends and verifies TLS with.
#[derive(Default)]
pub struct TlsConfig {
    /// The session's own authority. Without it no TLS can be ended: what a rule would look into is refused.
    pub authority: Option<SessionAuthority>,
    /// The certificates, PEM, that servers are verified with.
    pub roots: Vec<u8>,
}

/// Where a connection caught by the transparent listener was going.
pub trait OriginalDestination: Send + Sync {
    /// The address and port the agent connected to.
    ///
    /// # Errors
    /// The kernel does not tell; the connection is then closed.
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr>;
}

/// The accepted socket's own address: right for TPROXY and for listeners that own every address (`local 0.0.0.0/0`).
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalAddress;

impl OriginalDestination for LocalAddress {
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr> {
        accepted.local_addr()
    }
}
