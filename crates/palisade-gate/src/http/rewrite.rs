//! Heads as they are sent on: written from parsed parts, never copied whole.

use std::io::Write as _;

use palisade_credential::OutgoingHead;
use palisade_policy::Authority;

use crate::http::head::{self, Field, FieldName, Framing};
use crate::http::redaction::Treatment;
use crate::http::request::{Intent, RequestHead, Target};
use crate::http::response::ResponseHead;

/// Where a request goes, and how its target is written.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) authority: &'a Authority,
    /// Within TLS.
    pub(crate) secure: bool,
    /// The path that was judged, if one was: it is sent in place of what came.
    pub(crate) judged: Option<&'a str>,
}

impl Destination<'_> {
    /// What `Host` says: the port is left out where it is the scheme's own.
    pub(crate) fn host(&self) -> String {
        let default = if self.secure { 443 } else { 80 };
        if self.authority.port == default {
            self.authority.host.to_string()
        } else {
            self.authority.to_string()
        }
    }
}

/// Writes the request. The name of its destination is the only thing `Host` can say.
pub(crate) fn request(out: &mut Vec<u8>, head: &RequestHead, intent: &Intent, to: Destination<'_>) {
    out.extend_from_slice(head.method());
    out.push(b' ');
    target(out, head, intent, to.judged);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    let default_port = if to.secure { 443 } else { 80 };
    // Writing to a vector cannot fail.
    let _ = if to.authority.port == default_port {
        write!(out, "{}", to.authority.host)
    } else {
        write!(out, "{}", to.authority)
    };
    out.extend_from_slice(b"\r\n");
    for field in end_to_end(&head.bytes, &head.fields, false) {
        line(
            out,
            &head.bytes[field.name.clone()],
            &head.bytes[field.value.clone()],
        );
    }
    end_of_request(out, intent, intent.framing);
}

/// The same request as data, for a credential to be put into.
pub(crate) fn outgoing(head: &RequestHead, intent: &Intent, to: Destination<'_>) -> OutgoingHead {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut path = Vec::new();
    target(&mut path, head, intent, to.judged);
    let fields = end_to_end(&head.bytes, &head.fields, false).map(|field| {
        let name = text(&head.bytes[field.name.clone()]);
        (name, head.bytes[field.value.clone()].to_vec())
    });
    OutgoingHead {
        method: text(head.method()),
        secure: to.secure,
        host: to.host(),
        target: text(&path),
        fields: fields.collect(),
    }
}

/// Writes such a request, with a body in this framing.
pub(crate) fn injected(out: &mut Vec<u8>, head: &OutgoingHead, intent: &Intent, framing: Framing) {
    let (method, target, host) = (&head.method, &head.target, &head.host);
    let _ = write!(out, "{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in &head.fields {
        if !name.eq_ignore_ascii_case("host") {
            line(out, name.as_bytes(), value);
        }
    }
    end_of_request(out, intent, framing);
}

fn end_of_request(out: &mut Vec<u8>, intent: &Intent, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilEnd => {}
    }
    if intent.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if intent.takes_trailers {
        // A server keeps its trailers to itself unless it is told that they can be taken (RFC 9110 section 6.5.1).
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn target(out: &mut Vec<u8>, head: &RequestHead, intent: &Intent, judged: Option<&str>) {
    match &intent.target {
        Target::Absolute(_, sent) | Target::Origin(sent) => {
            let sent = &head.bytes[sent.clone()];
            if let Some(judged) = judged {
                let query = sent.iter().position(|b| *b == b'?').unwrap_or(sent.len());
                out.extend_from_slice(judged.as_bytes());
                out.extend_from_slice(&sent[query..]);
            } else if sent.is_empty() && head.method() == b"OPTIONS" {
                out.push(b'*');
            } else {
                if !sent.starts_with(b"/") {
                    out.push(b'/');
                }
                out.extend_from_slice(sent);
            }
        }
        Target::Asterisk | Target::OtherScheme { .. } | Target::Tunnel(_) => out.push(b'*'),
    }
}

/// How a response reaches the agent.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// Framing of the body as it is sent on.
    pub(crate) framing: Framing,
    /// The length of a body that is described and not sent (HEAD, 304).
    pub(crate) described: Option<u64>,
    /// The agent's connection ends with it.
    pub(crate) close: bool,
    /// The agent understands chunks.
    pub(crate) chunked_allowed: bool,
    /// It answers a request with a credential.
    pub(crate) treatment: Option<&'a Treatment>,
}

