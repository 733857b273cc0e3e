//! One stream: a request of its own, from its head to its record.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request};
use palisade_audit::{Entry, Spoken};
use palisade_policy::{Authority, DenialReason, Permit};

use crate::dial::DialError;
use crate::http::asked::Asked;
use crate::http::request::{Intent, RequestHead};
use crate::http2::compose::Outgoing;
use crate::http2::exchange::Broken;
use crate::http2::{head, links};
use crate::record::Ticket;
use crate::refusal::{Failure, Refusal};
use crate::shared::Shared;
use crate::watch::Watch;

/// Attempts of one request: a second one if the first is known not to have been looked at.
const ATTEMPTS: usize = 2;

/// A request that has not been answered.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) authority: Authority,
    pub(super) ticket: Ticket,
    pub(super) respond: SendResponse<Bytes>,
    /// None: it is being sent on.
    pub(super) body: Option<RecvStream>,
    pub(super) watch: Watch,
    /// The agent gave it up after the response had begun.
    pub(super) cancelled: bool,
}

/// How a request ends that gets no response from its server.
pub(super) enum End {
    Refused(Box<Refusal>),
    Failed(Failure),
    /// The agent has lost interest, or sends what is no request; there is nobody to tell more.
    Dropped(String),
    /// The server did not look at it, and the agent's body cannot be had twice: the agent may try again.
    Again(String),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Call {
    pub(super) fn new(
        shared: &Arc<Shared>,
        (authority, entry): (&Authority, Entry),
        respond: SendResponse<Bytes>,
    ) -> Self {
        let mut ticket = Ticket::new(shared, entry, Instant::now());
        ticket.destination(authority);
        ticket.intercepted = true;
        ticket.spoken = Some(Spoken::H2);
        Self {
            shared: Arc::clone(shared),
            authority: authority.clone(),
            ticket,
            respond,
            body: None,
            watch: Watch::default(),
            cancelled: false,
        }
    }

    /// There are too many at a time.
    pub(super) fn turn_away(mut self) {
        let detail = "too many requests at a time";
        let refusal = Refusal::of(&self.authority, DenialReason::Limit).with_detail(detail);
        self.ticket.refused(&refusal);
        self.respond.send_reset(Reason::REFUSED_STREAM);
        self.ticket.end();
    }

    /// Carries it to its end. Says whether the agent waited for it.
    pub(super) async fn run(mut self, request: Request<RecvStream>) -> bool {
        let (request, body) = request.into_parts();
        let path = request.uri.path().as_bytes();
        self.ticket
            .request(request.method.as_str().as_bytes(), path);
        self.body = Some(body);
        let to_head = request.method == Method::HEAD;
        let result = self.forward(&request).await;
        let waited = !self.cancelled && !matches!(result, Err(End::Dropped(_)));
        match result {
            Ok(()) => {}
            Err(End::Refused(refusal)) => {
                self.ticket.refused(&refusal);
                self.ticket.status = Some(refusal.status());
                self.answer(&refusal.http(false, to_head));
            }
            Err(End::Failed(failure)) => {
                self.ticket.failed(failure.text.as_str());
                self.ticket.status = Some(failure.status);
                self.answer(&failure.http(&self.authority, false, to_head));
            }
            Err(End::Dropped(text)) => {
                self.ticket.failed(text);
                self.respond.send_reset(Reason::CANCEL);
            }
            Err(End::Again(text)) => {
                self.ticket.failed(text);
                self.respond.send_reset(Reason::REFUSED_STREAM);
            }
        }
        self.ticket.end();
        waited
    }

    async fn forward(&mut self, request: &http::request::Parts) -> Result<(), End> {
        let has_body = self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        let limits = &self.shared.limits;
        let (head, intent) = head::read(request, has_body, &self.authority, limits)?;
        self.ticket.tally.up = head.bytes.len() as u64;
        let permit = self.permit(&head, &intent)?;
        self.ticket.permitted(&permit);
        let outgoing = self.compose(&permit, &head, &intent).await?;
        self.send(permit, &head, &intent, &outgoing).await
    }

    async fn send(
        &mut self,
        mut permit: Permit,
        head: &RequestHead,
        intent: &Intent,
        outgoing: &Outgoing,
    ) -> Result<(), End> {
        let mut attempt = 1;
        loop {
            let shared = Arc::clone(&self.shared);
            let mut taken = match self.present(links::link(&shared, permit)).await? {
                Ok(taken) => taken,
                Err(DialError::Denied(denial)) => {
                    return Err(Refusal::new(&self.authority, denial).into());
                }
                Err(DialError::Failed(failure)) => return Err(End::Failed(failure)),
            };
            self.ticket.address = taken.address;
            let text = match self.exchange(&mut taken, intent, outgoing).await {
                Ok(()) => return Ok(()),
                Err(Broken::End(end)) => return Err(end),
                Err(Broken::Unseen(text)) => text,
            };
            if self.body.is_none() {
                return Err(End::Again(text));
            }
            if attempt == ATTEMPTS {
                return Err(End::Failed(Failure { status: 502, text }));
            }
            attempt += 1;
            permit = self.permit(head, intent)?;
        }
    }

    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    fn permit(&mut self, head: &RequestHead, intent: &Intent) -> Result<Permit, Refusal> {
        let asked = Asked {
            head,
            intent,
            authority: &self.authority,
            secure: true,
            version: Spoken::H2,
        };
        asked.permit(&self.shared, &mut self.ticket)
    }

    /// Waits for something that is worth nothing once the agent has cancelled.
    pub(super) async fn present<T>(&mut self, what: impl Future<Output = T>) -> Result<T, End> {
        let mut what = pin!(what);
        poll_fn(|cx| {
            if let Poll::Ready(value) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            self.respond.poll_reset(cx).map(|_| Err(cancelled()))
        })
        .await
    }

    /// Sends a response of the gate's own, which is given as HTTP/1.1 writes it.
    fn answer(&mut self, bytes: &[u8]) {
        let Some((response, body)) = head::own(bytes) else {
            return self.respond.send_reset(Reason::INTERNAL_ERROR);
        };
        self.ticket.tally.down = bytes.len() as u64;
        // An agent that has gone meanwhile has nothing to be told.
        if let Ok(mut stream) = self.respond.send_response(response, body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body, true);
        }
    }
}

/// The end of a request that the agent has given up.
pub(super) fn cancelled() -> End {
    End::Dropped("downstream: cancelled before the response".into())
}
