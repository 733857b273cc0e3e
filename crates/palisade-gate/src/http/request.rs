//! A request head, and what it asks for.

use std::ops::Range;

use palisade_policy::{Authority, HostError};

use crate::http::head::{self, Field, FieldName, Framing, HeadError};

/// Methods the gate carries: RFC 9110, PATCH, QUERY, and WebDAV with its versioning and search (git and calendars use
/// them). Anything else is refused: `G'ET` and lower-case forms are read differently by different servers (P04).
const METHODS: [&[u8]; 26] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"QUERY",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"MKCALENDAR",
    b"CHECKOUT",
    b"CHECKIN",
    b"UNCHECKOUT",
    b"MERGE",
    b"MKACTIVITY",
    b"BIND",
    b"PURGE",
];

/// A request head: its bytes, and where its parts stand in them.
#[derive(Default)]
pub(crate) struct RequestHead {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    method: Range<usize>,
    target: Range<usize>,
    minor: u8,
}

/// Where the target says the request should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `http://host/path`: the authority, and the range of path and query.
    Absolute(Authority, Range<usize>),
    /// Another scheme than `http`. Its text is not kept: an https target may carry a key in its query.
    OtherScheme { https: bool },
    /// `/path?query`.
    Origin(Range<usize>),
    /// `*`, for OPTIONS.
    Asterisk,
    /// `host:port`, for CONNECT.
    Tunnel(Authority),
}

/// Why a request cannot be taken, as far as its head shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    Head(HeadError),
    /// The authority in the target.
    Authority(HostError),
    /// A method the gate does not carry.
    Method,
    /// TRACE or TRACK, which send back what they were sent (C07).
    Trace,
    /// An expectation other than `100-continue`.
    Expectation,
}

impl From<HeadError> for BadRequest {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

/// What a head asks for.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) target: Target,
    /// The value of `Host`.
    pub(crate) host: Option<Range<usize>>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) websocket: bool,
    /// The client can take trailers.
    pub(crate) takes_trailers: bool,
    /// It is HEAD: the response has no body.
    pub(crate) is_head: bool,
    /// Sent twice it does what it does sent once (RFC 9110 section 9.2.2), and it has no body.
    pub(crate) repeatable: bool,
}

impl RequestHead {
    /// Parses a complete head.
    pub(crate) fn parse(&mut self, bytes: &[u8], max_fields: usize) -> Result<(), HeadError> {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        // Whatever fails below, the parts of an earlier request are gone.
        self.method = 0..0;
        self.target = 0..0;
        let line = head::fields(&self.bytes, max_fields, &mut self.fields)?;
        let start = start_line(&self.bytes[line])?;
        self.method = start.method;
        self.target = start.target;
        self.minor = start.minor;
        Ok(())
    }

    pub(crate) fn method(&self) -> &[u8] {
        &self.bytes[self.method.clone()]
    }

    pub(crate) fn target(&self) -> &[u8] {
        &self.bytes[self.target.clone()]
    }

    pub(crate) fn is_1_0(&self) -> bool {
        self.minor == 0
    }

    /// The authority part of the target as it was sent, for the record of a request that names no good host.
    pub(crate) fn named(&self) -> &[u8] {
        let target = self.target();
        let rest = match memchr::memmem::find(target, b"://") {
            Some(at) => &target[at + 3..],
            None if target.starts_with(b"/") => return b"",
            None => target,
        };
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Says what is asked for, or why it cannot be.
    pub(crate) fn intent(&self) -> Result<Intent, BadRequest> {
        let method = self.method();
        if matches!(method, b"TRACE" | b"TRACK") {
            return Err(BadRequest::Trace);
        }
        if !METHODS.contains(&method) {
            return Err(BadRequest::Method);
        }
        let framing = head::framing(&self.bytes, &self.fields)?;
        if self.is_1_0() && framing == Some(Framing::Chunked) {
            return Err(HeadError::Encoding.into());
        }
        let framing = framing.unwrap_or(Framing::None);
        let options = self.connection_options()?;
        if options.websocket && framing != Framing::None {
            return Err(HeadError::Upgrade.into());
        }
        let is_connect = method == b"CONNECT";
        if is_connect && !matches!(framing, Framing::None | Framing::Length(0)) {
            return Err(HeadError::ConnectBody.into());
        }
        Ok(Intent {
            target: self.parse_target(is_connect)?,
            host: self.host()?,
            framing,
            keep_alive: !self.is_1_0() && !options.close,
            expects_continue: options.expects_continue,
            websocket: options.websocket,
            takes_trailers: options.takes_trailers,
            is_head: method == b"HEAD",
            repeatable: framing == Framing::None
                && matches!(
                    method,
                    b"GET" | b"HEAD" | b"OPTIONS" | b"PROPFIND" | b"REPORT" | b"QUERY"
                ),
        })
    }

    fn parse_target(&self, is_connect: bool) -> Result<Target, BadRequest> {
        let target = self.target();
        if target.contains(&b'#') {
            return Err(HeadError::Fragment.into());
        }
        if is_connect {
            let authority = Authority::parse(target, None).map_err(BadRequest::Authority)?;
            return Ok(Target::Tunnel(authority));
        }
        if target.starts_with(b"/") {
            return Ok(Target::Origin(self.target.clone()));
        }
        if target == b"*" && self.method() == b"OPTIONS" {
            return Ok(Target::Asterisk);
        }
        let scheme = memchr::memmem::find(target, b"://").ok_or(HeadError::Target)?;
        if !target[..scheme].eq_ignore_ascii_case(b"http") {
            let https = target[..scheme].eq_ignore_ascii_case(b"https");
            return Ok(Target::OtherScheme { https });
        }
        let from = self.target.start + scheme + 3;
        let rest = &self.bytes[from..self.target.end];
        let length = rest
            .iter()
            .position(|b| matches!(b, b'/' | b'?'))
            .unwrap_or(rest.len());
        let authority =
            Authority::parse(&rest[..length], Some(80)).map_err(BadRequest::Authority)?;
        Ok(Target::Absolute(authority, from + length..self.target.end))
    }

    fn host(&self) -> Result<Option<Range<usize>>, BadRequest> {
        let mut hosts = self.fields.iter().filter(|f| f.id == FieldName::Host);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => Ok(Some(host.value.clone())),
            (None, _) if self.is_1_0() => Ok(None),
            _ => Err(HeadError::HostCount.into()),
        }
    }

