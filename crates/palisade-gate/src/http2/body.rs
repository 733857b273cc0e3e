//! One body from side to side. It moves at the pace of who takes it: credit is given back to the sender for what was
//! passed on, and for nothing else.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use palisade_policy::CredentialName;

use crate::http::filter::Filter;
use crate::http::pump::PumpError;
use crate::http2::head;

/// Why a body stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Who sends it broke off.
    From(h2::Error),
    /// Who takes it does not take any more.
    To,
    /// The placeholder of this credential is in it.
    Placeholder(CredentialName),
    /// It cannot be searched for secrets.
    Unreadable(String),
}

/// A body on its way.
pub(super) struct Transfer {
    /// None: all of it is in `ready`.
    from: Option<RecvStream>,
    to: SendStream<Bytes>,
    filter: Filter,
    /// Taken and not yet through the filter: what it decodes to may be much more.
    rest: Bytes,
    /// To be sent.
    ready: Bytes,
    /// Taken and not yet passed on, or given back.
    owed: usize,
    source: Source,
    /// It is of a response: its trailers are passed on, and it may end with a reset that means no error.
    is_response: bool,
    ended: bool,
    /// Bytes taken.
    pub(super) taken: u64,
    /// Bytes passed on.
    pub(super) passed: u64,
    /// The other side does not take what there is.
    pub(super) held_up: bool,
}

enum Source {
    Data,
    Trailers,
    /// All has come; these are to follow.
    Over(Option<HeaderMap>),
}

impl Transfer {
    /// The body of a request. Its trailers are dropped (F08): nothing that is asked for here sends any.
    pub(super) fn request(from: RecvStream, to: SendStream<Bytes>, filter: Filter) -> Self {
        Self::new(Some(from), to, filter)
    }

    /// The body of a response.
    pub(super) fn response(from: RecvStream, to: SendStream<Bytes>, filter: Filter) -> Self {
        Self {
            is_response: true,
            ..Self::new(Some(from), to, filter)
        }
    }

    /// The body of a request that is here already.
    pub(super) fn whole(body: Bytes, to: SendStream<Bytes>) -> Self {
        Self {
            ready: body,
            source: Source::Over(None),
            ..Self::new(None, to, Filter::None)
        }
    }

    fn new(from: Option<RecvStream>, to: SendStream<Bytes>, filter: Filter) -> Self {
        Self {
            from,
            to,
            filter,
            rest: Bytes::new(),
            ready: Bytes::new(),
            owed: 0,
            source: Source::Data,
            is_response: false,
            ended: false,
            taken: 0,
            passed: 0,
            held_up: false,
        }
    }

    /// Gives the source back if nothing was taken from it.
    pub(super) fn untouched(self) -> Option<RecvStream> {
        (self.taken == 0).then_some(self.from).flatten()
    }

    /// Bytes are held back, as they may be the beginning of a secret.
    pub(super) fn is_holding(&self) -> bool {
        self.ready.is_empty() && self.rest.is_empty() && self.filter.is_holding()
    }

    /// Lets go of what is held back.
    pub(super) fn release(&mut self) {
        let mut out = Vec::new();
        self.filter.release(&mut out);
        self.ready = out.into();
    }

    /// Secrets found since this was asked last.
    pub(super) fn take_found(&mut self) -> u64 {
        self.filter.take_found()
    }

