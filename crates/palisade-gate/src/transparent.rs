//! Connections caught on their way elsewhere: the client believes it speaks to its destination.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::Entry;
use palisade_policy::{Authority, Host, Permit, Protocol};

use crate::authorize::authorize;
use crate::conn::{Conn, Stream};
use crate::dial::{DialError, dial};
use crate::dns;
use crate::http::serve::{Requests, Way};
use crate::opening::{Opening, check_name, opening};
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::tunnel::{pass, refusal_of, refuse_tls};
use crate::watch::Watch;

/// How long a refused client is listened to, so that the refusal can be told in its own protocol.
const DENIED_OPENING: Duration = Duration::from_secs(1);
/// TCP port of DNS.
const DNS_PORT: u16 = 53;

/// Serves one caught connection, which went to `original`.
pub(crate) async fn serve_transparent<S: Stream>(
    shared: Arc<Shared>,
    conn: Conn<S>,
    original: SocketAddr,
) {
    if original.port() == DNS_PORT {
        return dns::tcp::serve(&shared, conn).await;
    }
    let authority = destination(&shared, original);
    let mut ticket = Ticket::new(&shared, Entry::Transparent, Instant::now());
    ticket.destination(&authority);
    match authorize(&shared, &authority) {
        Ok(permit) => {
            ticket.permitted(&permit);
            permitted(&shared, conn, authority, permit, ticket).await;
        }
        Err(refusal) => denied(&shared, conn, authority, &refusal, ticket).await,
    }
}

/// The name our DNS gave this address for, or the address itself: one that an agent typed in by hand is just that.
fn destination(shared: &Shared, original: SocketAddr) -> Authority {
    let ip: IpAddr = original.ip().to_canonical();
    let host = match shared.names.name_of(ip) {
        Some(name) => Host::Name(name),
        None => Host::from(ip),
    };
    Authority {
        host,
        port: original.port(),
    }
}

async fn permitted<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    authority: Authority,
    permit: Permit,
    mut ticket: Ticket,
) {
    let mut watch = Watch::default();
    if permit.protocol() == Protocol::Tcp {
        return dial_and_pass(shared, conn, &authority, permit, ticket).await;
    }
    let limits = &shared.limits;
    match opening(&mut conn, &mut watch, limits, limits.hello_time).await {
        Opening::Http => {
            // Its requests have events of their own.
            ticket.dismiss();
            let way = Way::Fixed(authority, Entry::Transparent);
            Requests::new(shared, conn, way).serve().await;
        }
        Opening::Tls(hello) => match check_name(&hello, &authority) {
            Ok(()) => dial_and_pass(shared, conn, &authority, permit, ticket).await,
            Err(refusal) => {
                refuse_tls(&mut conn, &mut watch, shared, &refusal).await;
                ticket.refused(&refusal);
                ticket.end();
            }
        },
        Opening::Ended => {
            ticket.failed("downstream: ended before its first byte");
            ticket.end();
        }
        other => {
            let refusal = refusal_of(&other, &authority);
            if matches!(other, Opening::BadTls(_)) {
                refuse_tls(&mut conn, &mut watch, shared, &refusal).await;
            }
            ticket.refused(&refusal);
            ticket.end();
        }
    }
}

async fn dial_and_pass<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    authority: &Authority,
    permit: Permit,
    mut ticket: Ticket,
) {
    let base = conn.tally();
    let upstream = match dial(shared, permit).await {
        Ok(upstream) => upstream,
        Err(DialError::Failed(failure)) => {
            ticket.failed(failure.text);
            return ticket.end();
        }
        Err(DialError::Denied(denial)) => {
            let refusal = Refusal::new(authority, denial);
            ticket.refused(&refusal);
            if conn.input.bytes().first() == Some(&crate::client_hello::RECORD_HANDSHAKE) {
                refuse_tls(&mut conn, &mut Watch::default(), shared, &refusal).await;
            }
            return ticket.end();
        }
    };
    pass(shared, conn, upstream, ticket, base).await;
}

/// Says no in the client's own protocol, if it speaks within a moment.
async fn denied<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    authority: Authority,
    refusal: &Refusal,
    mut ticket: Ticket,
) {
    let mut watch = Watch::default();
    let limit = DENIED_OPENING.min(shared.limits.hello_time);
    match opening(&mut conn, &mut watch, &shared.limits, limit).await {
        // Each request is decided again, refused for the same reason, and recorded with its method and path.
        Opening::Http => {
            ticket.dismiss();
            let way = Way::Fixed(authority, Entry::Transparent);
            Requests::new(shared, conn, way).serve().await;
        }
        Opening::Tls(hello) => {
            if let Some(name) = hello.name {
                ticket.failed(format!("the ClientHello names {name}"));
            }
            ticket.refused(refusal);
            refuse_tls(&mut conn, &mut watch, shared, refusal).await;
            ticket.end();
        }
        _ => {
            ticket.refused(refusal);
            ticket.end();
        }
    }
}