    fn connection_options(&self) -> Result<Options, BadRequest> {
        let mut options = Options::default();
        let (mut upgrade, mut websocket) = (false, false);
        for field in &self.fields {
            let value = &self.bytes[field.value.clone()];
            match field.id {
                FieldName::Connection => {
                    for option in head::list(value) {
                        options.close |= option.eq_ignore_ascii_case(b"close");
                        upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                FieldName::Te => {
                    let trailers = |item: &[u8]| item.eq_ignore_ascii_case(b"trailers");
                    options.takes_trailers |= !self.is_1_0() && head::list(value).any(trailers);
                }
                FieldName::Upgrade => websocket |= value.eq_ignore_ascii_case(b"websocket"),
                FieldName::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                    options.expects_continue = !self.is_1_0();
                }
                FieldName::Expect => return Err(BadRequest::Expectation),
                _ => {}
            }
        }
        options.websocket = upgrade && websocket && self.method() == b"GET" && !self.is_1_0();
        Ok(options)
    }
}

#[derive(Default)]
struct Options {
    close: bool,
    websocket: bool,
    expects_continue: bool,
    takes_trailers: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StartLine {
    method: Range<usize>,
    target: Range<usize>,
    minor: u8,
}

/// `METHOD SP target SP HTTP/1.x`, one space each (RFC 9112 section 3).
pub(crate) fn start_line(line: &[u8]) -> Result<StartLine, HeadError> {
    let method = memchr::memchr(b' ', line).ok_or(HeadError::StartLine)?;
    let last = memchr::memrchr(b' ', line).ok_or(HeadError::StartLine)?;
    if last == method || !head::is_token(&line[..method]) {
        return Err(HeadError::StartLine);
    }
    let version = line[last + 1..]
        .strip_prefix(b"HTTP/")
        .ok_or(HeadError::StartLine)?;
    let minor = match version {
        b"1.1" => 1,
        b"1.0" => 0,
        _ => return Err(HeadError::Version),
    };
    let target = method + 1..last;
    let visible = line[target.clone()].iter().all(u8::is_ascii_graphic);
    if target.is_empty() || !visible {
        return Err(HeadError::Target);
    }
    Ok(StartLine {
        method: 0..method,
        target,
        minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_policy::Host;
    use proptest::prelude::*;

    fn intent(text: &str) -> Result<Intent, BadRequest> {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), 100)?;
        head.intent()
    }

    fn line(line: &str) -> Result<Intent, BadRequest> {
        intent(&format!("{line}\r\nhost: a.example\r\n\r\n"))
    }

    fn bad(line_text: &str) -> BadRequest {
        line(line_text).unwrap_err()
    }

    #[test]
    fn targets_of_each_form() {
        let to = |host: &str, port| Authority {
            host: Host::parse(host.as_bytes()).unwrap(),
            port,
        };
        let absolute = |text: &str| match line(text).unwrap().target {
            Target::Absolute(authority, _) => authority,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            absolute("GET http://A.example/x HTTP/1.1"),
            to("a.example", 80)
        );
        assert_eq!(
            absolute("GET HTTP://a.example:81?x HTTP/1.1"),
            to("a.example", 81)
        );
        let tunnel = line("CONNECT [2001:db8::1]:443 HTTP/1.1").unwrap().target;
        assert_eq!(tunnel, Target::Tunnel(to("[2001:db8::1]", 443)));
        assert_eq!(line("OPTIONS * HTTP/1.1").unwrap().target, Target::Asterisk);
        assert!(matches!(
            line("GET /x HTTP/1.1").unwrap().target,
            Target::Origin(_)
        ));
    }

    #[test]
    fn d40_other_schemes_are_seen_as_such() {
        for scheme in ["ftp", "file", "gopher", "ws", "urn", "cache_object"] {
            let target = line(&format!("GET {scheme}://a.example/ HTTP/1.1"))
                .unwrap()
                .target;
            assert_eq!(target, Target::OtherScheme { https: false }, "{scheme}");
        }
        let https = line("GET https://a.example/?key HTTP/1.1").unwrap().target;
        assert_eq!(https, Target::OtherScheme { https: true });
    }

    #[test]
    fn d07_d08_targets_are_not_repaired() {
        for target in [
            "http://allowed.com@evil.com/",
            "http://evil\\@allowed.com/",
            "http://evil;@allowed.com/",
            "http://evil%2eexample/",
            "http:///x",
            "http://a:0/",
        ] {
            let error = bad(&format!("GET {target} HTTP/1.1"));
            assert!(
                matches!(error, BadRequest::Authority(_)),
                "{target}: {error:?}"
            );
        }
        for target in ["a.example/x", "http:a.example", "*", "\\x"] {
            let error = bad(&format!("GET {target} HTTP/1.1"));
            assert_eq!(error, BadRequest::Head(HeadError::Target), "{target}");
        }
    }

    #[test]
    fn p02_fragments_are_refused() {
        for target in ["/x#y", "http://a.example/#", "http://evil#@a.example/"] {
            let error = bad(&format!("GET {target} HTTP/1.1"));
            assert_eq!(error, BadRequest::Head(HeadError::Fragment), "{target}");
        }
    }

    #[test]
    fn p04_methods_are_exact() {
        for method in ["get", "G'ET", "GETT", "MERG", "SSTP_DUPLEX_POST"] {
            assert_eq!(
                bad(&format!("{method} / HTTP/1.1")),
                BadRequest::Method,
                "{method}"
            );
        }
        assert_eq!(bad("TRACE / HTTP/1.1"), BadRequest::Trace);
        assert_eq!(
            bad("G@T / HTTP/1.1"),
            BadRequest::Head(HeadError::StartLine)
        );
    }

    #[test]
    fn f13_versions() {
        assert!(line("GET / HTTP/1.0").is_ok());
        for version in [
            "HTTP/0.9",
            "HTTP/1.9",
            "HTTP/2.0",
            "HTTP/01.1",
            "HTTP/1.1x",
            "HTTP/",
        ] {
            let error = bad(&format!("GET / {version}"));
            assert_eq!(error, BadRequest::Head(HeadError::Version), "{version}");
        }
        for start in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / x HTTP/1.1",
            "GET /\tHTTP/1.1",
            "GET / http/1.1",
        ] {
            assert!(matches!(bad(start), BadRequest::Head(_)), "{start}");
        }
        assert_eq!(bad("PRI * HTTP/2.0"), BadRequest::Head(HeadError::Version));
    }

