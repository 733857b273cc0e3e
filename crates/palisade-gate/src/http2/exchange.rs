//! One request and its response, each at its own pace, in one task.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use palisade_audit::Spoken;
use palisade_policy::CredentialName;

use crate::http::answer::misplaced;
use crate::http::exchange::HOLD;
use crate::http::filter::Filter;
use crate::http::head::Framing;
use crate::http::redaction::Treatment;
use crate::http::request::Intent;
use crate::http::response::ResponseHead;
use crate::http2::body::{Stopped, Transfer};
use crate::http2::call::{Call, End, cancelled};
use crate::http2::compose::Outgoing;
use crate::http2::head;
use crate::http2::links::Taken;
use crate::refusal::Failure;

/// The bytes of a status line before its reason.
const STATUS_LINE: usize = "HTTP/1.1 200".len();

/// Why there is no response.
pub(super) enum Broken {
    End(End),
    /// The server has not looked at the request, so another connection may carry it.
    Unseen(String),
}

impl From<End> for Broken {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// What is left of the request to be sent.
struct Upload {
    transfer: Option<Transfer>,
    /// The server takes no more of it; it may have answered all the same.
    refused: bool,
}

/// What ends the sending of a request.
enum Broke {
    Agent(String),
    Placeholder(CredentialName),
}

impl Upload {
    /// Ready when all of it is sent, or no more of it can be.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broke>> {
        let Some(transfer) = self.transfer.as_mut().filter(|_| !self.refused) else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(match ready!(transfer.poll(cx)) {
            Ok(()) => Ok(()),
            Err(Stopped::To) => {
                self.refused = true;
                Ok(())
            }
            Err(Stopped::From(error)) => Err(Broke::Agent(described(&error))),
            Err(Stopped::Unreadable(text)) => Err(Broke::Agent(text)),
            Err(Stopped::Placeholder(name)) => Err(Broke::Placeholder(name)),
        })
    }

    /// It waits for the server, and not for the agent.
    fn is_held_up(&self) -> bool {
        self.transfer
            .as_ref()
            .is_some_and(|transfer| transfer.held_up)
    }

    fn progress(&self) -> u64 {
        let moved = |transfer: &Transfer| transfer.taken + transfer.passed;
        self.transfer.as_ref().map_or(0, moved)
    }

    fn taken(&self) -> u64 {
        self.transfer.as_ref().map_or(0, |transfer| transfer.taken)
    }
}

impl Call {
    /// Sends the request and passes the response on. What breaks after the response has begun is in the record.
    pub(super) async fn exchange(
        &mut self,
        taken: &mut Taken,
        intent: &Intent,
        outgoing: &Outgoing,
    ) -> Result<(), Broken> {
        let has_body = self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        let no_body = match &outgoing.whole {
            Some(whole) => whole.is_empty(),
            None => !has_body,
        };
        let sent = taken.send.send_request(outgoing.request.clone(), no_body);
        let (mut response, sender) = sent.map_err(|error| Broken::Unseen(upstream(&error)))?;
        let mut upload = Upload {
            transfer: (!no_body)
                .then(|| self.upload(intent, outgoing, sender))
                .flatten(),
            refused: false,
        };
        let before = self.ticket.tally.up;
        let waited = self.response(&mut response, &mut upload, before).await;
        let response = match waited {
            Ok(response) => response,
            Err(Waited::Ended(end)) => return Err(end.into()),
            Err(Waited::Upstream(error)) => {
                let untouched = upload.taken() == 0;
                if let Some(transfer) = upload.transfer.take() {
                    self.body = transfer.untouched();
                }
                let text = upstream(&error);
                let closed = error.is_io() && taken.reused && intent.repeatable && untouched;
                if closed || is_unseen(&error) {
                    return Err(Broken::Unseen(text));
                }
                return Err(End::Failed(Failure { status: 502, text }).into());
            }
        };
        self.deliver(response, intent, outgoing, (upload, before))
            .await?;
        Ok(())
    }

    fn upload(
        &mut self,
        intent: &Intent,
        outgoing: &Outgoing,
        to: SendStream<Bytes>,
    ) -> Option<Transfer> {
        if let Some(whole) = &outgoing.whole {
            return Some(Transfer::whole(whole.clone(), to));
        }
        self.go_on(intent);
        let scan = self.shared.broker.body_scan(outgoing.carried.as_ref());
        let filter = scan.map_or(Filter::None, Filter::scan);
        self.body
            .take()
            .map(|body| Transfer::request(body, to, filter))
    }

