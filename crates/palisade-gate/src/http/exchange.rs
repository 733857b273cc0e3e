//! One request and its response. One task drives both directions: a small exchange is two reads and two writes.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use palisade_credential::{PlaceholderScan, Redactor};
use palisade_policy::CredentialName;

use crate::conn::{Conn, Stream};
use crate::http::body::BodyError;
use crate::http::filter::Filter;
use crate::http::head::{Framing, HeadError, Scan};
use crate::http::pump::{Pump, PumpError};
use crate::http::redaction::Treatment;
use crate::http::request::{Intent, RequestHead};
use crate::http::response::ResponseHead;
use crate::http::rewrite::{self, Delivery};
use crate::limits::GateLimits;
use crate::record::Tally;
use crate::watch::Watch;

/// How long bytes that may be the beginning of a secret wait for its rest when nothing else comes. More than the
/// shortest time after which TCP sends a lost segment again (200 ms), and little for a stream that has paused anyway.
pub(crate) const HOLD: Duration = Duration::from_millis(500);
/// The bytes of a status line before its reason.
const STATUS_LINE: usize = "HTTP/1.1 200".len();

/// How an exchange that reached its response ended.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// The status that was passed on.
    pub(crate) status: u16,
    /// The agent's connection can carry another request.
    pub(crate) down_reusable: bool,
    /// The upstream connection can carry another request.
    pub(crate) up_reusable: bool,
    /// Both now speak WebSocket.
    pub(crate) upgraded: bool,
    /// The response broke off, or the request did after the response had begun.
    pub(crate) error: Option<ExchangeError>,
}

/// Why there was no response to pass on.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Upstream ended before it sent anything, as a kept connection may that the server has closed meanwhile.
    Closed(String),
    /// Upstream sent something that is no response, or broke off in its head.
    Upstream(String),
    /// Upstream did not answer in time.
    NoResponse,
    /// The agent's body is malformed.
    BadBody(BodyError),
    /// The agent stopped sending, or went away.
    Client(String),
    /// The placeholder of this credential stands in the agent's body.
    Placeholder(CredentialName),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(text) | Self::Upstream(text) => write!(f, "upstream: {text}"),
            Self::NoResponse => f.write_str("upstream: no response in time"),
            Self::BadBody(error) => write!(f, "downstream: {error}"),
            Self::Client(text) => write!(f, "downstream: {text}"),
            Self::Placeholder(name) => {
                write!(f, "the placeholder of credential {name} is in the body")
            }
        }
    }
}

/// The connections and what is known of the exchange.
pub(crate) struct Exchange<'a, D, U> {
    pub(crate) down: &'a mut Conn<D>,
    pub(crate) up: &'a mut Conn<U>,
    pub(crate) request: &'a RequestHead,
    pub(crate) intent: &'a Intent,
    /// Framing of the body as far as it is still to be sent.
    pub(crate) upload: Framing,
    /// What is not to be in it.
    pub(crate) scan: Option<PlaceholderScan>,
    /// The request carries secrets, which the response must not show.
    pub(crate) redactor: Option<&'a Arc<Redactor>>,
    /// Secrets found in it.
    pub(crate) redacted: &'a mut u64,
    pub(crate) response: &'a mut ResponseHead,
    pub(crate) watch: &'a mut Watch,
    pub(crate) limits: &'a GateLimits,
    /// Kept up to date at every wait, so that an exchange that is cut off is recorded with what it moved.
    pub(crate) tally: &'a mut Tally,
    /// What `down` had moved before this request.
    pub(crate) base: Tally,
}

