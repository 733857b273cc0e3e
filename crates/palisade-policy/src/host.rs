//! Host names and authorities, parsed once, from bytes, into values that cannot be wrong.
//!
//! Nearly every public break of a filtering proxy has two parts of it read the destination differently.
//! So this is the only parser of destinations: the HTTP head, CONNECT, SOCKS, the `ClientHello` and DNS all
//! hand their bytes to it, and everything later (policy, resolver, dial, audit) uses the value it yields.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A DNS name in canonical form: ASCII, lower case, A-labels, no trailing dot, at most 253 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from the left: `api`, `example`, `com`.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Parses a name as it comes off the wire: ASCII only, one optional trailing dot.
    ///
    /// # Errors
    /// Anything outside letters, digits, hyphen and underscore, an empty or over-long label, an `xn--` label
    /// that does not round-trip through UTS 46, and a name whose last label is a number (which resolvers
    /// would read as an IPv4 address in some old spelling).
    pub fn parse(bytes: &[u8]) -> Result<Self, HostError> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(HostError::Empty);
        }
        if bytes.len() > 253 {
            return Err(HostError::TooLong);
        }
        let mut last_is_number = false;
        let mut punycode = false;
        for label in bytes.split(|b| *b == b'.') {
            check_label(label)?;
            last_is_number = is_number(label);
            punycode |= label.len() >= 4 && label[..4].eq_ignore_ascii_case(b"xn--");
        }
        if last_is_number {
            return Err(HostError::NumericName);
        }
        let text: String = bytes
            .iter()
            .map(|b| b.to_ascii_lowercase() as char)
            .collect();
        if punycode && !survives_uts46(&text) {
            return Err(HostError::Idna);
        }
        Ok(Self(text.into()))
    }

    /// Parses a name written by a person, which may hold Unicode; it is stored as A-labels.
    ///
    /// # Errors
    /// As [`DnsName::parse`], and names that UTS 46 (non-transitional, STD 3) refuses.
    pub fn parse_unicode(text: &str) -> Result<Self, HostError> {
        if text.is_ascii() {
            return Self::parse(text.as_bytes());
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| HostError::Idna)?;
        Self::parse(ascii.as_bytes())
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({})", self.0)
    }
}

/// Where a request wants to go: a name, or an address somebody typed in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name.
    Name(DnsName),
    /// A literal address. An IPv4-mapped IPv6 address is stored as the IPv4 address it stands for.
    Ip(IpAddr),
}

impl Host {
    /// Parses a host as it comes off the wire: a name, dotted-quad IPv4, or IPv6 in brackets.
    ///
    /// # Errors
    /// Whatever is none of these; see [`HostError`]. There is no percent-decoding and no repair.
    pub fn parse(bytes: &[u8]) -> Result<Self, HostError> {
        if let Some(inner) = bytes.strip_prefix(b"[") {
            let inner = inner.strip_suffix(b"]").ok_or(HostError::Brackets)?;
            return parse_v6(inner).map(|ip| Self::Ip(ip.to_canonical()));
        }
        if let Some(v4) = strict_v4(bytes) {
            return Ok(Self::Ip(v4.into()));
        }
        DnsName::parse(bytes).map(Self::Name)
    }

    /// Parses a host a person wrote (a policy, a command line): Unicode names are accepted.
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn parse_unicode(text: &str) -> Result<Self, HostError> {
        if text.is_ascii() {
            Self::parse(text.as_bytes())
        } else {
            DnsName::parse_unicode(text).map(Self::Name)
        }
    }

