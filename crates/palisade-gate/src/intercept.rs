//! Interception: the agent's TLS ends here, and each request inside is judged like any other.
//!
//! The agent is offered what the server speaks, never more: a gate that offers HTTP/2 for a server that knows only
//! HTTP/1.1 breaks the clients that take it. So where a client could speak both, the server is asked first.

use std::io;
use std::sync::Arc;

use palisade_audit::Entry;
use palisade_policy::{Authority, DenialReason, Permit};
use palisade_tls::{AcceptError, Alpn, Interceptor, Offer, ServerStream};
use tokio::time::timeout;

use crate::authorize::authorize;
use crate::client_hello::Hello;
use crate::conn::{Conn, Stream};
use crate::dial::{Upstream, dial, secure};
use crate::http::serve::{Requests, Way};
use crate::http2;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::stream::ReadAhead;
use crate::tunnel::refuse_tls;
use crate::watch::Watch;

/// A connection whose ClientHello was read (it stands in `conn.input`) and names the host that was decided.
pub(crate) struct Intercepted<S> {
    pub(crate) conn: Conn<S>,
    pub(crate) watch: Watch,
    pub(crate) hello: Hello,
    pub(crate) authority: Authority,
    pub(crate) entry: Entry,
    pub(crate) reach: Reach,
    pub(crate) ticket: Ticket,
}

/// How far the way to the server has come.
pub(crate) enum Reach {
    /// It may be dialled.
    Permitted(Permit),
    /// It is dialled, in clear text so far.
    Dialled(Upstream),
    /// A connection is kept already.
    Kept,
}

/// Serves it to its end.
pub(crate) async fn intercept<S: Stream>(shared: &Arc<Shared>, at: Intercepted<S>) {
    let Intercepted {
        conn,
        watch,
        hello,
        authority,
        entry,
        reach,
        mut ticket,
    } = at;
    let Some(interceptor) = shared.interceptor.clone() else {
        let detail = "this session has no certificate authority";
        let refusal = Refusal::of(&authority, DenialReason::Protocol).with_detail(detail);
        return refuse_tls(conn, watch, shared, ticket, &refusal).await;
    };
    if hello.alpn.is_some_and(|offer| offer == Offer::NONE) {
        let detail = "the ClientHello offers neither HTTP/1.1 nor HTTP/2";
        let refusal = Refusal::of(&authority, DenialReason::Protocol).with_detail(detail);
        return refuse_tls(conn, watch, shared, ticket, &refusal).await;
    }
    let host = authority.host.to_plain_string();
    let accepted = accept(
        shared,
        &interceptor,
        conn,
        &host,
        (&hello, &authority, reach),
    )
    .await;
    match accepted {
        Ok((stream, Alpn::Http1)) => {
            let way = Way::Fixed {
                authority,
                entry,
                secure: true,
            };
            Requests::new(shared, Conn::new(stream), way).serve().await;
        }
        Ok((stream, Alpn::Http2)) => {
            http2::serve(shared, stream, authority, entry).await;
        }
        Err(error @ AcceptError::Distrusted(_)) => {
            ticket.refused(&distrusted(&authority, &error));
        }
        Err(error) => ticket.failed(format!("downstream: {error}")),
    }
    ticket.end();
}

/// Ends the client's TLS with what the server speaks. A server that cannot be reached is no reason to fail here: the
/// requests inside will find that out again, and can be answered with it.
async fn accept<S: Stream>(
    shared: &Arc<Shared>,
    interceptor: &Interceptor,
    conn: Conn<S>,
    host: &str,
    (hello, authority, reach): (&Hello, &Authority, Reach),
) -> Result<(ServerStream<ReadAhead<S>>, Alpn), AcceptError> {
    let stream = ReadAhead::new(conn.input, conn.io);
    let offered = hello.alpn.unwrap_or(Offer::NONE);
    let known = if offered.http2 {
        shared.protocols.get(authority)
    } else {
        // Nothing has to be learned: it is the only thing that both can speak.
        Some(Alpn::Http1)
    };
    let (known, reach) = match known {
        Some(known) => (Some(known), Some(reach)),
        None => (learn(shared, authority, offered, reach).await, None),
    };
    let accept = interceptor.accept(stream, host, offer(known, offered));
    let accept = timeout(shared.limits.tls_time, accept);
    let (_, accepted) = tokio::join!(prepare(shared, authority, known, reach), accept);
    accepted.unwrap_or_else(|_| Err(AcceptError::Handshake(io::ErrorKind::TimedOut.into())))
}

/// What the client is offered, of what it offers itself.
fn offer(known: Option<Alpn>, offered: Offer) -> Offer {
    match known {
        Some(Alpn::Http2) => Offer {
            http1: false,
            ..offered
        },
        Some(Alpn::Http1) if offered.http1 || !offered.http2 => Offer {
            http2: false,
            ..offered
        },
        // The server is out of reach, or speaks nothing the client does: what the client prefers can carry the news.
        _ => offered,
    }
}

/// Asks the server for what it speaks, and keeps the connection for the first request.
async fn learn(
    shared: &Arc<Shared>,
    authority: &Authority,
    offered: Offer,
    reach: Reach,
) -> Option<Alpn> {
    let upstream = match reach {
        Reach::Dialled(upstream) => upstream,
        Reach::Permitted(permit) => dial(shared, permit).await.ok()?,
        Reach::Kept => {
            let permit = authorize(shared, authority).ok()?;
            dial(shared, permit).await.ok()?
        }
    };
    let (upstream, alpn) = secure(shared, upstream, authority, offered).await.ok()?;
    // A server that was asked for HTTP/2 alone may prefer HTTP/1.1, but speaks HTTP/2 if it says so.
    if offered.http1 || alpn == Alpn::Http2 {
        shared.protocols.put(authority, alpn);
    }
    keep(shared, authority, upstream, alpn);
    Some(alpn)
}

/// Secures a connection that was dialled for the tunnel, so that the first request finds it.
async fn prepare(
    shared: &Arc<Shared>,
    authority: &Authority,
    known: Option<Alpn>,
    reach: Option<Reach>,
) {
    let (Some(known), Some(Reach::Dialled(upstream))) = (known, reach) else {
        return;
    };
    let offer = Offer {
        http1: known == Alpn::Http1,
        http2: known == Alpn::Http2,
    };
    // A failure is met again by the first request, which can be answered with it.
    if let Ok((upstream, alpn)) = secure(shared, upstream, authority, offer).await {
        keep(shared, authority, upstream, alpn);
    }
}

fn keep(shared: &Arc<Shared>, authority: &Authority, upstream: Upstream, alpn: Alpn) {
    match alpn {
        Alpn::Http1 => shared.pool.put(authority, true, upstream),
        Alpn::Http2 => http2::keep(shared, authority, upstream),
    }
}

fn distrusted(authority: &Authority, error: &AcceptError) -> Refusal {
    let detail = format!(
        "{error}; a client that knows only its own roots needs `intercept = false` in the rule for {}",
        authority.host
    );
    Refusal::of(authority, DenialReason::Distrusted).with_detail(detail)
}
