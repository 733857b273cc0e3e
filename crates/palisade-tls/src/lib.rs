//! TLS of the gate: the session's own authority, certificates for the hosts it looks inside, and verified connections
//! to servers.
//!
//! ```text
//!   agent ── ClientHello ──▶ Interceptor::accept ──▶ ServerStream     (leaf minted by SessionAuthority, cached)
//!   server ◀── ClientHello ── Connector::connect ──▶ ClientStream     (system roots and the operator's, always verified)
//! ```
//!
//! What holds:
//! * One authority a session. Its key is made here, never leaves memory and is not to be had from outside this crate.
//! * The authority can sign for the hosts it was made for and for nothing else: a name constraint says so, so that a
//!   client checks it too.
//! * A server's certificate is always verified. There is no switch that turns it off.
//! * No early data on either side, and tickets that are good for one session alone.
//!
//! Non-goals: no policy, no sockets of its own, no files. No other crate names rustls or rcgen.
#![forbid(unsafe_code)]

mod accept;
mod alpn;
mod authority;
mod connect;
mod suites;

pub use accept::{AcceptError, Interceptor, ServerStream};
pub use alpn::{Alpn, Offer};
pub use authority::{AuthorityError, ConstrainedName, SessionAuthority};
pub use connect::{ClientStream, ConnectError, Connector, RootsError};
