//! HTTP/1.1, as much of it as a stand-in needs. Lenient on purpose: the gate is what has to be strict.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Most bytes of a body that are kept. Model requests reach 85 kB, event batches 0.3 MB.
pub const KEPT_BODY: u64 = 1 << 20;
/// Size of the pieces a generated body is written in.
const PIECE: usize = 64 << 10;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as sent, query included.
    pub target: String,
    /// Header fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined; the first [`KEPT_BODY`] bytes of it.
    pub body: Vec<u8>,
    /// The body's whole length.
    pub body_length: u64,
    /// Whether it came over TLS.
    pub tls: bool,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The query, empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Scheme and authority as the client sees them.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.header("host").unwrap_or("localhost"))
    }
}

/// What a stand-in answers.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields; framing is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A body and how it is framed.
#[derive(Clone, Debug)]
pub enum Body {
    /// With a length.
    Full(Vec<u8>),
    /// Chunked, one chunk each, flushed one by one.
    Chunks(Vec<Vec<u8>>),
    /// With a length, this many bytes, never held in memory.
    Generated(u64),
}

impl Response {
    /// An answer of this kind of content.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: Body::Full(body.into()),
        }
    }

    /// The answer to everything a stand-in does not know.
    pub fn not_found() -> Self {
        Self::new(404, "text/plain", "not found\n")
    }

    /// JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }
}

/// A server's own part: from request to response.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: &Request) -> Response;
}

/// Reads one request. `None` when the client closed instead.
pub(super) fn read_request<S: Read + Write>(
    from: &mut BufReader<S>,
    tls: bool,
) -> io::Result<Option<Request>> {
    let Some(first) = read_line(from)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut request = Request {
        method: method.into(),
        target: target.into(),
        headers: Vec::new(),
        body: Vec::new(),
        body_length: 0,
        tls,
    };
    while let Some(line) = read_line(from)?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            request.headers.push((name.into(), value.trim().into()));
        }
    }
    if request
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        from.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        from.get_mut().flush()?;
    }
    read_body(from, &mut request)?;
    Ok(Some(request))
}

/// Writes one response.
pub(super) fn write_response(
    to: &mut impl Write,
    request: &Request,
    response: &Response,
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\n",
        response.status,
        phrase(response.status)
    );
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match &response.body {
        Body::Full(bytes) => head += &format!("content-length: {}\r\n\r\n", bytes.len()),
        Body::Generated(length) => head += &format!("content-length: {length}\r\n\r\n"),
        Body::Chunks(_) => head += "transfer-encoding: chunked\r\n\r\n",
    }
    let mut head = head.into_bytes();
    if request.method == "HEAD" {
        to.write_all(&head)?;
        return to.flush();
    }
    match &response.body {
        Body::Full(bytes) => {
            head.extend_from_slice(bytes);
            to.write_all(&head)?;
        }
        Body::Generated(length) => {
            to.write_all(&head)?;
            write_generated(to, *length)?;
        }
        Body::Chunks(chunks) => {
            to.write_all(&head)?;
            for chunk in chunks {
                write!(to, "{:x}\r\n", chunk.len())?;
                to.write_all(chunk)?;
                to.write_all(b"\r\n")?;
                to.flush()?;
            }
            to.write_all(b"0\r\n\r\n")?;
        }
    }
    to.flush()
}

fn write_generated(to: &mut impl Write, mut left: u64) -> io::Result<()> {
    let piece = [b'x'; PIECE];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        to.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn read_body(from: &mut impl BufRead, request: &mut Request) -> io::Result<()> {
    let chunked = request
        .header("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if !chunked {
        let length = request
            .header("content-length")
            .and_then(|value| value.parse().ok());
        return keep(from, request, length.unwrap_or(0));
    }
    loop {
        let line = read_line(from)?.unwrap_or_default();
        let size = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        keep(from, request, size)?;
        read_line(from)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Reads this much of the body, and keeps what still fits.
fn keep(from: &mut impl BufRead, request: &mut Request, length: u64) -> io::Result<()> {
    let room = KEPT_BODY.saturating_sub(request.body.len() as u64);
    let kept = from.take(length.min(room)).read_to_end(&mut request.body)? as u64;
    let dropped = io::copy(&mut from.take(length - kept), &mut io::sink())?;
    request.body_length += kept + dropped;
    Ok(())
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    const LONGEST: u64 = 64 << 10;
    let mut line = Vec::new();
    if from.take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        _ => "Answer",
    }
}