impl<D: Stream, U: Stream> Exchange<'_, D, U> {
    /// Sends the request, whose head stands in `up.output`, and passes the response on.
    pub(crate) async fn run(mut self) -> Result<Exchanged, ExchangeError> {
        if self.intent.expects_continue
            && self.upload != Framing::None
            && self.down.input.is_empty()
        {
            let sent = self.down.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            sent.map_err(|error| ExchangeError::Client(format!("write: {error}")))?;
        }
        let mut upload = Pump::body(self.upload, self.upload == Framing::Chunked);
        if let Some(scan) = self.scan.take().filter(|_| self.upload != Framing::None) {
            upload = upload.through(Filter::scan(scan));
        }
        let mut interim = 0;
        loop {
            self.response_head(&mut upload).await?;
            if !self.response.is_interim() {
                break;
            }
            if self.response.status == 101 {
                return self.upgrade();
            }
            interim += 1;
            if interim > self.limits.interim_responses {
                return Err(ExchangeError::Upstream("too many interim responses".into()));
            }
        }
        self.deliver(upload).await
    }

    /// Sends what there is to send until a response head has come.
    async fn response_head(&mut self, upload: &mut Pump) -> Result<(), ExchangeError> {
        let mut scan = Scan::default();
        let mut upload_failed = false;
        self.watch.begin();
        poll_fn(|cx| {
            let waits_for_client = match self.poll_upload(cx, upload, &mut upload_failed) {
                Poll::Ready(result) => {
                    result?;
                    false
                }
                Poll::Pending => true,
            };
            if let Poll::Ready(result) = self.poll_head(cx, &mut scan) {
                return Poll::Ready(result);
            }
            if !waits_for_client {
                self.poll_client_presence(cx)?;
            }
            self.count();
            let limit = if waits_for_client {
                self.limits.stall
            } else {
                self.wait_limit()
            };
            ready!(
                self.watch
                    .poll_stalled(cx, self.down.progress() + self.up.progress(), limit)
            );
            Poll::Ready(Err(match (waits_for_client, self.down.eof) {
                (true, _) => ExchangeError::Client("the request stalled".into()),
                (_, true) => ExchangeError::Client("ended before the response".into()),
                _ => ExchangeError::NoResponse,
            }))
        })
        .await
    }

    /// Ready when the whole request is sent, or no more of it can be. A server that has seen enough may refuse the
    /// rest and answer all the same, so a failed write is not the end.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut Pump,
        failed: &mut bool,
    ) -> Poll<Result<(), ExchangeError>> {
        if upload.is_done() || *failed {
            return Poll::Ready(Ok(()));
        }
        match ready!(upload.poll(cx, self.down, self.up)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(PumpError::Write(_)) => {
                *failed = true;
                Poll::Ready(Ok(()))
            }
            Err(PumpError::Body(BodyError::Truncated)) => {
                Poll::Ready(Err(ExchangeError::Client(BodyError::Truncated.to_string())))
            }
            Err(PumpError::Body(error)) => Poll::Ready(Err(ExchangeError::BadBody(error))),
            Err(PumpError::Placeholder(name)) => Poll::Ready(Err(ExchangeError::Placeholder(name))),
            Err(error) => Poll::Ready(Err(ExchangeError::Client(error.to_string()))),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scan: &mut Scan,
    ) -> Poll<Result<(), ExchangeError>> {
        let broken = |text: String| Poll::Ready(Err(ExchangeError::Upstream(text)));
        loop {
            let bytes = self.up.input.bytes();
            match scan.scan(bytes, self.limits.head_bytes) {
                Ok(Some(end)) => {
                    let parsed = self.response.parse(&bytes[..end], self.limits.head_fields);
                    self.up.consume(end);
                    return match parsed {
                        Ok(()) => Poll::Ready(Ok(())),
                        Err(error) => broken(error.to_string()),
                    };
                }
                Ok(None) => {}
                Err(error) => return broken(error.to_string()),
            }
            let result = ready!(self.up.poll_fill(cx));
            let text = match result {
                Ok(1..) => continue,
                Ok(0) => "closed the connection before its response".to_owned(),
                Err(error) => format!("read: {error}"),
            };
            // Nothing at all came: a kept connection may have been closed on us. Anything less clean is a failure.
            return if self.up.input.is_empty() {
                Poll::Ready(Err(ExchangeError::Closed(text)))
            } else {
                broken(text)
            };
        }
    }

    /// Notices an agent that went away while upstream is still thinking. What it sends early (the next request) is
    /// kept, up to one buffer.
    fn poll_client_presence(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        if self.down.eof || !self.down.input.is_empty() {
            return Ok(());
        }
        match self.down.poll_fill(cx) {
            Poll::Ready(Err(error)) => Err(ExchangeError::Client(format!("read: {error}"))),
            Poll::Ready(Ok(_)) => {
                // Bytes or the end have come. Nothing else wakes this task for them, so it looks again at once.
                cx.waker().wake_by_ref();
                Ok(())
            }
            Poll::Pending => Ok(()),
        }
    }

    /// A client that has ended its side may be gone altogether, and upstream works for nobody then.
    fn wait_limit(&self) -> Duration {
        if self.down.eof {
            self.limits.half_closed.min(self.limits.response_wait)
        } else {
            self.limits.response_wait
        }
    }

    fn upgrade(&mut self) -> Result<Exchanged, ExchangeError> {
        if !self.intent.websocket || !self.response.is_websocket() {
            return Err(ExchangeError::Upstream(
                "switched to a protocol nobody asked for".into(),
            ));
        }
        self.redact_head();
        let delivery = Delivery {
            framing: Framing::None,
            described: None,
            close: false,
            chunked_allowed: false,
            treatment: None,
        };
        rewrite::response(&mut self.down.output, self.response, delivery);
        Ok(self.finished(false, false, None, true))
    }

    async fn deliver(&mut self, mut upload: Pump) -> Result<Exchanged, ExchangeError> {
        let malformed = |error: HeadError| ExchangeError::Upstream(error.to_string());
        let framing = self
            .response
            .framing(self.intent.is_head)
            .map_err(malformed)?;
        let described = match framing {
            Framing::None => self.response.described_length().map_err(malformed)?,
            _ => None,
        };
        let keeps_alive = self.response.keeps_alive();
        let treatment = self.treatment(framing)?;
        let decoded = treatment
            .as_ref()
            .is_some_and(|treatment| treatment.decoded);
        let sent = match framing {
            // What it decodes to may be of any length.
            Framing::Length(_) if decoded => Framing::Chunked,
            other => other,
        };
        let chunked_allowed = !self.request.is_1_0();
        let until_end = sent == Framing::UntilEnd || (sent == Framing::Chunked && !chunked_allowed);
        let close = until_end || !self.intent.keep_alive || !upload.is_done();
        self.redact_head();
        let described = described.filter(|_| !decoded);
        let delivery = Delivery {
            framing: sent,
            described,
            close,
            chunked_allowed,
            treatment: treatment.as_ref(),
        };
        rewrite::response(&mut self.down.output, self.response, delivery);
        let mut download = Pump::body(framing, sent == Framing::Chunked && chunked_allowed);
        if let Some(treatment) = treatment {
            download = download.through(Filter::Redact(Box::new(treatment.body)));
        }
        if self.intent.takes_trailers {
            download = download.with_trailers();
        }
        let before = self.down.written;
        let error = self.transfer(&mut upload, &mut download).await.err();
        *self.redacted += download.take_found();
        if self.down.written == before
            && let Some(error) = error
        {
            // Nothing of the response was sent, so ours can still take its place.
            self.down.output.clear();
            return Err(error);
        }
        let sound = error.is_none() && upload.is_done();
        let up_reusable = sound
            && framing != Framing::UntilEnd
            && keeps_alive
            && self.up.input.is_empty()
            && !self.up.eof;
        Ok(self.finished(sound && !close, up_reusable, error, false))
    }

    /// How a response to a request with a credential is treated.
    fn treatment(&self, framing: Framing) -> Result<Option<Treatment>, ExchangeError> {
        let Some(redactor) = self.redactor else {
            return Ok(None);
        };
        Treatment::of(redactor, self.response, framing != Framing::None)
            .map(Some)
            .map_err(|error| ExchangeError::Upstream(error.to_string()))
    }

    /// Takes secrets out of the response's head. Everything that is read from it has been read before.
    fn redact_head(&mut self) {
        if let Some(redactor) = self.redactor {
            let rest = &mut self.response.bytes[STATUS_LINE..];
            *self.redacted += redactor.redact(rest) as u64;
        }
    }

    /// Moves the response, and beside it the rest of the request if there is any.
    async fn transfer(
        &mut self,
        upload: &mut Pump,
        download: &mut Pump,
    ) -> Result<(), ExchangeError> {
        let mut failed = false;
        self.watch.begin();
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(Err(error)) = self.poll_upload(cx, upload, &mut failed) {
                    return Poll::Ready(Err(error));
                }
                if let Poll::Ready(result) = download.poll(cx, self.up, self.down) {
                    return Poll::Ready(result.map_err(|error| match error {
                        PumpError::Write(_) => ExchangeError::Client(error.to_string()),
                        _ => ExchangeError::Upstream(error.to_string()),
                    }));
                }
                self.count();
                let (holding, held_up) = (download.is_holding(), download.held_up);
                let limit = match (held_up, holding) {
                    (true, _) => self.limits.stall,
                    (false, true) => HOLD,
                    (false, false) => self.limits.response_wait,
                };
                ready!(self.watch.poll_stalled(
                    cx,
                    self.down.progress() + self.up.progress(),
                    limit
                ));
                if held_up || !holding {
                    let text = "the response stalled".to_owned();
                    return Poll::Ready(Err(ExchangeError::Upstream(text)));
                }
                download.release(self.down);
                self.watch.begin();
            }
        })
        .await
    }

    fn count(&mut self) {
        *self.tally = self.down.tally().since(self.base);
    }

    fn finished(
        &mut self,
        down_reusable: bool,
        up_reusable: bool,
        error: Option<ExchangeError>,
        upgraded: bool,
    ) -> Exchanged {
        self.count();
        Exchanged {
            status: self.response.status,
            down_reusable,
            up_reusable,
            upgraded,
            error,
        }
    }
}
