//! Where a request goes: the one destination that target, `Host` and connection agree upon.

use std::time::Instant;

use palisade_audit::{Entry, Spoken};
use palisade_policy::{Authority, DenialReason};

use crate::conn::Stream;
use crate::http::head::HeadError;
use crate::http::request::{BadRequest, Intent, Target};
use crate::http::serve::{Requests, Way, bad_status};
use crate::record::Ticket;
use crate::refusal::Refusal;

impl<S: Stream> Requests<S> {
    /// The record of a request, as far as its head shows.
    pub(super) fn ticket(&self, intent: &Result<Intent, BadRequest>, started: Instant) -> Ticket {
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
        ticket.intercepted = self.is_secure();
        let websocket = intent.as_ref().is_ok_and(|intent| intent.websocket);
        ticket.spoken = (!is_connect).then_some(if websocket {
            Spoken::WebSocket
        } else {
            Spoken::H1
        });
        match &self.way {
            Way::Fixed { authority, .. } => ticket.destination(authority),
            Way::Forward => ticket.bad_destination(self.head.named()),
        }
        ticket
    }

    /// What is asked for and where, or why it cannot be.
    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    pub(super) fn destination(
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
        bad_request(bad, refusal)
    }
}

/// The refusal of what is not a request, made by `refusal` of a reason and a detail.
pub(crate) fn bad_request(
    bad: BadRequest,
    refusal: impl Fn(DenialReason, String) -> Refusal,
) -> Refusal {
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
