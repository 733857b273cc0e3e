//! One request: where it goes, whether it may, and the exchange with whoever answers there.

use std::time::Instant;

use palisade_audit::Spoken;
use palisade_policy::{Authority, Permit};

use crate::conn::Stream;
use crate::copy::{Broke, copy_through};
use crate::dial::{self, DialError, Upstream};
use crate::http::answer::misplaced;
use crate::http::asked::Asked;
use crate::http::compose::Outgoing;
use crate::http::exchange::{Exchange, ExchangeError, Exchanged};
use crate::http::filter::Filter;
use crate::http::frames::FrameRedaction;
use crate::http::pump::Pump;
use crate::http::request::{Intent, Target};
use crate::http::rewrite::{self, Destination};
use crate::http::serve::Requests;
use crate::record::{Tally, Ticket};
use crate::refusal::Refusal;

/// What comes after a request.
pub(crate) enum Next {
    /// The next one on the same connection.
    Again,
    /// The end of the connection.
    Close,
    /// It was CONNECT.
    Tunnel(Box<Connecting>),
}

/// A CONNECT request that is well-formed and not yet decided.
pub(crate) struct Connecting {
    pub(crate) authority: Authority,
    pub(crate) ticket: Ticket,
}

impl<S: Stream> Requests<S> {
    /// Handles the request in `head`.
    pub(crate) async fn forward(&mut self, started: Instant) -> Next {
        let base = Tally {
            // The head was taken out of the input already, and counts as the request's.
            up: self.conn.used - self.head.bytes.len() as u64,
            down: self.conn.written,
        };
        let intent = self.head.intent();
        let mut ticket = self.ticket(&intent, started);
        let (intent, authority) = match self.destination(intent) {
            Ok(found) => found,
            Err((refusal, intent)) => {
                return self.refuse(ticket, base, intent.as_ref(), &refusal).await;
            }
        };
        ticket.destination(&authority);
        if let Target::Tunnel(authority) = intent.target {
            return Next::Tunnel(Box::new(Connecting { authority, ticket }));
        }
        let permit = match self.authorize(&intent, &authority, &mut ticket) {
            Ok(permit) => permit,
            Err(refusal) => return self.refuse(ticket, base, Some(&intent), &refusal).await,
        };
        ticket.permitted(&permit);
        let outgoing = match self.compose(&permit, &intent, &authority).await {
            Ok(outgoing) => outgoing,
            Err(stop) => return self.stopped(ticket, base, &intent, &authority, stop).await,
        };
        let mut upstream = match self.upstream(permit, &intent).await {
            Ok(upstream) => upstream,
            Err(error) => {
                return self
                    .no_upstream(ticket, base, &intent, &authority, error)
                    .await;
            }
        };
        let to = (&intent, &authority, &outgoing);
        let result = self.exchange(&mut upstream, to, &mut ticket, base).await;
        ticket.address = upstream.address;
        match result {
            Ok(done) => self.after(upstream, to, done, ticket, base).await,
            Err(error) => self.broken(ticket, base, &intent, &authority, error).await,
        }
    }

    /// Asks the policy about this very request.
    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    fn authorize(
        &self,
        intent: &Intent,
        authority: &Authority,
        ticket: &mut Ticket,
    ) -> Result<Permit, Refusal> {
        let asked = Asked {
            head: &self.head,
            intent,
            authority,
            secure: self.is_secure(),
            version: Spoken::H1,
        };
        asked.permit(&self.shared, ticket)
    }

    async fn upstream(&self, permit: Permit, intent: &Intent) -> Result<Upstream, DialError> {
        let secure = self.is_secure();
        match self.shared.pool.take(&permit, secure, intent.repeatable) {
            Some(upstream) => Ok(upstream),
            None => dial::dial_http1(&self.shared, permit, secure).await,
        }
    }