    /// Sends what there is to send until a response has come.
    async fn response(
        &mut self,
        response: &mut ResponseFuture,
        upload: &mut Upload,
        before: u64,
    ) -> Result<Response<RecvStream>, Waited> {
        let mut interim = 0;
        self.watch.begin();
        poll_fn(|cx| {
            let waits_for_agent = match upload.poll(cx) {
                Poll::Ready(result) => {
                    result.map_err(|broke| self.broke(broke))?;
                    false
                }
                Poll::Pending => !upload.is_held_up(),
            };
            self.ticket.tally.up = before + upload.taken();
            // They are dropped, and counted, since they would pile up unread (F22).
            while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
                interim += 1;
                if interim > self.shared.limits.interim_responses {
                    let text = "upstream: too many interim responses".into();
                    return Poll::Ready(Err(failed(502, text)));
                }
            }
            if let Poll::Ready(result) = Pin::new(&mut *response).poll(cx) {
                return Poll::Ready(result.map_err(Waited::Upstream));
            }
            if self.respond.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Waited::Ended(cancelled())));
            }
            let limits = &self.shared.limits;
            let limit = if waits_for_agent && !self.is_grpc() {
                limits.stall
            } else {
                limits.response_wait
            };
            ready!(
                self.watch
                    .poll_stalled(cx, upload.progress() + interim as u64, limit)
            );
            Poll::Ready(Err(if waits_for_agent {
                Waited::Ended(End::Dropped("downstream: the request stalled".into()))
            } else {
                failed(504, "upstream: no response in time".into())
            }))
        })
        .await
    }

    fn broke(&mut self, broke: Broke) -> Waited {
        Waited::Ended(match broke {
            Broke::Agent(text) => End::Dropped(format!("downstream: {text}")),
            Broke::Placeholder(name) => {
                let refusal = misplaced(&self.authority, &name);
                self.ticket.credential = Some(name);
                refusal.into()
            }
        })
    }

    /// A call of gRPC may be quiet for as long as a tunnel, on both sides.
    fn is_grpc(&self) -> bool {
        self.ticket.spoken == Some(Spoken::Grpc)
    }

    async fn deliver(
        &mut self,
        response: Response<RecvStream>,
        intent: &Intent,
        outgoing: &Outgoing,
        (mut upload, before): (Upload, u64),
    ) -> Result<(), End> {
        let (parts, from) = response.into_parts();
        let bad = |text: String| {
            let text = format!("upstream: {text}");
            End::Failed(Failure { status: 502, text })
        };
        let limits = &self.shared.limits;
        let mut head =
            head::read_response(&parts, limits).map_err(|error| bad(error.to_string()))?;
        let framing = head
            .framing(intent.is_head)
            .map_err(|error| bad(error.to_string()))?;
        let stated = match framing {
            Framing::Length(length) => Some(length),
            _ => head
                .described_length()
                .map_err(|error| bad(error.to_string()))?,
        };
        let no_body = from.is_end_stream();
        let treatment =
            treatment(outgoing, &head, no_body || framing == Framing::None).map_err(bad)?;
        if let Some(carried) = &outgoing.carried {
            let rest = &mut head.bytes[STATUS_LINE..];
            self.ticket.redacted += carried.prepared.redactor().redact(rest) as u64;
        }
        let decoded = treatment
            .as_ref()
            .is_some_and(|treatment| treatment.decoded);
        let length = stated.filter(|_| !decoded);
        let passed_on = head::response(&head, treatment.as_ref(), length)
            .map_err(|_| bad("the response cannot be written".into()))?;
        self.ticket.status = Some(head.status);
        self.ticket.tally.down = head.bytes.len() as u64;
        let Ok(to) = self.respond.send_response(passed_on, no_body) else {
            return Err(cancelled());
        };
        if no_body {
            return Ok(());
        }
        let filter = match treatment {
            Some(treatment) => Filter::Redact(Box::new(treatment.body)),
            None => Filter::None,
        };
        let mut download = Transfer::response(from, to, filter);
        let result = self.transfer(&mut upload, &mut download, before).await;
        self.ticket.redacted += download.take_found();
        if let Err((reason, text)) = result {
            self.cancelled = reason == Reason::CANCEL;
            download.reset(reason);
            self.ticket.failed(text);
        }
        Ok(())
    }

    /// Moves the response, and beside it the rest of the request if there is any.
    async fn transfer(
        &mut self,
        upload: &mut Upload,
        download: &mut Transfer,
        before: u64,
    ) -> Result<(), (Reason, String)> {
        let head = self.ticket.tally.down;
        self.watch.begin();
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(Err(broke)) = upload.poll(cx) {
                    return Poll::Ready(Err(self.broke_late(broke)));
                }
                let polled = download.poll(cx);
                self.ticket.tally.up = before + upload.taken();
                self.ticket.tally.down = head + download.passed;
                if let Poll::Ready(result) = polled {
                    return Poll::Ready(result.map_err(stopped));
                }
                if download.poll_refused(cx).is_ready() {
                    let text = "downstream: cancelled within the response".to_owned();
                    return Poll::Ready(Err((Reason::CANCEL, text)));
                }
                let holding = download.is_holding();
                let progress = upload.progress() + download.taken + download.passed;
                let limit = self.limit(download.held_up, holding);
                ready!(self.watch.poll_stalled(cx, progress, limit));
                if download.held_up {
                    let text = "downstream: nobody reads the response".to_owned();
                    return Poll::Ready(Err((Reason::CANCEL, text)));
                }
                if !holding {
                    let text = "upstream: the response stalled".to_owned();
                    return Poll::Ready(Err((Reason::CANCEL, text)));
                }
                download.release();
                self.watch.begin();
            }
        })
        .await
    }

    fn limit(&self, held_up: bool, holding: bool) -> Duration {
        let limits = &self.shared.limits;
        match (held_up, holding) {
            (true, _) => limits.stall,
            (false, true) => HOLD,
            (false, false) if self.is_grpc() => limits.tunnel_idle,
            (false, false) => limits.response_wait,
        }
    }

    fn broke_late(&mut self, broke: Broke) -> (Reason, String) {
        match broke {
            Broke::Agent(text) => (Reason::CANCEL, format!("downstream: {text}")),
            Broke::Placeholder(name) => {
                let refusal = misplaced(&self.authority, &name);
                self.ticket.refused(&refusal);
                self.ticket.credential = Some(name);
                (Reason::CANCEL, refusal.reason.to_string())
            }
        }
    }
}

