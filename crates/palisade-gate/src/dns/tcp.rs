//! DNS over TCP (RFC 7766): queries with a length before them, one after the other.

use crate::conn::{Conn, Stream};
use crate::dns::answer::answer;
use crate::shared::Shared;
use crate::watch::Watch;

/// Bytes of a query; one question and an OPT record need a tenth of it.
const QUERY_MAX: usize = 4096;

/// Serves queries until the client ends, is silent, or sends what is no query.
pub(crate) async fn serve<S: Stream>(shared: &Shared, mut conn: Conn<S>) {
    let mut watch = Watch::default();
    // The limit is for each query: the timer is set anew for every one.
    while let Ok(true) = watch
        .within(shared.limits.head_time, one(shared, &mut conn))
        .await
    {}
}

async fn one<S: Stream>(shared: &Shared, conn: &mut Conn<S>) -> bool {
    loop {
        if let [high, low, rest @ ..] = conn.input.bytes() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > QUERY_MAX {
                return false;
            }
            if let Some(query) = rest.get(..length) {
                let reply = answer(shared, query);
                conn.consume(2 + length);
                let Some(reply) = reply else {
                    return false;
                };
                let length = u16::try_from(reply.len()).unwrap_or(0).to_be_bytes();
                return conn.send(&[&length[..], &reply].concat()).await.is_ok();
            }
        }
        if !matches!(conn.fill().await, Ok(1..)) {
            return false;
        }
    }
}
