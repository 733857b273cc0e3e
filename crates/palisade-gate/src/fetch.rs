//! One request to a server of secrets (Vault, OAuth2), made by the gate for itself: no redirects, no reuse, bounded in
//! size and time, and what it held is wiped.
//!
//! The operator named the server, so its name needs no permission of a rule. Its address does: a name that leads to
//! the machine itself or into the private network is dialled only where the operator said so.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use palisade_credential::{Answer, HttpAsk};
use palisade_policy::{AddressClass, Authority, Decision, Host, Permit, Request, classify};
use palisade_tls::Offer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::dial::{self, DialError, Upstream};
use crate::http::body::{Decoder, Step};
use crate::http::head::{Framing, Scan};
use crate::http::response::ResponseHead;
use crate::shared::Shared;

/// All of it, from the look-up to the last byte. Token endpoints answer within a second.
const TIME: Duration = Duration::from_secs(20);
/// Bytes of the answer's head.
const HEAD_MAX: usize = 32 * 1024;
/// Fields of it.
const FIELDS_MAX: usize = 100;
/// Interim responses before the final one.
const INTERIM_MAX: usize = 4;
/// Room for one read.
const READ: usize = 16 * 1024;

/// Makes the request.
pub(crate) async fn ask(shared: &Shared, ask: HttpAsk) -> Answer {
    let authority = ask.authority.clone();
    let failed = |text: &str| Answer::Failed(format!("ask {authority}: {text}"));
    match timeout(TIME, exchange(shared, ask)).await {
        Ok(Ok((status, body))) => Answer::Http { status, body },
        Ok(Err(text)) => failed(&text),
        Err(_) => failed("no answer in time"),
    }
}

type Answered = (u16, Zeroizing<Vec<u8>>);

async fn exchange(shared: &Shared, ask: HttpAsk) -> Result<Answered, String> {
    let mut upstream = reach(shared, &ask.authority).await.map_err(text)?;
    if ask.secure {
        let offer = Offer {
            http1: true,
            http2: false,
        };
        let secured = dial::secure(shared, upstream, &ask.authority, offer).await;
        (upstream, _) = secured.map_err(text)?;
    }
    let stream = &mut upstream.conn.io;
    let request = written(&ask);
    let sent = async {
        stream.write_all(&request).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| format!("send: {error}"))?;
    let mut reader = Reader::new();
    for _ in 0..=INTERIM_MAX {
        let head = reader.head(stream).await?;
        if head.is_interim() {
            continue;
        }
        let encoded = head
            .fields
            .iter()
            .any(|field| head.bytes[field.name.clone()].eq_ignore_ascii_case(b"content-encoding"));
        if encoded {
            return Err("the answer has a coding that was not asked for".into());
        }
        let framing = head.framing(false).map_err(|error| error.to_string())?;
        let body = reader.body(stream, framing).await?;
        return Ok((head.status, body));
    }
    Err("too many interim responses".into())
}

/// The request, of exactly the size it needs: a vector that grows leaves copies behind.
fn written(ask: &HttpAsk) -> Zeroizing<Vec<u8>> {
    let default_port = if ask.secure { 443 } else { 80 };
    let host = if ask.authority.port == default_port {
        ask.authority.host.to_string()
    } else {
        ask.authority.to_string()
    };
    let start = format!(
        "{} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        ask.method,
        ask.target,
        ask.body.len()
    );
    let fields = ask
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4);
    let length = start.len() + fields.sum::<usize>() + 2 + ask.body.len();
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    out.extend_from_slice(start.as_bytes());
    for (name, value) in &ask.fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&ask.body);
    out
}

