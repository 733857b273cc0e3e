//! From a permit to a connection: look the name up once, ask about each address, connect to the very address asked about.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use palisade_policy::{Authority, Denial, Host, Permit};
use palisade_tls::{Alpn, Offer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::conn::{Buffer, Conn};
use crate::http::head::Scan;
use crate::http::response::ResponseHead;
use crate::refusal::Failure;
use crate::shared::Shared;
use crate::stream::{ReadAhead, UpstreamStream};
use crate::upstream_proxy::UpstreamProxy;

/// How long one address is tried while there are others: a dead first address should not cost the whole wait.
const NEXT_ADDRESS: Duration = Duration::from_secs(3);

/// A connection to a permitted destination.
pub(crate) struct Upstream {
    pub(crate) conn: Conn<UpstreamStream>,
    /// The address dialled; none where the operator's proxy dials.
    pub(crate) address: Option<IpAddr>,
    /// It has carried a request before.
    pub(crate) reused: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Every address is of a class the rule does not open.
    Denied(Denial),
    /// The network said no.
    Failed(Failure),
}

impl DialError {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Failed(Failure { status: 502, text })
    }

    fn timed_out(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Failed(Failure { status: 504, text })
    }
}

/// Connects to what the permit is for.
pub(crate) async fn dial(shared: &Shared, permit: Permit) -> Result<Upstream, DialError> {
    match timeout(shared.limits.dial_time, dial_any(shared, &permit)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::timed_out(format!(
            "connect to {}: no answer in time",
            permit.authority()
        ))),
    }
}

/// TLS over a connection that has carried nothing yet; the server has to be who was decided.
pub(crate) async fn secure(
    shared: &Shared,
    upstream: Upstream,
    authority: &Authority,
    offer: Offer,
) -> Result<(Upstream, Alpn), DialError> {
    let UpstreamStream::Plain(stream) = upstream.conn.io else {
        return Err(DialError::failed(format!("{authority}: TLS within TLS")));
    };
    let host = authority.host.to_plain_string();
    let stream = ReadAhead::new(Buffer::default(), stream);
    let connecting = shared.connector.connect(stream, &host, offer);
    let connected = timeout(shared.limits.tls_time, connecting).await;
    match connected {
        Ok(Ok((stream, alpn))) => {
            let upstream = Upstream {
                conn: Conn::new(UpstreamStream::Tls(Box::new(stream))),
                address: upstream.address,
                reused: false,
            };
            Ok((upstream, alpn))
        }
        Ok(Err(error)) => Err(DialError::failed(format!("{authority}: {error}"))),
        Err(_) => Err(DialError::timed_out(format!(
            "{authority}: the TLS handshake did not end in time"
        ))),
    }
}

/// A connection that speaks HTTP/1.1, within TLS where `is_secure`.
pub(crate) async fn dial_http1(
    shared: &Shared,
    permit: Permit,
    is_secure: bool,
) -> Result<Upstream, DialError> {
    let authority = permit.authority().clone();
    let upstream = dial(shared, permit).await?;
    if !is_secure {
        return Ok(upstream);
    }
    let offer = Offer {
        http1: true,
        http2: false,
    };
    let (upstream, _) = secure(shared, upstream, &authority, offer).await?;
    Ok(upstream)
}

async fn dial_any(shared: &Shared, permit: &Permit) -> Result<Upstream, DialError> {
    let authority = permit.authority();
    if let Some(address) = permit.mapped() {
        permit.admit(address.ip()).map_err(DialError::Denied)?;
        return connect(shared, authority, &[address]).await;
    }
    if let Host::Ip(ip) = authority.host {
        permit.admit(ip).map_err(DialError::Denied)?;
    }
    if let Some(proxy) = &shared.upstream_proxy {
        return through(shared, proxy, authority).await;
    }
    let found = look_up(shared, &authority.host).await?;
    let mut admitted = Vec::new();
    let mut denied = None;
    for ip in found {
        match permit.admit(ip) {
            Ok(()) => admitted.push(SocketAddr::new(ip, authority.port)),
            Err(denial) => denied = Some(denial),
        }
    }
    match denied {
        Some(denial) if admitted.is_empty() => Err(DialError::Denied(denial)),
        _ => connect(shared, authority, &admitted).await,
    }
}

