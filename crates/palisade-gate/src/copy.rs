//! Bytes both ways, unread, until both sides have ended.

use std::future::poll_fn;
use std::task::{Poll, ready};

use crate::conn::{Conn, Stream};
use crate::http::pump::{Pump, PumpError};
use crate::limits::GateLimits;
use crate::record::Tally;
use crate::watch::Watch;

/// Copies, beginning with what was read already. The end of one direction is passed on and the other goes on.
pub(crate) async fn copy<D: Stream, U: Stream>(
    down: &mut Conn<D>,
    up: &mut Conn<U>,
    watch: &mut Watch,
    limits: &GateLimits,
    tally: &mut Tally,
    base: Tally,
) -> Result<(), String> {
    let mut upload = Pump::raw();
    let mut download = Pump::raw();
    watch.begin();
    let result = poll_fn(|cx| {
        let sent = upload
            .poll(cx, down, up)
            .map_err(|error| side(&error, "downstream", "upstream"))?;
        let received = download
            .poll(cx, up, down)
            .map_err(|error| side(&error, "upstream", "downstream"))?;
        *tally = down.tally().since(base);
        if sent.is_ready() && received.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let limit = if upload.held_up || download.held_up {
            limits.stall
        } else if sent.is_ready() || received.is_ready() {
            limits.half_closed
        } else {
            limits.tunnel_idle
        };
        ready!(watch.poll_stalled(cx, down.progress() + up.progress(), limit));
        Poll::Ready(Err("idle for too long".to_owned()))
    })
    .await;
    *tally = down.tally().since(base);
    result
}

fn side(error: &PumpError, from: &str, to: &str) -> String {
    match error {
        PumpError::Write(_) => format!("{to}: {error}"),
        PumpError::Read(_) | PumpError::Body(_) => format!("{from}: {error}"),
    }
}
