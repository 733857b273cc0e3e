//! The operator's own proxy, which everything then goes through.

use std::fmt;

use palisade_policy::{Authority, HostError};

/// A proxy of the operator's, as in `http://user:password@proxy.corp:3128`.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    authority: Authority,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl UpstreamProxy {
    /// A proxy at this place, with the user name and password it asks for.
    ///
    /// # Errors
    /// A user name with a colon, which Basic authentication cannot carry (RFC 7617).
    pub fn new(
        authority: Authority,
        login: Option<(&str, &str)>,
    ) -> Result<Self, UpstreamProxyError> {
        if login.is_some_and(|(user, _)| user.contains(':')) {
            return Err(UpstreamProxyError::User);
        }
        let authorization =
            login.map(|(user, password)| basic(format!("{user}:{password}").as_bytes()));
        Ok(Self {
            authority,
            authorization,
        })
    }

    /// Parses the URL of a proxy. Only `http://` proxies are known; the default port is 80, as in curl's environment
    /// variables it would be 1080, so write the port.
    ///
    /// # Errors
    /// Another scheme, a path, a bad host, userinfo with a bad escape.
    pub fn parse(url: &str) -> Result<Self, UpstreamProxyError> {
        let rest = url
            .strip_prefix("http://")
            .ok_or(UpstreamProxyError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(UpstreamProxyError::Path);
        }
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let authority = Authority::parse(host.as_bytes(), Some(80))?;
        let authorization = match user {
            Some(user) => Some(basic(&percent_decode(user)?)),
            None => None,
        };
        Ok(Self {
            authority,
            authorization,
        })
    }

    /// Where the proxy is.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// The user and password are left out: this is printed in errors and plans.
impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamProxy({})", self.authority)
    }
}

/// Why text is not the URL of an upstream proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamProxyError {
    /// Not `http://`.
    #[error("an upstream proxy is written as http://host:port")]
    Scheme,
    /// Something behind the port.
    #[error("an upstream proxy has no path")]
    Path,
    /// The host or port.
    #[error("{0}")]
    Host(#[from] HostError),
    /// A colon in the user name.
    #[error("the user name of the upstream proxy has a colon")]
    User,
    /// A `%` in user or password that begins no escape.
    #[error("user or password of the upstream proxy has a bad percent escape")]
    Escape,
}

fn percent_decode(text: &str) -> Result<Vec<u8>, UpstreamProxyError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = bytes.next().and_then(|b| char::from(b).to_digit(16));
            digit.ok_or(UpstreamProxyError::Escape)
        };
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).map_err(|_| UpstreamProxyError::Escape)?);
    }
    Ok(out)
}

/// RFC 7617 with the base64 of RFC 4648 section 4. Written out: twelve lines for one short value at start.
fn basic(user: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("Basic ");
    for group in user.chunks(3) {
        let mut word = [0u8; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for at in 0..4usize {
            let index = (word >> (18 - 6 * at)) & 63;
            let letter = ALPHABET[index as usize];
            out.push(if at <= group.len() { letter as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_url_is_parsed_and_its_password_not_shown() {
        let proxy = UpstreamProxy::parse("http://me:p%40ss@proxy.corp:3128/").unwrap();
        assert_eq!(proxy.authority().to_string(), "proxy.corp:3128");
        // From `printf me:p@ss | base64`.
        assert_eq!(proxy.authorization(), Some("Basic bWU6cEBzcw=="));
        assert_eq!(format!("{proxy:?}"), "UpstreamProxy(proxy.corp:3128)");
        let plain = UpstreamProxy::parse("http://proxy.corp:3128").unwrap();
        assert_eq!(plain.authorization(), None);
    }

    #[test]
    fn bad_proxy_urls_say_what_is_wrong() {
        use UpstreamProxyError::{Escape, Path, Scheme};
        for (url, error) in [
            ("socks5://a:1", Scheme),
            ("http://a:1/x", Path),
            ("http://u%4:p@a:1", Escape),
        ] {
            assert_eq!(UpstreamProxy::parse(url), Err(error), "{url}");
        }
        assert!(matches!(
            UpstreamProxy::parse("http://a b:1"),
            Err(UpstreamProxyError::Host(_))
        ));
    }
}
