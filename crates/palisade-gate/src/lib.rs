//! The egress proxy: the only way out of the boundary.
//!
//! The gate is given listening sockets that live inside the boundary and serves them from outside: HTTP forward,
//! CONNECT and SOCKS on the proxy listener, every caught TCP connection on the transparent one, DNS on the UDP ones.
//! It decides each request by the policy, forwards what is permitted, refuses the rest with its reason, and records
//! every request in exactly one audit event.
//!
//! ```text
//!   inside                        the gate                                     outside
//!   ──────▶ listen ─▶ detect ─▶ authorize ─▶ (dial: resolve, admit, connect) ─▶ forward ──────▶
//!                        │          │ denied                                       │
//!                        │          └────────────────▶ refuse                      │
//!                        └── DNS: a synthetic address a name      record ◀─────────┘
//! ```
//!
//! What holds, and is tested in `tests/`:
//! * Bytes become a destination in one place (`palisade_policy::Authority`), and that value alone is used for the
//!   decision, the look-up, the dial, the server name check, the `Host` header and the audit event.
//! * No address is dialled that `Permit::admit` has not seen; there is no second look-up.
//! * No name is resolved before the policy permits it, and no DNS query leaves the machine for the agent.
//! * Requests and responses are rebuilt from parsed parts; bytes are never passed on unread but in a tunnel.
//! * A gate that cannot write its audit log refuses everything.
//!
//! Non-goals: the gate knows nothing of how the agent is isolated, ends no TLS, and reads no environment or file.
#![forbid(unsafe_code)]

mod authorize;
mod client_hello;
mod config;
mod conn;
mod connect;
mod copy;
mod credential;
mod detect;
mod dial;
mod dns;
mod fetch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod http;
mod http2;
mod intercept;
mod limits;
mod listen;
mod opening;
mod pool;
mod protocols;
mod record;
mod refusal;
mod relay;
mod resolve;
mod shared;
mod socks;
mod stream;
mod summary;
mod transparent;
mod tunnel;
mod upstream_proxy;
mod watch;

pub use config::{GateConfig, LocalAddress, OriginalDestination, TlsConfig};
pub use credential::{Notice, Unheard};
pub use gate::{Gate, ServeError};
pub use limits::GateLimits;
pub use palisade_tls::{AuthorityError, ConstrainedName, Interceptor, Offer, SessionAuthority};
pub use resolve::{Resolve, ResolveFuture, SystemResolver};
pub use summary::{DeniedHost, Summary, SummaryHandle};
pub use upstream_proxy::{UpstreamProxy, UpstreamProxyError};
