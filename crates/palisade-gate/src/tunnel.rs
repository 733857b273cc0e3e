//! A tunnel that has been asked for and dialled: what goes through it is checked before any byte leaves.

use std::sync::Arc;

use palisade_audit::Entry;
use palisade_policy::{Authority, DenialReason, Inspection};

use crate::authorize::{authorize, meant};
use crate::conn::{Conn, Stream};
use crate::copy::copy;
use crate::dial::{DialError, Upstream, dial};
use crate::http::serve::{Requests, Way, linger};
use crate::http2;
use crate::intercept::{Intercepted, Reach, intercept};
use crate::opening::{Opening, check_name, opening};
use crate::record::{Tally, Ticket};
use crate::refusal::{Failure, Refusal, TLS_ACCESS_DENIED, TLS_UNRECOGNIZED_NAME};
use crate::shared::Shared;
use crate::watch::Watch;

/// A tunnel that may stand.
pub(crate) struct Opened {
    authority: Authority,
    inspection: Inspection,
    reach: Reach,
}

/// Why there is no tunnel.
pub(crate) enum NotOpened {
    Refused(Refusal),
    Failed(Failure),
}

/// Decides about a tunnel and dials.
///
/// The dial comes before the ClientHello is seen: so a destination that cannot be reached is answered with a status,
/// which clients show, and not with a tunnel that closes. No byte of the agent's leaves before its hello is checked.
pub(crate) async fn open(
    shared: &Shared,
    authority: Authority,
    ticket: &mut Ticket,
) -> Result<Opened, NotOpened> {
    let authority = meant(shared, authority);
    ticket.destination(&authority);
    let permit = authorize(shared, &authority).map_err(NotOpened::Refused)?;
    ticket.permitted(&permit);
    let inspection = permit.inspection();
    let kept = shared.pool.has(&authority, true) || http2::has(shared, &authority);
    let reach = if inspection == Inspection::Intercept && kept {
        Reach::Kept
    } else {
        match dial(shared, permit).await {
            Ok(upstream) => {
                ticket.address = upstream.address;
                Reach::Dialled(upstream)
            }
            Err(DialError::Denied(denial)) => {
                return Err(NotOpened::Refused(Refusal::new(&authority, denial)));
            }
            Err(DialError::Failed(failure)) => {
                ticket.failed(failure.text.as_str());
                return Err(NotOpened::Failed(failure));
            }
        }
    };
    Ok(Opened {
        authority,
        inspection,
        reach,
    })
}

/// Carries a tunnel to its end. The agent has been told that it stands.
pub(crate) async fn run<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    opened: Opened,
    entry: Entry,
    mut ticket: Ticket,
) {
    let Opened {
        authority,
        inspection,
        reach,
    } = opened;
    let mut watch = Watch::default();
    let base = conn.tally();
    let limits = &shared.limits;
    let opening = match inspection {
        Inspection::Raw => None,
        _ => Some(opening(&mut conn, &mut watch, limits, limits.hello_time).await),
    };
    match (opening, reach) {
        (None, Reach::Dialled(upstream)) => pass(shared, conn, upstream, ticket, base).await,
        (Some(Opening::Tls(hello)), reach) => {
            match (check_name(&hello, &authority, inspection), reach) {
                (Err(refusal), _) => refuse_tls(conn, watch, shared, ticket, &refusal).await,
                (Ok(()), Reach::Dialled(upstream)) if inspection == Inspection::Tunnel => {
                    pass(shared, conn, upstream, ticket, base).await;
                }
                (Ok(()), reach) => {
                    let at = Intercepted {
                        conn,
                        watch,
                        hello,
                        authority,
                        entry,
                        reach,
                        ticket,
                    };
                    intercept(shared, at).await;
                }
            }
        }
        (Some(Opening::Http), reach) => {
            // The inner requests are judged one by one, as any plain request to this host; the connection made for
            // the tunnel waits for the first of them in the pool. Each has its own event, the tunnel keeps its own.
            if let Reach::Dialled(upstream) = reach {
                shared.pool.put(&authority, false, upstream);
            }
            let way = Way::Fixed {
                authority,
                entry,
                secure: false,
            };
            Requests::new(shared, conn, way).serve().await;
            ticket.end();
        }
        (None | Some(Opening::Ended), _) => {
            ticket.failed("downstream: ended before its first byte");
            ticket.end();
        }
        (Some(other), _) => {
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