/// Writes the response head.
pub(crate) fn response(out: &mut Vec<u8>, head: &ResponseHead, delivery: Delivery<'_>) {
    let _ = write!(out, "HTTP/1.1 {:03} ", head.status);
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    for field in end_to_end(&head.bytes, &head.fields, true) {
        let name = &head.bytes[field.name.clone()];
        if !delivery
            .treatment
            .is_some_and(|treatment| treatment.drops(name))
        {
            line(out, name, &head.bytes[field.value.clone()]);
        }
    }
    match delivery.framing {
        Framing::Length(length) => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked if delivery.chunked_allowed => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Framing::None | Framing::Chunked | Framing::UntilEnd => {
            if let Some(length) = delivery.described {
                let _ = write!(out, "content-length: {length}\r\n");
            }
        }
    }
    if head.status == 101 {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if delivery.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields that are meant for the other end: all but those of one connection, those named by `Connection`, those
/// that are written anew, and claims that the sender has no right to make.
pub(crate) fn end_to_end<'a>(
    bytes: &'a [u8],
    fields: &'a [Field],
    is_response: bool,
) -> impl Iterator<Item = &'a Field> {
    let has_options = fields.iter().any(|field| field.id == FieldName::Connection);
    fields.iter().filter(move |field| {
        let keep = match field.id {
            FieldName::Other => true,
            FieldName::AltSvc => !is_response,
            _ => false,
        };
        keep && !(has_options && is_named_by_connection(bytes, fields, &bytes[field.name.clone()]))
    })
}

fn is_named_by_connection(bytes: &[u8], fields: &[Field], name: &[u8]) -> bool {
    fields
        .iter()
        .filter(|field| field.id == FieldName::Connection)
        .flat_map(|field| head::list(&bytes[field.value.clone()]))
        .any(|option| option.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_policy::Host;

    fn rewritten(text: &str) -> String {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), 100).unwrap();
        let intent = head.intent().unwrap();
        let authority = Authority {
            host: Host::parse(b"a.example").unwrap(),
            port: 8080,
        };
        let mut out = Vec::new();
        let to = Destination {
            authority: &authority,
            secure: false,
            judged: None,
        };
        request(&mut out, &head, &intent, to);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn c04_d38_f16_only_end_to_end_fields_pass() {
        let text = "GET http://a.example:8080?q HTTP/1.1\r\nHost: a.example:8080\r\nAccept: x\r\n\
            Proxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nConnection: X-Own, upgrade\r\n\
            X-Own: y\r\nKeep-Alive: 5\r\nTE: gzip\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
            Forwarded: for=x\r\nX-Forwarded-Host: x\r\nX-Original-URL: /y\r\nX-Envoy-Internal: 1\r\n\
            Palisade-Token: x\r\nExpect: 100-continue\r\nX_Y: z\r\n\r\n";
        let expected = "GET /?q HTTP/1.1\r\nhost: a.example:8080\r\nAccept: x\r\nX_Y: z\r\n\r\n";
        assert_eq!(rewritten(text), expected);
    }

    #[test]
    fn connection_cannot_take_away_what_is_written_anew() {
        let text = "POST /x HTTP/1.1\r\nHost: a.example\r\nConnection: host, content-length\r\n\
            Content-Length: 3\r\n\r\n";
        let expected = "POST /x HTTP/1.1\r\nhost: a.example:8080\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(rewritten(text), expected);
    }

    #[test]
    fn d34_alternative_services_are_not_offered() {
        let mut head = ResponseHead::default();
        let text = "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nPalisade-Denied: x\r\nA: b\r\n\r\n";
        head.parse(text.as_bytes(), 10).unwrap();
        let delivery = Delivery {
            framing: Framing::Chunked,
            described: None,
            close: false,
            chunked_allowed: true,
            treatment: None,
        };
        let mut out = Vec::new();
        response(&mut out, &head, delivery);
        let expected = "HTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
