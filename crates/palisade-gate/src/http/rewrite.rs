//! Heads as they are sent on: written from parsed parts, never copied whole.

use std::io::Write as _;

use palisade_policy::Authority;

use crate::http::head::{self, Field, FieldName, Framing};
use crate::http::request::{Intent, RequestHead, Target};
use crate::http::response::ResponseHead;

/// Writes the request for `authority`, whose name is the only thing `Host` can say.
pub(crate) fn request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    intent: &Intent,
    (authority, default_port): (&Authority, u16),
) {
    out.extend_from_slice(head.method());
    out.push(b' ');
    path(out, head, intent);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    // Writing to a vector cannot fail.
    let _ = if authority.port == default_port {
        write!(out, "{}", authority.host)
    } else {
        write!(out, "{authority}")
    };
    out.extend_from_slice(b"\r\n");
    end_to_end(out, &head.bytes, &head.fields, false);
    match intent.framing {
        Framing::Length(length) => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilEnd => {}
    }
    if intent.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn path(out: &mut Vec<u8>, head: &RequestHead, intent: &Intent) {
    match &intent.target {
        Target::Absolute(_, path) if path.is_empty() && head.method() == b"OPTIONS" => {
            out.push(b'*');
        }
        Target::Absolute(_, path) | Target::Origin(path) => {
            let path = &head.bytes[path.clone()];
            if !path.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(path);
        }
        Target::Asterisk | Target::OtherScheme { .. } | Target::Tunnel(_) => out.push(b'*'),
    }
}

/// How a response reaches the agent.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    /// Framing of the response as it came.
    pub(crate) framing: Framing,
    /// It answers a HEAD request: its length describes a body that is not sent.
    pub(crate) to_head: bool,
    /// The agent's connection ends with it.
    pub(crate) close: bool,
    /// The agent understands chunks.
    pub(crate) chunked_allowed: bool,
}

/// Writes the response head.
pub(crate) fn response(out: &mut Vec<u8>, head: &ResponseHead, delivery: Delivery) {
    let _ = write!(out, "HTTP/1.1 {:03} ", head.status);
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    end_to_end(out, &head.bytes, &head.fields, true);
    match delivery.framing {
        Framing::Length(length) => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked if delivery.chunked_allowed => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Framing::None if delivery.to_head || head.status == 304 => {
            if let Ok(Some(Framing::Length(length))) = head::framing(&head.bytes, &head.fields) {
                let _ = write!(out, "content-length: {length}\r\n");
            }
        }
        Framing::None | Framing::Chunked | Framing::UntilEnd => {}
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
fn end_to_end(out: &mut Vec<u8>, bytes: &[u8], fields: &[Field], is_response: bool) {
    let has_options = fields.iter().any(|field| field.id == FieldName::Connection);
    for field in fields {
        let keep = match field.id {
            FieldName::Other => true,
            FieldName::AltSvc => !is_response,
            _ => false,
        };
        let name = &bytes[field.name.clone()];
        if !keep || (has_options && is_named_by_connection(bytes, fields, name)) {
            continue;
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&bytes[field.value.clone()]);
        out.extend_from_slice(b"\r\n");
    }
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
        request(&mut out, &head, &intent, (&authority, 80));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn c04_d38_f16_only_end_to_end_fields_pass() {
        let text = "GET http://a.example:8080?q HTTP/1.1\r\nHost: a.example:8080\r\nAccept: x\r\n\
            Proxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nConnection: X-Own, upgrade\r\n\
            X-Own: y\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
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
            to_head: false,
            close: false,
            chunked_allowed: true,
        };
        let mut out = Vec::new();
        response(&mut out, &head, delivery);
        let expected = "HTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
