//! How a permitted name becomes addresses.

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use palisade_policy::DnsName;
use tokio::sync::Semaphore;

use crate::limits::GateLimits;

/// A look-up under way.
pub type ResolveFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Looks names up. The gate asks only for names the policy permits, once for each upstream connection.
pub trait Resolve: Send + Sync {
    /// The addresses of the name, in the order they should be tried.
    fn resolve<'a>(&'a self, name: &'a DnsName) -> ResolveFuture<'a>;
}

/// The machine's own resolver (`getaddrinfo`), so that `/etc/hosts` and the like mean what they mean to the operator.
pub struct SystemResolver {
    slots: Arc<Semaphore>,
    limit: Duration,
}

impl SystemResolver {
    /// A resolver within these limits.
    pub fn new(limits: &GateLimits) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.resolve_at_once)),
            limit: limits.resolve_time,
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> ResolveFuture<'a> {
        Box::pin(async move {
            let look_up = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                let slot = slot.map_err(io::Error::other)?;
                let name = name.as_str().to_owned();
                // The slot goes into the thread: `getaddrinfo` cannot be cancelled, so a look-up that timed out here
                // still counts until it ends.
                let task = tokio::task::spawn_blocking(move || {
                    let _slot = slot;
                    (name.as_str(), 0).to_socket_addrs()
                });
                let found = task.await.map_err(io::Error::other)??;
                Ok(found.map(|address| address.ip()).collect())
            };
            match tokio::time::timeout(self.limit, look_up).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}
