//! From a permitted request to what is sent for it: looked through for placeholders, and with its credential.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use palisade_credential::Payload;
use palisade_policy::{DenialReason, Permit};
use sha2::{Digest as _, Sha256};

use crate::credential::{self, BodyRoom};
use crate::http::answer::{crowded, misplaced};
use crate::http::head::Framing;
use crate::http::outgoing::Carried;
use crate::http::placeholders;
use crate::http::request::{Intent, RequestHead};
use crate::http::rewrite::{self, Destination};
use crate::http2::call::{Call, End};
use crate::http2::exchange::described;
use crate::http2::head;
use crate::refusal::{Failure, Refusal};

/// A request as it is sent on.
pub(super) struct Outgoing {
    pub(super) request: Request<()>,
    /// Its body, where it had to be read first.
    pub(super) whole: Option<Bytes>,
    pub(super) carried: Option<Carried>,
    _room: Option<BodyRoom>,
}

impl Call {
    /// Readies the request.
    pub(super) async fn compose(
        &mut self,
        permit: &Permit,
        head: &RequestHead,
        intent: &Intent,
    ) -> Result<Outgoing, End> {
        let carried = self.carried(permit).await?;
        let placeholders = self.shared.broker.placeholders();
        if let Some(name) = placeholders::in_request(placeholders, head, carried.as_ref()) {
            let refusal = misplaced(&self.authority, &name);
            self.ticket.credential = Some(name);
            return Err(refusal.into());
        }
        let authority = self.authority.clone();
        let refuse = |detail: String| {
            End::from(Refusal::of(&authority, DenialReason::BadRequest).with_detail(detail))
        };
        let to = Destination {
            authority: &authority,
            secure: true,
            judged: permit.judged_path(),
        };
        let mut outgoing = rewrite::outgoing(head, intent, to);
        let (mut whole, mut room) = (None, None);
        if let Some(carried) = &carried {
            carried
                .clear(&mut outgoing)
                .map_err(|error| refuse(error.to_string()))?;
            if let Payload::Hash { max } = carried.payload(&outgoing) {
                let shared = Arc::clone(&self.shared);
                let limit = shared.limits.stall;
                let taken = shared.broker.body_room(intent.framing, max, limit);
                let taken = self.present(taken).await?;
                let mut taken = taken.map_err(|_| End::from(crowded(&authority)))?;
                let body = self.whole_body(intent, max, carried).await?;
                taken.shrink(body.len());
                room = Some(taken);
                whole = Some(Bytes::from(body));
            }
            let hash = whole.as_ref().map(|body| Sha256::digest(body).into());
            carried
                .inject(&mut outgoing, hash)
                .map_err(|error| refuse(error.to_string()))?;
        }
        let length = match (&whole, intent.framing) {
            (Some(body), framing) if framing != Framing::None => Some(body.len() as u64),
            (None, Framing::Length(length)) => Some(length),
            _ => None,
        };
        let secret = carried
            .as_ref()
            .map_or(&[][..], |c| c.prepared.bound_fields());
        let request = head::request(&outgoing, intent, length, secret)
            .map_err(|_| refuse("the request cannot be written".into()))?;
        Ok(Outgoing {
            request,
            whole,
            carried,
            _room: room,
        })
    }

    async fn carried(&mut self, permit: &Permit) -> Result<Option<Carried>, End> {
        let Some(name) = permit.credential() else {
            return Ok(None);
        };
        let shared = Arc::clone(&self.shared);
        match self.present(credential::get(&shared, name)).await? {
            Ok(carried) => Ok(Some(carried)),
            Err(unavailable) => {
                // The record has what the source said; the agent is told less.
                self.ticket.failed(&*unavailable.detail);
                let text = unavailable.told();
                Err(End::Failed(Failure { status: 502, text }))
            }
        }
    }

    /// Reads a body that has to be known before the head is sent.
    async fn whole_body(
        &mut self,
        intent: &Intent,
        max: usize,
        carried: &Carried,
    ) -> Result<Vec<u8>, End> {
        let authority = self.authority.clone();
        let too_long = || {
            let detail = format!("a body that has to be signed may have {max} bytes");
            let refusal = Refusal::of(&authority, DenialReason::Limit).with_detail(detail);
            End::from(refusal.with_status(413))
        };
        if matches!(intent.framing, Framing::Length(length) if length > max as u64) {
            return Err(too_long());
        }
        self.go_on(intent);
        let Some(body) = &mut self.body else {
            return Ok(Vec::new());
        };
        let mut scan = self.shared.broker.body_scan(Some(carried));
        let mut whole = Vec::new();
        loop {
            let data = match self
                .watch
                .within(self.shared.limits.stall, body.data())
                .await
            {
                Ok(Some(Ok(data))) => data,
                Ok(Some(Err(error))) => {
                    let text = format!("downstream: {}", described(&error));
                    return Err(End::Dropped(text));
                }
                Ok(None) => return Ok(whole),
                Err(_) => return Err(End::Dropped("downstream: the request stalled".into())),
            };
            // It fails if the stream is gone, which the next turn sees.
            let _ = body.flow_control().release_capacity(data.len());
            self.ticket.tally.up += data.len() as u64;
            if whole.len() + data.len() > max {
                return Err(too_long());
            }
            if let Some((name, _)) = scan.as_mut().and_then(|scan| scan.push(&data)) {
                let refusal = misplaced(&self.authority, &name);
                self.ticket.credential = Some(name);
                return Err(refusal.into());
            }
            whole.extend_from_slice(&data);
        }
    }

    /// Tells an agent that waits for it to send its body.
    pub(super) fn go_on(&mut self, intent: &Intent) {
        let waits = self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        if intent.expects_continue && waits {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            // An agent that does not get it sends its body all the same, a little later.
            let _ = self.respond.send_informational(response);
        }
    }
}
