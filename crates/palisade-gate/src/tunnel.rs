//! A tunnel that has been asked for and dialled: what goes through it is checked before any byte leaves.

use std::sync::Arc;

use palisade_audit::Entry;
use palisade_policy::{Authority, DenialReason, Protocol};

use crate::conn::{Conn, Stream};
use crate::copy::copy;
use crate::dial::Upstream;
use crate::http::serve::{Requests, Way, linger};
use crate::opening::{Opening, check_name, opening};
use crate::record::{Tally, Ticket};
use crate::refusal::{Refusal, TLS_ACCESS_DENIED, TLS_UNRECOGNIZED_NAME};
use crate::shared::Shared;
use crate::watch::Watch;

/// Carries a tunnel to its end. The agent has been told that it stands.
pub(crate) async fn run<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    upstream: Upstream,
    to: (Authority, Protocol),
    entry: Entry,
    mut ticket: Ticket,
) {
    let (authority, protocol) = to;
    let mut watch = Watch::default();
    let base = conn.tally();
    if protocol == Protocol::Tcp {
        return pass(shared, conn, upstream, ticket, base).await;
    }
    let limits = &shared.limits;
    match opening(&mut conn, &mut watch, limits, limits.hello_time).await {
        Opening::Tls(hello) => match check_name(&hello, &authority) {
            Ok(()) => pass(shared, conn, upstream, ticket, base).await,
            Err(refusal) => {
                refuse_tls(conn, watch, shared, ticket, &refusal).await;
            }
        },
        Opening::Http => {
            // The inner requests are judged one by one, as any plain request to this host; the connection made for
            // the tunnel waits for the first of them in the pool. Each has its own event, the tunnel keeps its own.
            shared.pool.put(&authority, upstream);
            Requests::new(shared, conn, Way::Fixed(authority, entry))
                .serve()
                .await;
            ticket.end();
        }
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

/// Bytes both ways until the end.
pub(crate) async fn pass<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    mut upstream: Upstream,
    mut ticket: Ticket,
    base: Tally,
) {
    ticket.address = upstream.address;
    let mut watch = Watch::default();
    let (down, up) = (&mut conn, &mut upstream.conn);
    let result = copy(
        down,
        up,
        &mut watch,
        &shared.limits,
        &mut ticket.tally,
        base,
    )
    .await;
    if let Err(error) = result {
        ticket.failed(error);
    }
    ticket.end();
}

/// The refusal of an opening that is neither HTTP nor good TLS.
pub(crate) fn refusal_of(opening: &Opening, authority: &Authority) -> Refusal {
    match opening {
        Opening::BadTls(error) => {
            Refusal::of(authority, DenialReason::BadRequest).with_detail(error.to_string())
        }
        Opening::Silent => {
            Refusal::of(authority, DenialReason::NotTls).with_detail("nothing was sent in time")
        }
        _ => Refusal::of(authority, DenialReason::NotTls),
    }
}

/// Refuses a connection that opened like this.
pub(crate) async fn refuse_opening<S: Stream>(
    conn: Conn<S>,
    watch: Watch,
    shared: &Shared,
    mut ticket: Ticket,
    (opening, refusal): (&Opening, &Refusal),
) {
    if matches!(opening, Opening::Tls(_) | Opening::BadTls(_)) {
        return refuse_tls(conn, watch, shared, ticket, refusal).await;
    }
    ticket.refused(refusal);
    ticket.end();
}

/// A TLS client shows an alert where it would show nothing of a connection that is just closed.
pub(crate) async fn refuse_tls<S: Stream>(
    mut conn: Conn<S>,
    mut watch: Watch,
    shared: &Shared,
    mut ticket: Ticket,
    refusal: &Refusal,
) {
    let alert = match refusal.reason {
        DenialReason::HostMismatch | DenialReason::NoServerName => &TLS_UNRECOGNIZED_NAME,
        _ => &TLS_ACCESS_DENIED,
    };
    let sent = watch.within(shared.limits.stall, conn.send(alert)).await;
    ticket.refused(refusal);
    ticket.end();
    if let Ok(Ok(())) = sent {
        linger(&mut conn, &mut watch).await;
    }
}
