//! What `palisade check URL` asks for, as the gate would see it.

use std::fmt;

use palisade_policy::{Authority, HostError, HttpKind, HttpRequest, Inspection, RequestPath};

use crate::failure::Failure;
use crate::terminal_text::harmless;

/// What is asked for, as the gate would see it.
pub(super) struct Asked<'a> {
    pub(super) destination: Authority,
    pub(super) method: Option<&'a str>,
    /// The path, where one was written.
    pub(super) written: Option<&'a str>,
    path: RequestPath,
    kind: HttpKind,
    pub(super) secure: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn parse(url: &'a str, method: Option<&'a str>) -> Result<Self, Failure> {
        let destination = destination(url).map_err(|error| {
            let shown = harmless(url);
            Failure::new(format!("`{shown}` is not something to reach: {error}"))
                .hint("write it as https://host/path, host or host:port")
        })?;
        if let Some(method) = method {
            check_method(method)?;
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let written = rest.find(['/', '?']).map(|at| &rest[at..]);
        let written = written.map(|path| path.split('#').next().unwrap_or(path));
        let path = match written {
            Some(path) if path.starts_with('/') => path,
            _ => "/",
        };
        Ok(Self {
            method,
            written,
            path: RequestPath::parse(path.as_bytes()),
            kind: match scheme {
                "ws" | "wss" => HttpKind::WebSocket,
                _ => HttpKind::Plain,
            },
            secure: match scheme {
                "http" | "ws" => false,
                "" => destination.port != 80,
                _ => true,
            },
            destination,
        })
    }

    /// Whether the gate sees the request, and one was named: a host alone asks whether a connection may be made.
    pub(super) fn is_seen(&self, inspection: Inspection) -> bool {
        if self.method == Some("CONNECT") {
            return false;
        }
        let named =
            self.method.is_some() || self.written.is_some() || self.kind == HttpKind::WebSocket;
        named
            && match inspection {
                Inspection::Raw => false,
                Inspection::Tunnel => !self.secure,
                Inspection::Intercept => true,
            }
    }

    /// The path as it was written, without its query.
    pub(super) fn written_path(&self) -> Option<&'a str> {
        let written = self.written?;
        Some(written.split_once('?').map_or(written, |(path, _)| path))
    }

    pub(super) fn http(&self) -> HttpRequest<'_> {
        HttpRequest {
            method: self.method.unwrap_or("GET"),
            path: &self.path,
            kind: self.kind,
            secure: self.secure,
        }
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = self.method {
            write!(f, "{method} ")?;
        }
        write!(f, "{}", self.destination)?;
        f.write_str(&harmless(self.written.unwrap_or_default()))
    }
}

/// The destination of a URL, a host, or host:port, by the gate's own parser of authorities.
fn destination(text: &str) -> Result<Authority, HostError> {
    let (rest, default_port) = match text.split_once("://") {
        Some(("http" | "ws", rest)) => (rest, Some(80)),
        Some(("https" | "wss", rest)) => (rest, Some(443)),
        Some((_, rest)) => (rest, None),
        None => (text, Some(443)),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Authority::parse(&rest.as_bytes()[..end], default_port)
}

/// RFC 9110, section 5.6.2.
fn check_method(method: &str) -> Result<(), Failure> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !method.is_empty() && method.bytes().all(token) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}` is not an HTTP method",
        harmless(method)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_the_gate_reads_them() {
        for (text, expected) in [
            ("https://api.example.com/a?b", "api.example.com:443"),
            ("http://API.example.com", "api.example.com:80"),
            ("api.example.com", "api.example.com:443"),
            ("api.example.com:8443", "api.example.com:8443"),
            ("ssh://git.example.com:22/x", "git.example.com:22"),
            ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ] {
            assert_eq!(destination(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["https://user@host/", "ssh://host", "", "https://a b/"] {
            assert!(destination(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_is_seen_where_the_gate_looks_or_in_clear_text() {
        let seen = |url, method, inspection| Asked::parse(url, method).unwrap().is_seen(inspection);
        let (raw, tunnel, intercept) = (Inspection::Raw, Inspection::Tunnel, Inspection::Intercept);
        assert!(seen("https://a.example/x", None, intercept));
        assert!(seen("a.example", Some("POST"), intercept));
        assert!(seen("http://a.example/", None, tunnel));
        assert!(!seen("https://a.example/x", Some("GET"), tunnel));
        assert!(!seen("https://a.example/x", Some("GET"), raw));
        // A host alone asks whether a connection may be made.
        assert!(!seen("a.example", None, intercept));
        assert!(!seen("a.example:443", Some("CONNECT"), intercept));
    }

    #[test]
    fn what_is_asked_is_shown_as_it_was_written() {
        let shown = |url, method| Asked::parse(url, method).unwrap().to_string();
        assert_eq!(
            shown("https://a.example/x?y#z", Some("GET")),
            "GET a.example:443/x?y"
        );
        assert_eq!(shown("a.example:80", None), "a.example:80");
        assert_eq!(
            shown("https://a.example/\u{1b}[2J", None),
            "a.example:443/\\u{1b}[2J"
        );
        assert!(Asked::parse("https://a.example/", Some("G ET")).is_err());
    }
}