    /// One exchange; a second try if a kept connection turns out to be closed and the request may be sent twice.
    async fn exchange(
        &mut self,
        upstream: &mut Upstream,
        to: (&Intent, &Authority, &Outgoing),
        ticket: &mut Ticket,
        base: Tally,
    ) -> Result<Exchanged, ExchangeError> {
        let (intent, authority, outgoing) = to;
        loop {
            self.write_request(&mut upstream.conn.output, to);
            let carried = outgoing.carried.as_ref();
            let exchange = Exchange {
                down: &mut self.conn,
                up: &mut upstream.conn,
                request: &self.head,
                intent,
                upload: outgoing.upload,
                scan: self.shared.broker.body_scan(carried),
                redactor: carried.map(|carried| carried.prepared.redactor()),
                redacted: &mut ticket.redacted,
                response: &mut self.response,
                watch: &mut self.watch,
                limits: &self.shared.limits,
                tally: &mut ticket.tally,
                base,
            };
            let result = exchange.run().await;
            if let Some(ready) = &outgoing.ready {
                upstream.conn.wipe_output(ready.len());
            }
            let error = match result {
                Err(ExchangeError::Closed(text)) if upstream.reused && intent.repeatable => text,
                other => return other,
            };
            let Ok(permit) = self.authorize(intent, authority, ticket) else {
                return Err(ExchangeError::Closed(error));
            };
            *upstream = match dial::dial_http1(&self.shared, permit, self.is_secure()).await {
                Ok(fresh) => fresh,
                Err(DialError::Failed(failure)) => {
                    return Err(ExchangeError::Upstream(failure.text));
                }
                Err(DialError::Denied(denial)) => {
                    return Err(ExchangeError::Upstream(denial.reason.to_string()));
                }
            };
        }
    }

    fn write_request(
        &self,
        out: &mut Vec<u8>,
        (intent, authority, outgoing): (&Intent, &Authority, &Outgoing),
    ) {
        if let Some(ready) = &outgoing.ready {
            out.extend_from_slice(ready);
            return;
        }
        let to = Destination {
            authority,
            secure: self.is_secure(),
            judged: outgoing.judged.as_deref(),
        };
        rewrite::request(out, &self.head, intent, to);
    }

    async fn after(
        &mut self,
        mut upstream: Upstream,
        (_, authority, outgoing): (&Intent, &Authority, &Outgoing),
        done: Exchanged,
        mut ticket: Ticket,
        base: Tally,
    ) -> Next {
        ticket.status = Some(done.status);
        match &done.error {
            Some(ExchangeError::Placeholder(name)) => {
                ticket.credential = Some(name.clone());
                ticket.refused(&misplaced(authority, name));
            }
            Some(error) => ticket.failed(error.to_string()),
            None => {}
        }
        if done.upgraded {
            let result = self.talk(&mut upstream, outgoing, &mut ticket, base).await;
            match result {
                Err(Broke::Placeholder(name)) => {
                    ticket.refused(&misplaced(authority, &name));
                    ticket.credential = Some(name);
                }
                Err(Broke::Failed(text)) => ticket.failed(text),
                Ok(()) => {}
            }
            ticket.end();
            return Next::Close;
        }
        ticket.end();
        if done.up_reusable {
            self.shared.pool.put(authority, self.is_secure(), upstream);
        }
        if done.down_reusable {
            Next::Again
        } else {
            Next::Close
        }
    }

    /// Both ways of a WebSocket, to its end.
    async fn talk(
        &mut self,
        upstream: &mut Upstream,
        outgoing: &Outgoing,
        ticket: &mut Ticket,
        base: Tally,
    ) -> Result<(), Broke> {
        let scan = || self.shared.broker.body_scan(outgoing.carried.as_ref());
        let (mut upload, mut download) = (Pump::raw(), Pump::raw());
        if let (Some(data), Some(control)) = (scan(), scan()) {
            upload = upload.through(Filter::scan_frames(data, control));
        }
        if let Some(carried) = &outgoing.carried {
            let redaction = FrameRedaction::new(carried.prepared.redactor());
            download = download.through(Filter::RedactFrames(Box::new(redaction)));
        }
        let mut pumps = (upload, download);
        let result = copy_through(
            &mut pumps,
            &mut self.conn,
            &mut upstream.conn,
            &mut self.watch,
            &self.shared.limits,
            (&mut ticket.tally, base),
        );
        let result = result.await;
        ticket.redacted += pumps.1.take_found();
        result
    }
}
