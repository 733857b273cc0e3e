//! The bytes of SOCKS requests.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_policy::{Authority, Host, HostError};

/// Bytes of a version 4 user name, which is read and dropped.
const USER_MAX: usize = 255;
/// Bytes of a version 4a name; one more than any DNS name.
const NAME_MAX: usize = 254;

/// The value and the bytes it took; none while bytes are missing.
pub(crate) type Parsed<T> = Result<Option<(T, usize)>, SocksError>;

/// A well-formed request to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) authority: Authority,
}

/// Why bytes are not a request that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocksError {
    Malformed,
    /// The client insists on authentication.
    Authentication,
    /// BIND or UDP ASSOCIATE.
    Command,
    AddressType,
    Host(HostError),
    Port,
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the SOCKS request is malformed",
            Self::Authentication => "the SOCKS client offers no way without authentication",
            Self::Command => "only the SOCKS command CONNECT is carried",
            Self::AddressType => "the SOCKS address type is not known",
            Self::Host(error) => return error.fmt(f),
            Self::Port => "the port is 0",
        })
    }
}

/// Version 5's list of methods: whether "no authentication" is among them (RFC 1928 section 3).
pub(crate) fn greeting5(bytes: &[u8]) -> Parsed<bool> {
    let [version, count, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != 5 || *count == 0 {
        return Err(SocksError::Malformed);
    }
    let count = usize::from(*count);
    Ok(rest
        .get(..count)
        .map(|methods| (methods.contains(&0), 2 + count)))
}

/// Version 5's request (RFC 1928 section 4).
pub(crate) fn request5(bytes: &[u8]) -> Parsed<Asked> {
    let [version, command, reserved, kind, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != 5 || *reserved != 0 {
        return Err(SocksError::Malformed);
    }
    if *command != 1 {
        return Err(SocksError::Command);
    }
    let (address, before) = match (kind, rest) {
        (1, _) => (rest.get(..4), 4),
        (4, _) => (rest.get(..16), 4),
        (3, []) => return Ok(None),
        (3, [length, rest @ ..]) => (rest.get(..usize::from(*length)), 5),
        _ => return Err(SocksError::AddressType),
    };
    let Some(address) = address else {
        return Ok(None);
    };
    let used = before + address.len() + 2;
    let Some(port) = bytes.get(used - 2..used) else {
        return Ok(None);
    };
    let host = match *kind {
        3 => host_name(address)?,
        _ => Host::from(literal(address).ok_or(SocksError::Malformed)?),
    };
    asked(host, [port[0], port[1]], used)
}

/// Version 4's request, with the name of 4a behind it.
pub(crate) fn request4(bytes: &[u8]) -> Parsed<Asked> {
    let [version, command, port0, port1, a, b, c, d, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != 4 {
        return Err(SocksError::Malformed);
    }
    if *command != 1 {
        return Err(SocksError::Command);
    }
    let Some(user) = text(rest, USER_MAX)? else {
        return Ok(None);
    };
    let port = [*port0, *port1];
    let used = 8 + user.len() + 1;
    let is_4a = [*a, *b, *c] == [0, 0, 0] && *d != 0;
    if !is_4a {
        return asked(Host::from(IpAddr::from([*a, *b, *c, *d])), port, used);
    }
    let Some(name) = text(&bytes[used..], NAME_MAX)? else {
        return Ok(None);
    };
    asked(host_name(name)?, port, used + name.len() + 1)
}

/// The name in a request that was not taken, for the record.
pub(crate) fn named(bytes: &[u8]) -> &[u8] {
    match bytes {
        [5, 1, 0, 3, length, rest @ ..] => &rest[..rest.len().min(usize::from(*length))],
        [4, 1, _, _, 0, 0, 0, _, rest @ ..] => {
            let name = rest.splitn(3, |b| *b == 0).nth(1).unwrap_or(b"");
            &name[..name.len().min(NAME_MAX)]
        }
        _ => b"",
    }
}

fn asked(host: Host, port: [u8; 2], used: usize) -> Parsed<Asked> {
    let port = u16::from_be_bytes(port);
    if port == 0 {
        return Err(SocksError::Port);
    }
    Ok(Some((
        Asked {
            authority: Authority { host, port },
        },
        used,
    )))
}

/// A name, or an IPv4 address that the client put where names stand. Brackets are the syntax of URLs.
fn host_name(bytes: &[u8]) -> Result<Host, SocksError> {
    if bytes.starts_with(b"[") {
        return Err(SocksError::Host(HostError::Brackets));
    }
    Host::parse(bytes).map_err(SocksError::Host)
}

fn literal(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|b| Ipv4Addr::from(b).into()),
        _ => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|b| Ipv6Addr::from(b).into()),
    }
}

