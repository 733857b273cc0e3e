//! CONNECT: decide, dial, say so, and become a tunnel.

use std::sync::Arc;

use palisade_audit::Entry;

use crate::authorize::{authorize, meant};
use crate::conn::{Conn, Stream};
use crate::dial::{DialError, dial};
use crate::http::forward::Connecting;
use crate::http::serve::linger;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::tunnel;
use crate::watch::Watch;

/// The dial comes before the ClientHello is seen: so a destination that cannot be reached is answered with a status,
/// which clients show, and not with a tunnel that closes. No byte of the agent's leaves before its hello is checked.
pub(crate) async fn connect<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    connecting: Connecting,
) {
    let Connecting {
        authority,
        mut ticket,
    } = connecting;
    let authority = meant(shared, authority);
    ticket.destination(&authority);
    let permit = match authorize(shared, &authority) {
        Ok(permit) => permit,
        Err(refusal) => return refuse(shared, conn, ticket, &refusal).await,
    };
    ticket.permitted(&permit);
    let protocol = permit.protocol();
    let upstream = match dial(shared, permit).await {
        Ok(upstream) => upstream,
        Err(DialError::Denied(denial)) => {
            return refuse(shared, conn, ticket, &Refusal::new(&authority, denial)).await;
        }
        Err(DialError::Failed(failure)) => {
            ticket.failed(failure.text.as_str());
            ticket.status = Some(failure.status);
            let response = failure.http(&authority, true, false);
            return answer(shared, conn, ticket, &response).await;
        }
    };
    ticket.address = upstream.address;
    ticket.status = Some(200);
    if conn
        .send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .is_err()
    {
        ticket.failed("downstream: ended before the tunnel stood");
        return ticket.end();
    }
    tunnel::run(
        shared,
        conn,
        upstream,
        (authority, protocol),
        Entry::Connect,
        ticket,
    )
    .await;
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
