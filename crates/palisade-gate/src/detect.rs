//! The proxy listener: which of its protocols a connection speaks, told by its first byte.

use std::sync::Arc;
use std::time::Instant;

use palisade_audit::Entry;
use palisade_policy::DenialReason;

use crate::conn::{Conn, Stream};
use crate::connect::connect;
use crate::http::serve::{End, Requests, Way};
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::socks;
use crate::watch::Watch;

/// Serves one connection of the proxy listener.
pub(crate) async fn serve_proxy<S: Stream>(shared: Arc<Shared>, mut conn: Conn<S>) {
    let started = Instant::now();
    match Watch::default()
        .within(shared.limits.head_time, conn.fill())
        .await
    {
        Ok(Ok(1..)) => {}
        Ok(_) => return,
        Err(_) => {
            let mut ticket = Ticket::new(&shared, Entry::Forward, started);
            ticket.refused(&Refusal::malformed(
                b"",
                DenialReason::Limit,
                "nothing was sent in time",
            ));
            return ticket.end();
        }
    }
    match conn.input.bytes().first() {
        Some(4) => socks::serve(&shared, conn, socks::Version::V4, started).await,
        Some(5) => socks::serve(&shared, conn, socks::Version::V5, started).await,
        _ => {
            let requests = Requests::new(&shared, conn, Way::Forward);
            if let End::Connect(conn, connecting) = requests.serve().await {
                connect(&shared, conn, *connecting).await;
            }
        }
    }
}
