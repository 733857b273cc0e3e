//! Bytes both ways, until both sides have ended: unread in a tunnel, looked at in a WebSocket that a secret may come
//! back in.

use std::future::poll_fn;
use std::task::{Poll, ready};

use palisade_policy::CredentialName;

use crate::conn::{Conn, Stream};
use crate::http::exchange::HOLD;
use crate::http::pump::{Pump, PumpError};
use crate::limits::GateLimits;
use crate::record::Tally;
use crate::watch::Watch;

/// What ended the copying before both sides did.
#[derive(Debug)]
pub(crate) enum Broke {
    Failed(String),
    /// The agent sent the placeholder of this credential.
    Placeholder(CredentialName),
}

/// Copies, beginning with what was read already. The end of one direction is passed on and the other goes on.
pub(crate) async fn copy<D: Stream, U: Stream>(
    down: &mut Conn<D>,
    up: &mut Conn<U>,
    watch: &mut Watch,
    limits: &GateLimits,
    tally: &mut Tally,
    base: Tally,
) -> Result<(), String> {
    let pumps = &mut (Pump::raw(), Pump::raw());
    match copy_through(pumps, down, up, watch, limits, (tally, base)).await {
        Err(Broke::Failed(text)) => Err(text),
        // Nothing is looked for.
        Ok(()) | Err(Broke::Placeholder(_)) => Ok(()),
    }
}

/// The same through these pumps, the first of which leads up.
pub(crate) async fn copy_through<D: Stream, U: Stream>(
    (upload, download): &mut (Pump, Pump),
    down: &mut Conn<D>,
    up: &mut Conn<U>,
    watch: &mut Watch,
    limits: &GateLimits,
    (tally, base): (&mut Tally, Tally),
) -> Result<(), Broke> {
    watch.begin();
    let result = poll_fn(|cx| {
        loop {
            let sent = upload
                .poll(cx, down, up)
                .map_err(|error| side(error, "downstream", "upstream"))?;
            let received = download
                .poll(cx, up, down)
                .map_err(|error| side(error, "upstream", "downstream"))?;
            *tally = down.tally().since(base);
            if sent.is_ready() && received.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let held_up = upload.held_up || download.held_up;
            let limit = if held_up {
                limits.stall
            } else if download.is_holding() {
                HOLD
            } else if sent.is_ready() || received.is_ready() {
                limits.half_closed
            } else {
                limits.tunnel_idle
            };
            ready!(watch.poll_stalled(cx, down.progress() + up.progress(), limit));
            if held_up || !download.is_holding() {
                let text = "idle for too long".to_owned();
                return Poll::Ready(Err(Broke::Failed(text)));
            }
            download.release(down);
            watch.begin();
        }
    })
    .await;
    *tally = down.tally().since(base);
    result
}

fn side(error: PumpError, from: &str, to: &str) -> Broke {
    Broke::Failed(match error {
        PumpError::Placeholder(name) => return Broke::Placeholder(name),
        PumpError::Write(_) => format!("{to}: {error}"),
        _ => format!("{from}: {error}"),
    })
}