pub(crate) async fn look_up(shared: &Shared, host: &Host) -> Result<Vec<IpAddr>, DialError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![*ip]),
        Host::Name(name) => name,
    };
    let looked_up = timeout(shared.limits.resolve_time, shared.resolver.resolve(name)).await;
    let result = looked_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match result {
        Ok(found) if found.is_empty() => Err(DialError::failed(format!("{name} has no address"))),
        // An IPv4-mapped address is dialled as the IPv4 address it is, so that what was asked about is what is used.
        Ok(found) => {
            let found = found.into_iter().map(|ip| ip.to_canonical());
            Ok(found.take(shared.limits.addresses).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(DialError::timed_out(
            format!("look up {name}: no answer in time"),
        )),
        Err(error) => Err(DialError::failed(format!("look up {name}: {error}"))),
    }
}

pub(crate) async fn connect(
    shared: &Shared,
    authority: &Authority,
    addresses: &[SocketAddr],
) -> Result<Upstream, DialError> {
    let mut last = DialError::failed(format!("connect to {authority}: no address to try"));
    for (at, address) in addresses.iter().enumerate() {
        let is_last = at + 1 == addresses.len();
        let limit = if is_last {
            shared.limits.connect_time
        } else {
            shared.limits.connect_time.min(NEXT_ADDRESS)
        };
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small messages leave at once; it cannot fail on a connected socket in a way that matters here.
                let _ = stream.set_nodelay(true);
                return Ok(Upstream {
                    conn: Conn::new(UpstreamStream::Plain(stream)),
                    address: Some(address.ip()),
                    reused: false,
                });
            }
            Ok(Err(error)) => {
                last = DialError::failed(format!("connect to {authority} at {address}: {error}"));
            }
            Err(_) => {
                let text = format!("connect to {authority} at {address}: no answer in time");
                last = DialError::timed_out(text);
            }
        }
    }
    Err(last)
}

/// CONNECT through the operator's proxy. It looks names up itself, so only literal addresses can be judged here.
pub(crate) async fn through(
    shared: &Shared,
    proxy: &UpstreamProxy,
    authority: &Authority,
) -> Result<Upstream, DialError> {
    let at = proxy.authority();
    let found = look_up(shared, &at.host).await?;
    let found: Vec<_> = found
        .into_iter()
        .map(|ip| SocketAddr::new(ip, at.port))
        .collect();
    let mut upstream = connect(shared, at, &found).await?;
    upstream.address = authority.host.as_ip();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(value) = proxy.authorization() {
        request.push_str(&format!("proxy-authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    let broken = |what: &str| DialError::failed(format!("upstream proxy {at}: {what}"));
    upstream
        .conn
        .send(request.as_bytes())
        .await
        .map_err(|error| broken(&error.to_string()))?;
    let status = read_status(shared, &mut upstream)
        .await
        .map_err(|error| broken(&error))?;
    if !(200..300).contains(&status) {
        return Err(broken(&format!("refused {authority} with status {status}")));
    }
    if !upstream.conn.input.is_empty() {
        return Err(broken("sent bytes before the tunnel was used"));
    }
    Ok(upstream)
}

async fn read_status(shared: &Shared, upstream: &mut Upstream) -> Result<u16, String> {
    let conn = &mut upstream.conn;
    let mut head = ResponseHead::default();
    let mut scan = Scan::default();
    loop {
        let found = scan.scan(conn.input.bytes(), shared.limits.head_bytes);
        if let Some(end) = found.map_err(|error| error.to_string())? {
            let parsed = head.parse(&conn.input.bytes()[..end], shared.limits.head_fields);
            parsed.map_err(|error| error.to_string())?;
            conn.consume(end);
            return Ok(head.status);
        }
        match conn.fill().await {
            Ok(0) => return Err("closed the connection".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
