//! CONNECT: decide, dial, say so, and become a tunnel.

use std::sync::Arc;

use palisade_audit::Entry;

use crate::conn::{Conn, Stream};
use crate::http::forward::Connecting;
use crate::http::serve::linger;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::tunnel::{self, NotOpened};
use crate::watch::Watch;

/// Serves a CONNECT request that is well-formed.
pub(crate) async fn connect<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    connecting: Connecting,
) {
    let Connecting {
        authority,
        mut ticket,
    } = connecting;
    let opened = match tunnel::open(shared, authority.clone(), &mut ticket).await {
        Ok(opened) => opened,
        Err(NotOpened::Refused(refusal)) => return refuse(shared, conn, ticket, &refusal).await,
        Err(NotOpened::Failed(failure)) => {
            ticket.status = Some(failure.status);
            let response = failure.http(&authority, true, false);
            return answer(shared, conn, ticket, &response).await;
        }
    };
    ticket.status = Some(200);
    if conn
        .send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .is_err()
    {
        ticket.failed("downstream: ended before the tunnel stood");
        return ticket.end();
    }
    tunnel::run(shared, conn, opened, Entry::Connect, ticket).await;
}

async fn refuse<S: Stream>(shared: &Shared, conn: Conn<S>, mut ticket: Ticket, refusal: &Refusal) {
    ticket.refused(refusal);
    ticket.status = Some(refusal.status());
    answer(shared, conn, ticket, &refusal.http(true, false)).await;
}

async fn answer<S: Stream>(
    shared: &Shared,
    mut conn: Conn<S>,
    mut ticket: Ticket,
    response: &[u8],
) {
    let mut watch = Watch::default();
    let sent = watch.within(shared.limits.stall, conn.send(response)).await;
    ticket.tally = conn.tally();
    ticket.end();
    if matches!(sent, Ok(Ok(()))) {
        linger(&mut conn, &mut watch).await;
    }
}