async fn reach(shared: &Shared, authority: &Authority) -> Result<Upstream, DialError> {
    let policy = &shared.policy;
    let mapped = policy.mappings().find(|(from, _)| *from == authority);
    if let Some((_, address)) = mapped {
        return dial::connect(shared, authority, &[address]).await;
    }
    if let (Some(proxy), false) = (&shared.upstream_proxy, names_this_machine(&authority.host)) {
        return dial::through(shared, proxy, authority).await;
    }
    let permit = match policy.decide(&Request::new(&authority.host, authority.port)) {
        Decision::Permit(permit) => Some(permit),
        Decision::Deny(_) => None,
    };
    let found = dial::look_up(shared, &authority.host).await?;
    let admitted = found
        .iter()
        .filter(|ip| is_admitted(&authority.host, **ip, permit.as_ref()))
        .map(|ip| SocketAddr::new(*ip, authority.port));
    let admitted: Vec<SocketAddr> = admitted.collect();
    match (admitted.as_slice(), found.first()) {
        ([], Some(ip)) => {
            let class = classify(*ip).as_str();
            let text =
                format!("it resolves to a {class} address; name that address under `resolve`");
            Err(DialError::failed(text))
        }
        (admitted, _) => dial::connect(shared, authority, admitted).await,
    }
}

/// A public address, one the operator wrote down as such, or one that a rule for the host opens.
fn is_admitted(host: &Host, ip: IpAddr, permit: Option<&Permit>) -> bool {
    match (host, classify(ip)) {
        (_, AddressClass::Public) => true,
        (Host::Ip(named), _) => *named == ip,
        (Host::Name(_), AddressClass::Loopback) => names_this_machine(host),
        (Host::Name(_), _) => permit.is_some_and(|permit| permit.admit(ip).is_ok()),
    }
}

fn names_this_machine(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name.as_str() == "localhost",
    }
}

fn text(error: DialError) -> String {
    match error {
        DialError::Denied(denial) => denial.reason.to_string(),
        DialError::Failed(failure) => failure.text,
    }
}

/// Reads one answer. All of its bytes may be secret.
struct Reader {
    buffer: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Reader {
    fn new() -> Self {
        let size = HEAD_MAX + HttpAsk::MAX_ANSWER + READ;
        Self {
            buffer: Zeroizing::new(Vec::with_capacity(size)),
            used: 0,
        }
    }

    async fn head<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<ResponseHead, String> {
        let mut scan = Scan::default();
        let mut head = ResponseHead::default();
        loop {
            let bytes = &self.buffer[self.used..];
            let found = scan
                .scan(bytes, HEAD_MAX)
                .map_err(|error| error.to_string())?;
            if let Some(end) = found {
                let parsed = head.parse(&bytes[..end], FIELDS_MAX);
                parsed.map_err(|error| error.to_string())?;
                self.used += end;
                return Ok(head);
            }
            if self.fill(stream).await? == 0 {
                return Err("it closed the connection before its answer".into());
            }
        }
    }

    async fn body<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        framing: Framing,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut decoder = Decoder::new(framing);
        let mut body = Zeroizing::new(Vec::with_capacity(HttpAsk::MAX_ANSWER));
        loop {
            let bytes = &self.buffer[self.used..];
            match decoder.step(bytes).map_err(|error| error.to_string())? {
                Step::Done => return Ok(body),
                Step::Skip(count) | Step::Trailer(count) => self.used += count,
                Step::Data(count) if body.len() + count > HttpAsk::MAX_ANSWER => {
                    return Err("the answer is too long".into());
                }
                Step::Data(count) => {
                    body.extend_from_slice(&bytes[..count]);
                    decoder.took(count);
                    self.used += count;
                }
                Step::More => {
                    if self.fill(stream).await? == 0 {
                        decoder.end().map_err(|error| error.to_string())?;
                    }
                }
            }
        }
    }

    /// Reads once, never beyond the room that was there from the start.
    async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<usize, String> {
        if self.buffer.capacity() - self.buffer.len() == 0 {
            return Err("the answer is too long".into());
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let mut limited = stream.take(room as u64);
        match limited.read_buf(&mut *self.buffer).await {
            Ok(count) => Ok(count),
            // Some servers end TLS without saying so; whether something is missing, the framing tells.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(format!("read: {error}")),
        }
    }
}
