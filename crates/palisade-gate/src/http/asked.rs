//! What the policy is asked about one request, in both versions of HTTP.

use palisade_audit::Spoken;
use palisade_policy::{Authority, DenialReason, HttpKind, HttpRequest, Permit, RequestPath};

use crate::authorize::authorize_http;
use crate::http::head::FieldName;
use crate::http::placeholders;
use crate::http::request::{Intent, RequestHead, Target};
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;

/// A request as far as it is decided about.
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) intent: &'a Intent,
    pub(crate) authority: &'a Authority,
    /// It came within TLS.
    pub(crate) secure: bool,
    /// HTTP of this version.
    pub(crate) version: Spoken,
}

impl Asked<'_> {
    /// Asks the policy about this very request. The record is told what is spoken.
    #[allow(
        clippy::result_large_err,
        reason = "a refusal is built once and sent at once"
    )]
    pub(crate) fn permit(&self, shared: &Shared, ticket: &mut Ticket) -> Result<Permit, Refusal> {
        let Self { head, intent, .. } = self;
        let path = match &intent.target {
            Target::Absolute(_, path) | Target::Origin(path) => &head.bytes[path.clone()],
            Target::Asterisk | Target::OtherScheme { .. } | Target::Tunnel(_) => b"*",
        };
        // `http://host` and `http://host?query` ask for the root.
        let path = match path.first() {
            None | Some(b'?') => RequestPath::parse(b"/"),
            Some(_) => RequestPath::parse(path),
        };
        let is_type = |name: &[u8]| name.eq_ignore_ascii_case(b"content-type");
        let types = head
            .fields
            .iter()
            .filter(|field| {
                field.id == FieldName::Other && is_type(&head.bytes[field.name.clone()])
            })
            .map(|field| &head.bytes[field.value.clone()]);
        let is_post = head.method() == b"POST";
        let kind = kind(intent.websocket, is_post, types).map_err(|_| {
            let detail = "there are two Content-Type fields, and one of them says gRPC";
            Refusal::of(self.authority, DenialReason::BadRequest).with_detail(detail)
        })?;
        ticket.spoken = Some(spoken(kind, self.version));
        let http = HttpRequest {
            // Methods that got here are among those of a list.
            method: std::str::from_utf8(head.method()).unwrap_or_default(),
            path: &path,
            kind,
            secure: self.secure,
        };
        let denied = match authorize_http(shared, self.authority, http) {
            Ok(permit) => return Ok(permit),
            Err(denied) => denied,
        };
        // Refused for another reason, and still the sign of an agent that was talked into something.
        let placeholders = shared.broker.placeholders();
        if let Some(name) = placeholders::in_request(placeholders, head, None) {
            ticket.failed(format!("it carries the placeholder of credential {name}"));
            ticket.credential = Some(name);
        }
        Err(denied)
    }
}

/// Two `Content-Type` fields of which one says gRPC: which of them counts is anybody's guess (C17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TwoTypes;

/// What a request is the beginning of, by its upgrade and its `Content-Type` fields. A call of gRPC is a POST ("gRPC over
/// HTTP2", Call-Definition): many servers answer another method whatever type it claims, so the type makes it none.
fn kind<'a>(
    websocket: bool,
    is_post: bool,
    mut content_types: impl Iterator<Item = &'a [u8]>,
) -> Result<HttpKind, TwoTypes> {
    if websocket {
        return Ok(HttpKind::WebSocket);
    }
    let first = content_types.next();
    let mut grpc = first.is_some_and(is_grpc);
    let mut count = usize::from(first.is_some());
    for other in content_types {
        grpc |= is_grpc(other);
        count += 1;
    }
    match (grpc, count) {
        (true, 2..) => Err(TwoTypes),
        (true, _) if is_post => Ok(HttpKind::Grpc),
        _ => Ok(HttpKind::Plain),
    }
}

/// How the record names it, spoken over HTTP of this version.
fn spoken(kind: HttpKind, http: Spoken) -> Spoken {
    match kind {
        HttpKind::Plain => http,
        HttpKind::WebSocket => Spoken::WebSocket,
        HttpKind::Grpc => Spoken::Grpc,
    }
}

/// `application/grpc`, with a suffix or parameters. `application/grpc-web` is plain HTTP.
pub(crate) fn is_grpc(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let begins = value.get(..TYPE.len());
    let rest = value.get(TYPE.len());
    begins.is_some_and(|begin| begin.eq_ignore_ascii_case(TYPE))
        && matches!(rest, None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_upgrade_and_type() {
        let of = |types: &[&str]| kind(false, true, types.iter().map(|text| text.as_bytes()));
        assert_eq!(of(&[]), Ok(HttpKind::Plain));
        assert_eq!(of(&["application/json"]), Ok(HttpKind::Plain));
        for grpc in [
            "application/grpc",
            "Application/gRPC+proto",
            "application/grpc; x=y",
        ] {
            assert_eq!(of(&[grpc]), Ok(HttpKind::Grpc), "{grpc}");
        }
        assert_eq!(of(&["application/grpc-web"]), Ok(HttpKind::Plain));
        let claims = || [&b"application/grpc"[..]].into_iter();
        assert_eq!(kind(true, false, claims()), Ok(HttpKind::WebSocket));
        assert_eq!(kind(false, false, claims()), Ok(HttpKind::Plain));
    }

    #[test]
    fn c17_two_types_are_not_taken_for_either() {
        let of = |types: &[&str]| kind(false, true, types.iter().map(|text| text.as_bytes()));
        assert_eq!(of(&["text/plain", "application/grpc"]), Err(TwoTypes));
        assert_eq!(of(&["application/grpc", "text/plain"]), Err(TwoTypes));
        assert_eq!(of(&["text/plain", "text/html"]), Ok(HttpKind::Plain));
    }
}
