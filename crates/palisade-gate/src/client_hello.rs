//! The name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3).
//!
//! The hello is put together over all its records and segments before anything is decided (D28), and its structure is
//! checked to the last byte: a name read from the wrong place is a way round the decision. Nothing else of it is judged.

use std::fmt;

use palisade_policy::{DnsName, HostError};
use palisade_tls::Offer;

/// Type of a record that carries handshake messages.
pub(crate) const RECORD_HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 5;
/// RFC 8446 section 5.1.
const RECORD_MAX: usize = 1 << 14;
/// Records one hello may be cut into. Stacks that cut it to get past middleboxes use two or three.
const RECORDS_MAX: usize = 64;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
/// RFC 7301.
const EXTENSION_ALPN: u16 = 16;
/// Encrypted ClientHello (RFC 9849), and the draft that came before it (encrypted_server_name).
const EXTENSIONS_ENCRYPTED: [u16; 2] = [0xfe0d, 0xffce];
const NAME_TYPE_HOST: u8 = 0;

/// What a ClientHello says of its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The server name, if there is one.
    pub(crate) name: Option<DnsName>,
    /// There is a second hello inside that only the server can read, whose name may be another. Browsers send a random
    /// one as grease, which cannot be told apart.
    pub(crate) encrypted: bool,
    /// What it offers to speak, if it says so.
    pub(crate) alpn: Option<Offer>,
}

/// Why bytes are not a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloError {
    Record,
    NotHello,
    TooLong,
    Structure,
    DuplicateExtension,
    /// Not exactly one entry of type host_name.
    NameList,
    Name(HostError),
    /// RFC 6066: without a trailing dot.
    TrailingDot,
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "a TLS record is malformed",
            Self::NotHello => "the TLS handshake does not begin with a ClientHello",
            Self::TooLong => "the ClientHello is too long",
            Self::Structure => "the ClientHello is malformed",
            Self::DuplicateExtension => "the ClientHello has an extension twice",
            Self::NameList => "the ClientHello has not exactly one server name",
            Self::Name(error) => return write!(f, "the server name is malformed: {error}"),
            Self::TrailingDot => "the server name ends with a dot",
        })
    }
}

/// Puts a hello together. Each byte is looked at once.
#[derive(Default)]
pub(crate) struct HelloReader {
    at: usize,
    records: usize,
    message: Vec<u8>,
}

impl HelloReader {
    /// Looks at all bytes received so far; the answer, once the hello is complete. Nothing is consumed.
    pub(crate) fn read(&mut self, bytes: &[u8], limit: usize) -> Result<Option<Hello>, HelloError> {
        while let Some(header) = bytes.get(self.at..self.at + RECORD_HEADER) {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            // The minor version is 1 or 3 in practice and means nothing (RFC 8446 section 5.1).
            let plausible = header[0] == RECORD_HANDSHAKE && header[1] == 3 && header[2] <= 4;
            if !plausible || length == 0 || length > RECORD_MAX {
                return Err(HelloError::Record);
            }
            let start = self.at + RECORD_HEADER;
            let Some(payload) = bytes.get(start..start + length) else {
                break;
            };
            self.records += 1;
            self.message.extend_from_slice(payload);
            self.at = start + length;
            if self.message.len() > limit || self.records > RECORDS_MAX {
                return Err(HelloError::TooLong);
            }
            if let Some(hello) = self.complete(limit)? {
                return Ok(Some(hello));
            }
        }
        let known_wrong = bytes.len() > limit + RECORDS_MAX * RECORD_HEADER;
        if known_wrong {
            Err(HelloError::TooLong)
        } else {
            Ok(None)
        }
    }

    fn complete(&self, limit: usize) -> Result<Option<Hello>, HelloError> {
        let [kind, high, middle, low, body @ ..] = self.message.as_slice() else {
            let wrong = self
                .message
                .first()
                .is_some_and(|kind| *kind != HANDSHAKE_CLIENT_HELLO);
            return if wrong {
                Err(HelloError::NotHello)
            } else {
                Ok(None)
            };
        };
        if *kind != HANDSHAKE_CLIENT_HELLO {
            return Err(HelloError::NotHello);
        }
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        if length > limit {
            return Err(HelloError::TooLong);
        }
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => parse(body).map(Some),
            // A client has nothing to say after its hello before the server has answered.
            std::cmp::Ordering::Greater => Err(HelloError::Structure),
        }
    }
}

/// Reads a structure from the front; every step fails rather than reads past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (front, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(HelloError::Structure)?;
        self.0 = rest;
        Ok(front)
    }

    fn u8(&mut self) -> Result<u8, HelloError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vec8(&mut self) -> Result<&'a [u8], HelloError> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn vec16(&mut self) -> Result<&'a [u8], HelloError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn end(&self) -> Result<(), HelloError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(HelloError::Structure)
        }
    }
}

fn parse(body: &[u8]) -> Result<Hello, HelloError> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    let session = reader.vec8()?;
    let suites = reader.vec16()?;
    let compressions = reader.vec8()?;
    let odd = session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0;
    if odd || compressions.is_empty() {
        return Err(HelloError::Structure);
    }
    let mut hello = Hello {
        name: None,
        encrypted: false,
        alpn: None,
    };
    if reader.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Reader(reader.vec16()?);
    reader.end()?;
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vec16()?;
        seen.push(kind);
        if kind == EXTENSION_SERVER_NAME && hello.name.is_none() {
            hello.name = Some(server_name(data)?);
        }
        if kind == EXTENSION_ALPN {
            hello.alpn = Some(offer(data)?);
        }
        hello.encrypted |= EXTENSIONS_ENCRYPTED.contains(&kind);
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() == count {
        Ok(hello)
    } else {
        Err(HelloError::DuplicateExtension)
    }
}

fn offer(data: &[u8]) -> Result<Offer, HelloError> {
    let mut outer = Reader(data);
    let mut list = Reader(outer.vec16()?);
    outer.end()?;
    let mut offer = Offer::NONE;
    while !list.0.is_empty() {
        match list.vec8()? {
            b"h2" => offer.http2 = true,
            b"http/1.1" => offer.http1 = true,
            b"" => return Err(HelloError::Structure),
            _ => {}
        }
    }
    Ok(offer)
}

fn server_name(data: &[u8]) -> Result<DnsName, HelloError> {
    let mut outer = Reader(data);
    let mut list = Reader(outer.vec16()?);
    outer.end()?;
    let kind = list.u8()?;
    let name = list.vec16()?;
    if kind != NAME_TYPE_HOST || !list.0.is_empty() {
        return Err(HelloError::NameList);
    }
    if name.ends_with(b".") {
        return Err(HelloError::TrailingDot);
    }
    DnsName::parse(name).map_err(HelloError::Name)
}

#[cfg(test)]
mod tests;