/// How the wait for a response ended without one.
enum Waited {
    Ended(End),
    Upstream(h2::Error),
}

fn failed(status: u16, text: String) -> Waited {
    Waited::Ended(End::Failed(Failure { status, text }))
}

/// How the response to a request with a credential is treated.
fn treatment(
    outgoing: &Outgoing,
    head: &ResponseHead,
    no_body: bool,
) -> Result<Option<Treatment>, String> {
    let Some(carried) = &outgoing.carried else {
        return Ok(None);
    };
    Treatment::of(carried.prepared.redactor(), head, !no_body)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// What the agent's stream is reset with, and the record's words.
fn stopped(stopped: Stopped) -> (Reason, String) {
    match stopped {
        Stopped::From(error) => {
            let reason = error.reason().filter(|_| error.is_reset());
            let reason = reason.unwrap_or(Reason::INTERNAL_ERROR);
            (reason, upstream(&error))
        }
        Stopped::To => {
            let text = "downstream: cancelled within the response".to_owned();
            (Reason::CANCEL, text)
        }
        Stopped::Unreadable(text) => (Reason::INTERNAL_ERROR, format!("upstream: {text}")),
        Stopped::Placeholder(_) => (Reason::INTERNAL_ERROR, "upstream: unexpected".into()),
    }
}

/// Whether the server says that it has not looked at the request (RFC 9113 section 8.7).
fn is_unseen(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

fn upstream(error: &h2::Error) -> String {
    format!("upstream: {}", described(error))
}

/// What went wrong, in no words of the other side's: what a server says beside its GOAWAY could be a secret it was sent.
pub(super) fn described(error: &h2::Error) -> String {
    if let Some(io) = error.get_io() {
        return format!("the connection broke: {}", io.kind());
    }
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("the connection was ended: {reason}"),
        Some(reason) => format!("the stream was reset: {reason}"),
        None => "the stream is closed".into(),
    }
}
