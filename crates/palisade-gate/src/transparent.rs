//! Connections caught on their way elsewhere: the client believes it speaks to its destination.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::Entry;
use palisade_policy::{Authority, Host, Inspection, Permit};

use crate::authorize::{authorize, meant};
use crate::client_hello::{Hello, RECORD_HANDSHAKE};
use crate::conn::{Conn, Stream};
use crate::dial::{DialError, dial};
use crate::dns;
use crate::http::serve::{Requests, Way};
use crate::intercept::{Intercepted, Reach, intercept};
use crate::opening::{Opening, check_name, opening};
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::tunnel::{pass, refusal_of, refuse_opening, refuse_tls};
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
    let original = Authority {
        host: Host::from(original.ip()),
        port: original.port(),
    };
    let authority = meant(&shared, original);
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

async fn permitted<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    authority: Authority,
    permit: Permit,
    mut ticket: Ticket,
) {
    let mut watch = Watch::default();
    let inspection = permit.inspection();
    if inspection == Inspection::Raw {
        return dial_and_pass(shared, conn, &authority, permit, ticket).await;
    }
    let limits = &shared.limits;
    match opening(&mut conn, &mut watch, limits, limits.hello_time).await {
        Opening::Http => {
            // Its requests have events of their own.
            ticket.dismiss();
            requests(shared, conn, authority).await;
        }
        Opening::Tls(hello) => match check_name(&hello, &authority, inspection) {
            Ok(()) if inspection == Inspection::Intercept => {
                let at = Intercepted {
                    conn,
                    watch,
                    hello,
                    authority,
                    entry: Entry::Transparent,
                    reach: Reach::Permitted(permit),
                    ticket,
                };
                intercept(shared, at).await;
            }
            Ok(()) => dial_and_pass(shared, conn, &authority, permit, ticket).await,
            Err(refusal) => {
                refuse_tls(conn, watch, shared, ticket, &refusal).await;
            }
        },
        Opening::Ended => {
            ticket.failed("downstream: ended before its first byte");
            ticket.end();
        }
        other => {
            let refusal = refusal_of(&other, &authority);
            refuse_opening(conn, watch, shared, ticket, (&other, &refusal)).await;
        }
    }
}

async fn requests<S: Stream>(shared: &Arc<Shared>, conn: Conn<S>, authority: Authority) {
    let way = Way::Fixed {
        authority,
        entry: Entry::Transparent,
        secure: false,
    };
    Requests::new(shared, conn, way).serve().await;
}

async fn dial_and_pass<S: Stream>(
    shared: &Arc<Shared>,
    conn: Conn<S>,
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
            if conn.input.bytes().first() == Some(&RECORD_HANDSHAKE) {
                return refuse_tls(conn, Watch::default(), shared, ticket, &refusal).await;
            }
            ticket.refused(&refusal);
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
            requests(shared, conn, authority).await;
        }
        other => {
            if let Opening::Tls(Hello {
                name: Some(name), ..
            }) = &other
            {
                ticket.failed(format!("the ClientHello names {name}"));
            }
            refuse_opening(conn, watch, shared, ticket, (&other, refusal)).await;
        }
    }
}
