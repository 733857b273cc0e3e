//! The first bytes of a connection whose destination is known: TLS, HTTP, or neither.

use std::time::Duration;

use palisade_policy::{Authority, DenialReason, Host, Inspection};

use crate::client_hello::{Hello, HelloError, HelloReader, RECORD_HANDSHAKE};
use crate::conn::{Conn, Stream};
use crate::limits::GateLimits;
use crate::refusal::Refusal;
use crate::watch::Watch;

/// How a client opens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With a complete ClientHello.
    Tls(Hello),
    /// With what begins as TLS but is no ClientHello.
    BadTls(HelloError),
    /// With a letter, as HTTP does; the strict parser judges the rest, and its answer shows the reason even to a
    /// client of another protocol.
    Http,
    /// With something else.
    Other,
    /// Not at all, or not completely, in time.
    Silent,
    /// By ending the connection.
    Ended,
}

/// Reads as much as is needed to know. The bytes stay in `conn.input`.
pub(crate) async fn opening<S: Stream>(
    conn: &mut Conn<S>,
    watch: &mut Watch,
    limits: &GateLimits,
    limit: Duration,
) -> Opening {
    let mut reader = HelloReader::default();
    let read = async {
        loop {
            match conn.input.bytes().first() {
                Some(&RECORD_HANDSHAKE) => {
                    match reader.read(conn.input.bytes(), limits.hello_bytes) {
                        Ok(Some(hello)) => return Opening::Tls(hello),
                        Ok(None) => {}
                        Err(error) => return Opening::BadTls(error),
                    }
                }
                Some(b'A'..=b'Z' | b'a'..=b'z') => return Opening::Http,
                Some(_) => return Opening::Other,
                None => {}
            }
            if !matches!(conn.fill().await, Ok(1..)) {
                return Opening::Ended;
            }
        }
    };
    watch.within(limit, read).await.unwrap_or(Opening::Silent)
}

/// The hello has to name the host that was decided upon (D22). For a literal address there is nothing to name
/// (RFC 6066 section 3 knows only names), so a name would mean another place than the one that was decided.
#[allow(
    clippy::result_large_err,
    reason = "a refusal is built once and sent at once"
)]
pub(crate) fn check_name(
    hello: &Hello,
    authority: &Authority,
    inspection: Inspection,
) -> Result<(), Refusal> {
    let refuse = |reason, detail: String| Err(Refusal::of(authority, reason).with_detail(detail));
    // Where TLS ends at the gate nobody reads an inner hello, so a browser's grease does no harm.
    if hello.encrypted && inspection != Inspection::Intercept {
        return refuse(DenialReason::NoServerName, "encrypted ClientHello".into());
    }
    match (&hello.name, &authority.host) {
        (Some(name), Host::Name(decided)) if name == decided => Ok(()),
        (Some(name), _) => refuse(
            DenialReason::HostMismatch,
            format!("the ClientHello names {name}"),
        ),
        (None, Host::Ip(_)) => Ok(()),
        (None, Host::Name(_)) => refuse(DenialReason::NoServerName, "no server name".into()),
    }
}