/// Bytes up to a NUL.
fn text(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, SocksError> {
    match memchr::memchr(0, &bytes[..bytes.len().min(max + 1)]) {
        Some(end) => Ok(Some(&bytes[..end])),
        None if bytes.len() > max => Err(SocksError::Malformed),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v5(kind: u8, address: &[u8], port: u16) -> Vec<u8> {
        [&[5, 1, 0, kind][..], address, &port.to_be_bytes()].concat()
    }

    fn v5_name(name: &[u8]) -> Vec<u8> {
        let length = [u8::try_from(name.len()).unwrap()];
        v5(3, &[&length[..], name].concat(), 443)
    }

    fn v4a(name: &[u8]) -> Vec<u8> {
        [&[4, 1, 1, 0xbb, 0, 0, 0, 1, b'm', b'e', 0][..], name, &[0]].concat()
    }

    fn authority(parsed: Parsed<Asked>) -> String {
        parsed.unwrap().unwrap().0.authority.to_string()
    }

    #[test]
    fn requests_of_every_kind() {
        assert_eq!(authority(request5(&v5_name(b"A.example"))), "a.example:443");
        assert_eq!(authority(request5(&v5_name(b"192.0.2.1"))), "192.0.2.1:443");
        assert_eq!(
            authority(request5(&v5(1, &[192, 0, 2, 1], 80))),
            "192.0.2.1:80"
        );
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(
            authority(request5(&v5(4, &mapped.octets(), 80))),
            "192.0.2.1:80"
        );
        assert_eq!(authority(request4(&v4a(b"a.example"))), "a.example:443");
        assert_eq!(
            authority(request4(&[4, 1, 0, 80, 192, 0, 2, 1, 0])),
            "192.0.2.1:80"
        );
    }

    #[test]
    fn d01_names_are_bytes_until_checked() {
        let bad = [
            &b"evil\0.allowed.com"[..],
            b"a b",
            b"a\r\nb",
            b"a%00b",
            b"",
            b"127.1",
            b"[::1]",
        ];
        for name in bad {
            let error = request5(&v5_name(name)).unwrap_err();
            assert!(matches!(error, SocksError::Host(_)), "{name:?}: {error:?}");
        }
        // Version 4a ends a name at the first NUL: what stands behind it is no part of the name and not taken.
        let bytes = v4a(b"evil\0.allowed.com");
        let (asked, used) = request4(&bytes).unwrap().unwrap();
        assert_eq!(asked.authority.to_string(), "evil:443");
        assert_eq!(&bytes[used..], b".allowed.com\0");
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        assert_eq!(greeting5(&[5, 1, 2]), Ok(Some((false, 3))));
        assert_eq!(greeting5(&[5, 0]), Err(SocksError::Malformed));
        assert_eq!(request5(&[5, 2, 0, 1]), Err(SocksError::Command));
        assert_eq!(request5(&[5, 1, 0, 9]), Err(SocksError::AddressType));
        assert_eq!(request5(&v5(1, &[1, 2, 3, 4], 0)), Err(SocksError::Port));
        assert_eq!(
            request4(&[4, 2, 0, 80, 1, 2, 3, 4]),
            Err(SocksError::Command)
        );
        let endless = [&[4, 1, 0, 80, 1, 2, 3, 4][..], &[b'u'; 300]].concat();
        assert_eq!(request4(&endless), Err(SocksError::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = greeting5(&bytes);
            let _ = request5(&bytes);
            let _ = request4(&bytes);
            let _ = named(&bytes);
            let _ = request5(&[&[5, 1, 0, 3][..], &bytes].concat());
            let _ = request4(&[&[4, 1, 0, 80, 0, 0, 0, 1][..], &bytes].concat());
        }

        /// A part of a request is never an answer, and what is accepted, written again, is read as the same.
        #[test]
        fn requests_round_trip(name in "[a-z]{1,10}(\\.[a-z0-9-]{1,10}){0,3}", port in 1u16..) {
            let bytes = [&v5_name(name.as_bytes())[..5 + name.len()], &port.to_be_bytes()].concat();
            for cut in 0..bytes.len() {
                prop_assert!(matches!(request5(&bytes[..cut]), Ok(None)));
            }
            if let Ok(Some((asked, used))) = request5(&bytes) {
                prop_assert_eq!(used, bytes.len());
                prop_assert_eq!(asked.authority.to_string(), format!("{name}:{port}"));
            }
        }
    }
}
