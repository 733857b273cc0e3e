//! From a permitted request to what is sent for it: looked through for placeholders, and with its credential.

use std::sync::Arc;

use palisade_credential::{OutgoingHead, Payload};
use palisade_policy::{Authority, CredentialName, DenialReason, Permit};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::conn::Stream;
use crate::credential::{self, BodyRoom, Unavailable};
use crate::http::answer::crowded;
use crate::http::body::{BodyError, Decoder, Step};
use crate::http::exchange::ExchangeError;
use crate::http::head::Framing;
use crate::http::outgoing::Carried;
use crate::http::placeholders;
use crate::http::request::Intent;
use crate::http::rewrite::{self, Destination};
use crate::http::serve::Requests;
use crate::refusal::Refusal;

/// A request as it is sent on.
pub(crate) struct Outgoing {
    /// Head, and the body where it had to be read first. None: it is written from the head as it came.
    pub(crate) ready: Option<Zeroizing<Vec<u8>>>,
    /// The path that was judged, if one was.
    pub(crate) judged: Option<String>,
    /// Framing of the body as far as it is still to be sent.
    pub(crate) upload: Framing,
    pub(crate) carried: Option<Carried>,
    /// Room that the body takes in memory until it is sent.
    _room: Option<BodyRoom>,
}

/// Why nothing is sent.
pub(crate) enum Stop {
    Refused(Refusal),
    /// The placeholder of this credential stands where it is not bound to.
    Misplaced(CredentialName),
    Unavailable(Unavailable),
    /// The body had to be read first, and could not be.
    Body(ExchangeError),
}

impl<S: Stream> Requests<S> {
    /// Readies the request.
    pub(super) async fn compose(
        &mut self,
        permit: &Permit,
        intent: &Intent,
        authority: &Authority,
    ) -> Result<Outgoing, Stop> {
        let carried = match permit.credential() {
            Some(name) => Some(
                credential::get(&self.shared, name)
                    .await
                    .map_err(Stop::Unavailable)?,
            ),
            None => None,
        };
        if let Some(name) = self.misplaced(carried.as_ref()) {
            return Err(Stop::Misplaced(name));
        }
        let judged = permit.judged_path();
        let Some(carried) = carried else {
            return Ok(Outgoing {
                ready: None,
                judged: judged.map(str::to_owned),
                upload: intent.framing,
                carried: None,
                _room: None,
            });
        };
        self.carry(carried, judged, intent, authority).await
    }

    /// Puts the credential into the request.
    async fn carry(
        &mut self,
        carried: Carried,
        judged: Option<&str>,
        intent: &Intent,
        authority: &Authority,
    ) -> Result<Outgoing, Stop> {
        let to = Destination {
            authority,
            secure: self.is_secure(),
            judged,
        };
        let refuse = |detail: String| {
            Stop::Refused(Refusal::of(authority, DenialReason::BadRequest).with_detail(detail))
        };
        let mut head = rewrite::outgoing(&self.head, intent, to);
        carried
            .clear(&mut head)
            .map_err(|error| refuse(error.to_string()))?;
        let mut room = None;
        let (body, upload) = match carried.payload(&head) {
            Payload::None => (None, intent.framing),
            Payload::Hash { max } => {
                let shared = Arc::clone(&self.shared);
                let mut taken = shared
                    .broker
                    .body_room(intent.framing, max, shared.limits.stall)
                    .await
                    .map_err(|_| Stop::Refused(crowded(authority)))?;
                let body = self.whole_body(intent, max, authority, &carried).await?;
                taken.shrink(body.len());
                room = Some(taken);
                (Some(body), Framing::None)
            }
        };
        let hash = body.as_ref().map(|body| Sha256::digest(body).into());
        carried
            .inject(&mut head, hash)
            .map_err(|error| refuse(error.to_string()))?;
        let framing = match &body {
            Some(body) if intent.framing != Framing::None => Framing::Length(body.len() as u64),
            _ => upload,
        };
        let body = body.as_deref().unwrap_or_default();
        let mut ready = Zeroizing::new(Vec::with_capacity(head_room(&head) + body.len()));
        rewrite::injected(&mut ready, &head, intent, framing);
        ready.extend_from_slice(body);
        wipe(&mut head);
        Ok(Outgoing {
            ready: Some(ready),
            judged: None,
            upload,
            carried: Some(carried),
            _room: room,
        })
    }

    fn misplaced(&self, carried: Option<&Carried>) -> Option<CredentialName> {
        placeholders::in_request(self.shared.broker.placeholders(), &self.head, carried)
    }

    /// Reads a body that has to be known before the head is sent.
    async fn whole_body(
        &mut self,
        intent: &Intent,
        max: usize,
        authority: &Authority,
        carried: &Carried,
    ) -> Result<Vec<u8>, Stop> {
        let too_long = || {
            let detail = format!("a body that has to be signed may have {max} bytes");
            let refusal = Refusal::of(authority, DenialReason::Limit).with_detail(detail);
            Stop::Refused(refusal.with_status(413))
        };
        if matches!(intent.framing, Framing::Length(length) if length > max as u64) {
            return Err(too_long());
        }
        if intent.expects_continue && self.conn.input.is_empty() {
            let sent = self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            sent.map_err(|()| client("ended before its body"))?;
        }
        let mut scan = self.shared.broker.body_scan(Some(carried));
        let mut decoder = Decoder::new(intent.framing);
        let mut body = Vec::new();
        let bad = |error: BodyError| Stop::Body(ExchangeError::BadBody(error));
        loop {
            match decoder.step(self.conn.input.bytes()).map_err(bad)? {
                Step::Done => return Ok(body),
                Step::Skip(count) | Step::Trailer(count) => self.conn.consume(count),
                Step::Data(count) if body.len() + count > max => return Err(too_long()),
                Step::Data(count) => {
                    let data = &self.conn.input.bytes()[..count];
                    let found = scan.as_mut().and_then(|scan| scan.push(data));
                    if let Some((name, _)) = found {
                        return Err(Stop::Body(ExchangeError::Placeholder(name)));
                    }
                    body.extend_from_slice(data);
                    decoder.took(count);
                    self.conn.consume(count);
                }
                Step::More => {
                    let limit = self.shared.limits.stall;
                    match self.watch.within(limit, self.conn.fill()).await {
                        Ok(Ok(1..)) => {}
                        Ok(_) => return Err(client("ended within its body")),
                        Err(_) => return Err(client("the request stalled")),
                    }
                }
            }
        }
    }
}

fn client(text: &str) -> Stop {
    Stop::Body(ExchangeError::Client(text.into()))
}

/// Overwrites a head that was written, and holds a secret.
fn wipe(head: &mut OutgoingHead) {
    head.target.zeroize();
    for (_, value) in &mut head.fields {
        value.zeroize();
    }
}

/// Room for a head as it will be written, so that a vector that grows leaves no copy of the secret behind.
fn head_room(head: &OutgoingHead) -> usize {
    /// What is added: start line, framing, upgrade.
    const AROUND: usize = 256;
    let fields = head
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4);
    AROUND + head.method.len() + head.target.len() + head.host.len() + fields.sum::<usize>()
}
