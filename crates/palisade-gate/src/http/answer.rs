//! What the gate says itself: refusals, and failures of what was permitted.

use palisade_policy::{Authority, CredentialName, DenialReason};

use crate::conn::Stream;
use crate::dial::DialError;
use crate::http::compose::Stop;
use crate::http::exchange::ExchangeError;
use crate::http::forward::Next;
use crate::http::head::Framing;
use crate::http::request::{Intent, Target};
use crate::http::serve::Requests;
use crate::record::{Tally, Ticket};
use crate::refusal::{Failure, Refusal};

impl<S: Stream> Requests<S> {
    pub(super) async fn no_upstream(
        &mut self,
        ticket: Ticket,
        base: Tally,
        intent: &Intent,
        authority: &Authority,
        error: DialError,
    ) -> Next {
        match error {
            DialError::Denied(denial) => {
                let refusal = Refusal::new(authority, denial);
                self.refuse(ticket, base, Some(intent), &refusal).await
            }
            DialError::Failed(failure) => {
                self.fail(ticket, base, intent, authority, &failure).await
            }
        }
    }

    /// An exchange that got no response: ours takes its place.
    pub(super) async fn broken(
        &mut self,
        mut ticket: Ticket,
        base: Tally,
        intent: &Intent,
        authority: &Authority,
        error: ExchangeError,
    ) -> Next {
        let text = error.to_string();
        match error {
            ExchangeError::Client(_) => {
                ticket.failed(text);
                ticket.tally = self.conn.tally().since(base);
                ticket.end();
                Next::Close
            }
            ExchangeError::BadBody(_) => {
                let refusal = Refusal::of(authority, DenialReason::BadRequest).with_detail(text);
                self.refuse(ticket, base, None, &refusal).await
            }
            ExchangeError::Placeholder(name) => {
                ticket.credential = Some(name.clone());
                let refusal = misplaced(authority, &name);
                self.refuse(ticket, base, None, &refusal).await
            }
            ExchangeError::NoResponse => {
                let failure = Failure { status: 504, text };
                self.fail(ticket, base, intent, authority, &failure).await
            }
            ExchangeError::Closed(_) | ExchangeError::Upstream(_) => {
                let failure = Failure { status: 502, text };
                self.fail(ticket, base, intent, authority, &failure).await
            }
        }
    }

    /// A request that came to an end before anything was sent for it.
    pub(super) async fn stopped(
        &mut self,
        mut ticket: Ticket,
        base: Tally,
        intent: &Intent,
        authority: &Authority,
        stop: Stop,
    ) -> Next {
        match stop {
            Stop::Refused(refusal) => self.refuse(ticket, base, Some(intent), &refusal).await,
            Stop::Misplaced(name) => {
                let refusal = misplaced(authority, &name);
                ticket.credential = Some(name);
                self.refuse(ticket, base, Some(intent), &refusal).await
            }
            Stop::Unavailable(unavailable) => {
                // The record has what the source said; the agent is told less.
                ticket.failed(&*unavailable.detail);
                let text = unavailable.told();
                let failure = Failure { status: 502, text };
                self.fail(ticket, base, intent, authority, &failure).await
            }
            Stop::Body(error) => self.broken(ticket, base, intent, authority, error).await,
        }
    }

    pub(super) async fn fail(
        &mut self,
        mut ticket: Ticket,
        base: Tally,
        intent: &Intent,
        authority: &Authority,
        failure: &Failure,
    ) -> Next {
        ticket.failed(failure.text.as_str());
        ticket.status = Some(failure.status);
        let close = !self.can_go_on(Some(intent));
        let response = failure.http(authority, close, intent.is_head);
        self.finish(ticket, base, &response, close).await
    }

    pub(super) async fn refuse(
        &mut self,
        mut ticket: Ticket,
        base: Tally,
        intent: Option<&Intent>,
        refusal: &Refusal,
    ) -> Next {
        ticket.refused(refusal);
        ticket.status = Some(refusal.status());
        let close = !self.can_go_on(intent) || refusal.reason == DenialReason::Audit;
        let to_head = self.head.method() == b"HEAD";
        self.finish(ticket, base, &refusal.http(close, to_head), close)
            .await
    }

    async fn finish(
        &mut self,
        mut ticket: Ticket,
        base: Tally,
        response: &[u8],
        close: bool,
    ) -> Next {
        let sent = self.send(response).await;
        ticket.tally = self.conn.tally().since(base);
        ticket.end();
        if close || sent.is_err() {
            Next::Close
        } else {
            Next::Again
        }
    }

    /// Whether the next request begins where this one's head ended, so that it can be found.
    fn can_go_on(&self, intent: Option<&Intent>) -> bool {
        intent.is_some_and(|intent| {
            let no_body = matches!(intent.framing, Framing::None | Framing::Length(0));
            no_body
                && intent.keep_alive
                && !intent.websocket
                && !matches!(intent.target, Target::Tunnel(_))
        })
    }
}

/// The refusal of a request with a placeholder where it is not bound to.
pub(crate) fn misplaced(authority: &Authority, name: &CredentialName) -> Refusal {
    let detail = format!("credential `{name}`");
    Refusal::of(authority, DenialReason::Placeholder).with_detail(detail)
}

/// The refusal of a request whose body would have to be held, like too many others.
pub(crate) fn crowded(authority: &Authority) -> Refusal {
    Refusal::of(authority, DenialReason::Limit)
        .with_detail("too many bodies that have to be signed at a time")
        .with_status(503)
}