    #[test]
    fn d20_exactly_one_host() {
        let hosts = |lines: &str| intent(&format!("GET / HTTP/1.1\r\n{lines}a: b\r\n\r\n"));
        assert!(hosts("host: a\r\n").is_ok());
        let error = hosts("host: a\r\nHOST: a\r\n").unwrap_err();
        assert_eq!(error, BadRequest::Head(HeadError::HostCount));
        assert_eq!(
            hosts("").unwrap_err(),
            BadRequest::Head(HeadError::HostCount)
        );
    }

    #[test]
    fn f04_f17_expectations_and_upgrades() {
        let with = |lines: &str| intent(&format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"));
        assert!(with("expect: 100-Continue").unwrap().expects_continue);
        assert_eq!(with("expect: tea").unwrap_err(), BadRequest::Expectation);
        assert!(
            with("connection: keep-alive, Upgrade\r\nupgrade: WebSocket")
                .unwrap()
                .websocket
        );
        assert!(!with("upgrade: websocket").unwrap().websocket);
        assert!(
            !with("connection: upgrade\r\nupgrade: h2c")
                .unwrap()
                .websocket
        );
        let body = with("connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1");
        assert_eq!(body.unwrap_err(), BadRequest::Head(HeadError::Upgrade));
    }

    proptest! {
        #[test]
        fn any_head_gives_an_answer(text in "[ -~]{0,40}( HTTP/1.1)?", fields in "([ -~]{0,20}\r\n){0,5}") {
            let _ = intent(&format!("{text}\r\n{fields}\r\n"));
        }

        /// An accepted target, written from what was parsed, is parsed as the same.
        #[test]
        fn accepted_targets_round_trip(host in "[a-zA-Z0-9.:@%\\-\\[\\]]{1,20}", path in "[!-~]{0,10}") {
            if let Ok(Intent { target: Target::Absolute(authority, _), .. }) =
                line(&format!("GET http://{host}{path} HTTP/1.1"))
            {
                let again = line(&format!("GET http://{authority}/ HTTP/1.1")).unwrap();
                prop_assert!(matches!(again.target, Target::Absolute(second, _) if second == authority));
            }
        }
    }
}