    /// The side that takes it, to be told something else.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.to.send_reset(reason);
    }

    /// Ready when the side that takes the body wants no more of the stream.
    pub(super) fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.to.poll_reset(cx).map(drop)
    }

    /// Moves what there is to move. Ready at the end of the body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.held_up = false;
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.ready.is_empty() {
                ready!(self.poll_send(cx))?;
                if self.ended {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if !self.rest.is_empty() || self.filter.has_more() {
                self.push()?;
                continue;
            }
            self.give_back();
            match &mut self.source {
                Source::Data => ready!(self.poll_take(cx))?,
                Source::Trailers => {
                    let trailers = ready!(self.poll_trailers(cx))?;
                    self.finish(trailers)?;
                }
                Source::Over(trailers) => {
                    let trailers = trailers.take().filter(|trailers| !trailers.is_empty());
                    let sent = match trailers {
                        Some(trailers) => self.to.send_trailers(trailers),
                        None => self.to.send_data(Bytes::new(), true),
                    };
                    sent.map_err(|_| Stopped::To)?;
                    self.ended = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.to.reserve_capacity(self.ready.len());
        let mut room = self.to.capacity();
        while room == 0 {
            match self.to.poll_capacity(cx) {
                Poll::Ready(Some(Ok(more))) => room = more,
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Stopped::To)),
                Poll::Pending => {
                    self.held_up = true;
                    return Poll::Pending;
                }
            }
        }
        let piece = self.ready.split_to(room.min(self.ready.len()));
        let count = piece.len() as u64;
        let last = self.ready.is_empty() && self.rest.is_empty() && self.is_last();
        self.to.send_data(piece, last).map_err(|_| Stopped::To)?;
        self.passed += count;
        if last {
            self.give_back();
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing follows what is being sent.
    fn is_last(&self) -> bool {
        match &self.source {
            Source::Over(trailers) => trailers.as_ref().is_none_or(HeaderMap::is_empty),
            // What comes out of a filter at its end is not known yet.
            _ if self.filter.changes() => false,
            Source::Data => self.from.as_ref().is_some_and(RecvStream::is_end_stream),
            Source::Trailers => false,
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Some(from) = &mut self.from else {
            self.source = Source::Over(None);
            return Poll::Ready(Ok(()));
        };
        match ready!(from.poll_data(cx)) {
            Some(Ok(data)) => {
                self.taken += data.len() as u64;
                self.owed += data.len();
                self.rest = data;
                Poll::Ready(Ok(()))
            }
            // The server needs no more of the request and has answered it in full (RFC 9113 section 8.1). An agent that
            // says so has not sent all of its request, and is believed to have given up.
            Some(Err(error))
                if self.is_response
                    && error.is_reset()
                    && error.reason() == Some(Reason::NO_ERROR) =>
            {
                Poll::Ready(self.finish(None))
            }
            Some(Err(error)) => Poll::Ready(Err(Stopped::From(error))),
            None => {
                self.source = Source::Trailers;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Stopped>> {
        match &mut self.from {
            Some(from) => from.poll_trailers(cx).map_err(Stopped::From),
            None => Poll::Ready(Ok(None)),
        }
    }

    /// One step through the filter.
    fn push(&mut self) -> Result<(), Stopped> {
        if !self.filter.changes() {
            self.filter.look(&self.rest).map_err(stopped)?;
            self.filter.took(self.rest.len());
            self.ready = std::mem::take(&mut self.rest);
            return Ok(());
        }
        let mut out = Vec::new();
        let mut rest = &self.rest[..];
        let result = self.filter.push(&mut rest, &mut out);
        let used = self.rest.len() - rest.len();
        self.rest.advance(used);
        self.ready = out.into();
        result.map_err(stopped)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Stopped> {
        let mut out = Vec::new();
        self.filter.finish(&mut out).map_err(stopped)?;
        let kept = trailers
            .filter(|_| self.is_response)
            .map(|trailers| head::kept_trailers(&trailers, &mut self.filter));
        self.ready = out.into();
        self.source = Source::Over(kept);
        Ok(())
    }

    fn give_back(&mut self) {
        if let Some(from) = &mut self.from
            && self.owed > 0
        {
            // It fails if the stream is gone, and then there is nothing to give back.
            let _ = from.flow_control().release_capacity(self.owed);
            self.owed = 0;
        }
    }
}

fn stopped(error: PumpError) -> Stopped {
    match error {
        PumpError::Placeholder(name) => Stopped::Placeholder(name),
        other => Stopped::Unreadable(other.to_string()),
    }
}
