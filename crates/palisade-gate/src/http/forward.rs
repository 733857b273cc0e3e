//! One request: where it goes, whether it may, and the exchange with whoever answers there.

use std::time::Instant;

use palisade_audit::Entry;
use palisade_policy::{Authority, DenialReason, HttpKind, HttpRequest, Permit, RequestPath};

use crate::authorize::authorize_http;
use crate::conn::Stream;
use crate::copy::copy;
use crate::dial::{self, DialError, Upstream};
use crate::http::exchange::{Exchange, ExchangeError, Exchanged};
use crate::http::head::{Framing, HeadError};
use crate::http::request::{BadRequest, Intent, Target};
use crate::http::rewrite;
use crate::http::serve::{Requests, Way, bad_status};
use crate::record::{Tally, Ticket};
use crate::refusal::{Failure, Refusal};

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
        let permit = match self.authorize(&intent, &authority) {
            Ok(permit) => permit,
            Err(refusal) => return self.refuse(ticket, base, Some(&intent), &refusal).await,
        };
        ticket.permitted(&permit);
        let mut upstream = match self.upstream(permit, &intent).await {
            Ok(upstream) => upstream,
            Err(error) => {
                return self
                    .no_upstream(ticket, base, &intent, &authority, error)
                    .await;
            }
        };
        let result = self
            .exchange(&mut upstream, &intent, &authority, &mut ticket, base)
            .await;
        ticket.address = upstream.address;
        match result {
            Ok(done) => self.after(upstream, &authority, done, ticket, base).await,
            Err(error) => self.broken(ticket, base, &intent, &authority, error).await,
        }
    }

    fn ticket(&self, intent: &Result<Intent, BadRequest>, started: Instant) -> Ticket {
        let is_connect = self.head.method() == b"CONNECT";
        let entry = match self.way {
            Way::Forward if is_connect => Entry::Connect,
            _ => self.entry(),
        };
        let mut ticket = Ticket::new(&self.shared, entry, started);
        let path = match intent.as_ref().map(|intent| &intent.target) {
            Ok(Target::Absolute(_, path) | Target::Origin(path)) => &self.head.bytes[path.clone()],
            _ => b"",
        };
        ticket.request(self.head.method(), path);
        match &self.way {
            Way::Fixed { authority, .. } => ticket.destination(authority),
            Way::Forward => ticket.bad_destination(self.head.named()),
        }
        ticket
    }

    /// The one destination that target, `Host` and connection agree upon.
    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    fn destination(
        &self,
        intent: Result<Intent, BadRequest>,
    ) -> Result<(Intent, Authority), (Refusal, Option<Intent>)> {
        let intent = intent.map_err(|bad| (self.bad_request(bad), None))?;
        let found = self.agreed(&intent);
        match found {
            Ok(authority) => Ok((intent, authority)),
            Err(refusal) => Err((refusal, Some(intent))),
        }
    }

    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    fn agreed(&self, intent: &Intent) -> Result<Authority, Refusal> {
        let refuse = |reason, detail: &str| {
            Err(match &self.way {
                Way::Fixed { authority, .. } => Refusal::of(authority, reason).with_detail(detail),
                Way::Forward => Refusal::malformed(self.head.named(), reason, detail),
            })
        };
        let (authority, host_port) = match (&self.way, &intent.target) {
            (Way::Forward, Target::Absolute(authority, _)) => (authority, 80),
            (Way::Forward, Target::Tunnel(authority)) => (authority, authority.port),
            (Way::Forward, Target::Origin(_) | Target::Asterisk) => {
                let detail = "a request to a proxy names its host in the target";
                return refuse(DenialReason::BadRequest, detail);
            }
            (Way::Fixed { authority: own, .. }, Target::Origin(_) | Target::Asterisk) => {
                (own, own.port)
            }
            (Way::Fixed { authority: own, .. }, Target::Absolute(authority, _))
                if own == authority =>
            {
                (own, own.port)
            }
            (Way::Fixed { .. }, Target::Absolute(..)) => {
                let detail = "the target names another host than the connection";
                return refuse(DenialReason::HostMismatch, detail);
            }
            (Way::Fixed { .. }, Target::Tunnel(_)) => {
                return refuse(
                    DenialReason::Protocol,
                    "CONNECT within a connection to a host",
                );
            }
            (_, Target::OtherScheme { https: true }) => {
                let detail = "https goes through a proxy by CONNECT; an https target would show the request to it";
                return refuse(DenialReason::Protocol, detail);
            }
            (_, Target::OtherScheme { https: false }) => {
                return refuse(DenialReason::Protocol, "only http and https are carried");
            }
        };
        let Some(host) = &intent.host else {
            return Ok(authority.clone());
        };
        match Authority::parse(&self.head.bytes[host.clone()], Some(host_port)) {
            Ok(named) if named == *authority => Ok(named),
            Ok(named) => {
                let detail = format!("the Host field names {named}");
                Err(Refusal::of(authority, DenialReason::HostMismatch).with_detail(detail))
            }
            Err(error) => {
                let detail = format!("{}: {error}", HeadError::HostValue);
                Err(Refusal::of(authority, DenialReason::BadHost).with_detail(detail))
            }
        }
    }

    fn bad_request(&self, bad: BadRequest) -> Refusal {
        let refusal = |reason, detail: String| match &self.way {
            Way::Fixed { authority, .. } => Refusal::of(authority, reason).with_detail(detail),
            Way::Forward => Refusal::malformed(self.head.named(), reason, detail),
        };
        match bad {
            BadRequest::Head(error) => {
                refusal(DenialReason::BadRequest, error.to_string()).with_status(bad_status(error))
            }
            BadRequest::Authority(error) => refusal(DenialReason::BadHost, error.to_string()),
            BadRequest::Method => {
                refusal(DenialReason::Protocol, "the method is not known".into()).with_status(501)
            }
            BadRequest::Trace => {
                refusal(DenialReason::Protocol, "TRACE is not carried".into()).with_status(405)
            }
            BadRequest::Expectation => refusal(
                DenialReason::BadRequest,
                "the expectation is not known".into(),
            )
            .with_status(417),
        }
    }

    /// Asks the policy about this very request.
    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    fn authorize(&self, intent: &Intent, authority: &Authority) -> Result<Permit, Refusal> {
        let path = match &intent.target {
            Target::Absolute(_, path) | Target::Origin(path) => &self.head.bytes[path.clone()],
            Target::Asterisk | Target::OtherScheme { .. } | Target::Tunnel(_) => b"*",
        };
        // `http://host` and `http://host?query` ask for the root.
        let path = match path.first() {
            None | Some(b'?') => RequestPath::parse(b"/"),
            Some(_) => RequestPath::parse(path),
        };
        let http = HttpRequest {
            // Methods that got here are among those of a list.
            method: std::str::from_utf8(self.head.method()).unwrap_or_default(),
            path: &path,
            kind: if intent.websocket {
                HttpKind::WebSocket
            } else {
                HttpKind::Plain
            },
            secure: self.is_secure(),
        };
        authorize_http(&self.shared, authority, http)
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
        intent: &Intent,
        authority: &Authority,
        ticket: &mut Ticket,
        base: Tally,
    ) -> Result<Exchanged, ExchangeError> {
        loop {
            let default_port = if self.is_secure() { 443 } else { 80 };
            rewrite::request(
                &mut upstream.conn.output,
                &self.head,
                intent,
                (authority, default_port),
            );
            let exchange = Exchange {
                down: &mut self.conn,
                up: &mut upstream.conn,
                request: &self.head,
                intent,
                response: &mut self.response,
                watch: &mut self.watch,
                limits: &self.shared.limits,
                tally: &mut ticket.tally,
                base,
            };
            let error = match exchange.run().await {
                Err(ExchangeError::Closed(text)) if upstream.reused && intent.repeatable => text,
                other => return other,
            };
            let Ok(permit) = self.authorize(intent, authority) else {
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

    async fn after(
        &mut self,
        mut upstream: Upstream,
        authority: &Authority,
        done: Exchanged,
        mut ticket: Ticket,
        base: Tally,
    ) -> Next {
        ticket.status = Some(done.status);
        if let Some(error) = &done.error {
            ticket.failed(error);
        }
        if done.upgraded {
            let tally = &mut ticket.tally;
            let limits = &self.shared.limits;
            let copied = copy(
                &mut self.conn,
                &mut upstream.conn,
                &mut self.watch,
                limits,
                tally,
                base,
            );
            if let Err(error) = copied.await {
                ticket.failed(error);
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

    async fn no_upstream(
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
    async fn broken(
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

    async fn fail(
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

    async fn refuse(
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