    /// The literal address, if it is one.
    pub fn as_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl Host {
    /// The name, or the address without brackets: as TLS and people's lists have it.
    pub fn to_plain_string(&self) -> String {
        match self {
            Self::Name(name) => name.as_str().to_owned(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

impl Authority {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port` as it comes off the wire.
    ///
    /// # Errors
    /// A missing port without `default_port`, a port that is not 1 to 65535 in plain digits, userinfo, and
    /// whatever [`Host::parse`] refuses.
    pub fn parse(bytes: &[u8], default_port: Option<u16>) -> Result<Self, HostError> {
        if bytes.contains(&b'@') {
            return Err(HostError::UserInfo);
        }
        let (host, port) = split_port(bytes)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => default_port.ok_or(HostError::Port)?,
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why bytes are not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// Nothing there.
    Empty,
    /// A label over 63 bytes or a name over 253.
    TooLong,
    /// Two dots in a row, or a leading dot.
    EmptyLabel,
    /// A label that begins or ends with a hyphen.
    Hyphen,
    /// A byte that no host name holds: control bytes, spaces, `%`, `/`, `\`, non-ASCII.
    Byte(u8),
    /// The last label is a number, but the whole is no dotted-quad address.
    NumericName,
    /// The international form is not valid (UTS 46).
    Idna,
    /// `[` without `]`, or the other way round.
    Brackets,
    /// Not an IPv6 address.
    V6,
    /// An IPv6 address with a zone, which means nothing across a proxy.
    Zone,
    /// `user@host`.
    UserInfo,
    /// Not a port from 1 to 65535.
    Port,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("host is empty"),
            Self::TooLong => f.write_str("host name is too long"),
            Self::EmptyLabel => f.write_str("host name has an empty label"),
            Self::Hyphen => f.write_str("host name has a label that begins or ends with a hyphen"),
            Self::Byte(b) => write!(f, "host name has the byte 0x{b:02x}"),
            Self::NumericName => f.write_str("host looks like a number but is no IPv4 address"),
            Self::Idna => f.write_str("host is not a valid international name"),
            Self::Brackets => f.write_str("host has unbalanced brackets"),
            Self::V6 => f.write_str("host is not a valid IPv6 address"),
            Self::Zone => f.write_str("host has an IPv6 zone"),
            Self::UserInfo => f.write_str("host has user information before it"),
            Self::Port => f.write_str("port is not a number from 1 to 65535"),
        }
    }
}

impl std::error::Error for HostError {}

fn check_label(label: &[u8]) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel);
    }
    if label.len() > 63 {
        return Err(HostError::TooLong);
    }
    // Underscore is no letter of a host name, but service names (`_dmarc`, some S3 buckets) hold it, and no
    // parser reads it as anything else.
    if let Some(bad) = label
        .iter()
        .find(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
    {
        return Err(HostError::Byte(*bad));
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(HostError::Hyphen);
    }
    Ok(())
}

/// Whether a resolver of the `inet_aton` school would take this last label for part of an address.
fn is_number(label: &[u8]) -> bool {
    let hex = label
        .strip_prefix(b"0x")
        .or_else(|| label.strip_prefix(b"0X"));
    match hex {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => label.iter().all(u8::is_ascii_digit),
    }
}

fn survives_uts46(lower: &str) -> bool {
    let (unicode, result) = idna::domain_to_unicode(lower);
    result.is_ok() && idna::domain_to_ascii_strict(&unicode).is_ok_and(|again| again == lower)
}

/// Dotted quad in decimal, no leading zeros: `0177.0.0.1` means two different things to two resolvers.
fn strict_v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn parse_v6(inner: &[u8]) -> Result<IpAddr, HostError> {
    if inner.contains(&b'%') {
        return Err(HostError::Zone);
    }
    let text = std::str::from_utf8(inner).map_err(|_| HostError::V6)?;
    text.parse::<Ipv6Addr>()
        .map(IpAddr::V6)
        .map_err(|_| HostError::V6)
}

fn split_port(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), HostError> {
    let after_bracket = match bytes.iter().position(|b| *b == b']') {
        Some(at) => at + 1,
        None if bytes.contains(&b'[') => return Err(HostError::Brackets),
        None => 0,
    };
    let (head, tail) = bytes.split_at(after_bracket);
    match tail.iter().position(|b| *b == b':') {
        None if after_bracket > 0 && !tail.is_empty() => Err(HostError::Brackets),
        None => Ok((bytes, None)),
        Some(at) if after_bracket > 0 && at > 0 => Err(HostError::Brackets),
        Some(at) => Ok((&bytes[..head.len() + at], Some(&tail[at + 1..]))),
    }
}

fn parse_port(digits: &[u8]) -> Result<u16, HostError> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HostError::Port);
    }
    let number = digits
        .iter()
        .fold(0u32, |sum, d| sum * 10 + u32::from(d - b'0'));
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(HostError::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Host {
        Host::Name(DnsName(text.into()))
    }

    #[test]
    fn names_become_canonical() {
        assert_eq!(
            Host::parse(b"API.Example.COM."),
            Ok(name("api.example.com"))
        );
        assert_eq!(
            Host::parse(b"_dmarc.example.com"),
            Ok(name("_dmarc.example.com"))
        );
        assert_eq!(
            Host::parse_unicode("b\u{fc}cher.example"),
            Ok(name("xn--bcher-kva.example"))
        );
        assert_eq!(
            Host::parse(b"xn--bcher-kva.example"),
            Ok(name("xn--bcher-kva.example"))
        );
    }

    #[test]
    fn d01_d02_bytes_outside_a_host_name_are_refused() {
        for bad in [
            &b"evil\0.allowed.com"[..],
            b"a\r\nb",
            b"a b",
            b"a%00b",
            b"a%2eb",
            b"a/b",
            b"a\\b",
            b"a#b",
            b"a?b",
        ] {
            assert!(
                matches!(Host::parse(bad), Err(HostError::Byte(_))),
                "{bad:?}"
            );
        }
        assert!(
            Host::parse("b\u{fc}cher.example".as_bytes()).is_err(),
            "raw UTF-8 on the wire"
        );
        assert!(matches!(
            Host::parse("a\u{3002}b".as_bytes()),
            Err(HostError::Byte(_))
        ));
    }

    #[test]
    fn d05_bad_international_names_are_refused() {
        assert_eq!(Host::parse(b"xn--a.example"), Err(HostError::Idna));
        assert!(
            Host::parse_unicode("a\u{200b}b.example").is_err()
                || Host::parse_unicode("a\u{200b}b.example") == Host::parse(b"ab.example")
        );
    }

    #[test]
    fn old_spellings_of_addresses_are_refused() {
        for bad in [
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "1.2.3.4.5",
            "1.2.3.256",
            "a.0x1",
        ] {
            assert_eq!(
                Host::parse(bad.as_bytes()),
                Err(HostError::NumericName),
                "{bad}"
            );
        }
        assert_eq!(
            Host::parse(b"127.0.0.1"),
            Ok(Host::Ip([127, 0, 0, 1].into()))
        );
    }

    #[test]
    fn d10_d11_ipv6_forms() {
        assert_eq!(
            Host::parse(b"[::ffff:10.0.0.1]"),
            Ok(Host::Ip([10, 0, 0, 1].into()))
        );
        assert_eq!(Host::parse(b"[fe80::1%25eth0]"), Err(HostError::Zone));
        assert_eq!(Host::parse(b"[fe80::1%eth0]"), Err(HostError::Zone));
        assert_eq!(Host::parse(b"[::1"), Err(HostError::Brackets));
    }

    #[test]
    fn d07_d08_authorities() {
        assert_eq!(
            Authority::parse(b"allowed.com@evil.com", Some(80)),
            Err(HostError::UserInfo)
        );
        assert_eq!(
            Authority::parse(b"allowed.com:80@evil", Some(80)),
            Err(HostError::UserInfo)
        );
        assert!(Authority::parse(b"evil\\.allowed", Some(80)).is_err());
        for bad in [
            "a:0",
            "a:65536",
            "a:+80",
            "a:",
            "a:80:80",
            "[::1]x:80",
            "[::1]x",
            "a]:80",
            "::1:80",
        ] {
            assert!(Authority::parse(bad.as_bytes(), None).is_err(), "{bad}");
        }
        let v6 = Authority::parse(b"[2001:db8::1]:8443", None).unwrap();
        assert_eq!(
            (v6.port, v6.to_string().as_str()),
            (8443, "[2001:db8::1]:8443")
        );
    }
}
