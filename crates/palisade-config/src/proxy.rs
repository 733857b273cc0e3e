//! The proxy above the gate.

use std::fmt;

use palisade_policy::Authority;

/// A proxy that all permitted traffic goes through, typed out of `http://[user:password@]host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// Where it is. The operator's word: it may be private.
    pub authority: Authority,
    /// What to say who asks.
    pub login: Option<ProxyLogin>,
}

/// User name and password of a proxy. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyLogin {
    user: String,
    password: String,
}

impl ProxyLogin {
    /// The user name, in clear, for the request to the proxy and nothing else.
    pub fn expose_user(&self) -> &str {
        &self.user
    }

    /// The password, in clear, for the request to the proxy and nothing else.
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl UpstreamProxy {
    /// Parses the setting.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(if text.starts_with("https://") {
                "a proxy that is itself spoken to over TLS is not supported"
            } else if text.starts_with("socks") {
                "a SOCKS proxy is not supported"
            } else {
                "a proxy is written `http://host:port`"
            });
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err("a proxy has no path");
        }
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(parse_login(login)?), place),
            None => (None, rest),
        };
        let authority = Authority::parse(place.as_bytes(), None)
            .map_err(|_| "a proxy needs a host and a port, as in `http://proxy.corp:3128`")?;
        Ok(Self { authority, login })
    }
}

impl fmt::Display for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.login.is_some() { "***@" } else { "" };
        write!(f, "http://{login}{}", self.authority)
    }
}

impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse_login(text: &str) -> Result<ProxyLogin, &'static str> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let wrong = "user and password of a proxy are percent-encoded UTF-8 without control characters";
    Ok(ProxyLogin {
        user: percent_decode(user).ok_or(wrong)?,
        password: percent_decode(password).ok_or(wrong)?,
    })
}

/// RFC 3986, section 2.1. Control characters are refused: they would end up in a request head.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| (b? as char).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_parsed_and_its_login_never_printed() {
        let proxy = UpstreamProxy::parse("http://ada:p%40ss%3A@proxy.corp:3128/").unwrap();
        let login = proxy.login.as_ref().unwrap();
        assert_eq!(
            (login.expose_user(), login.expose_password()),
            ("ada", "p@ss:")
        );
        assert_eq!(
            format!("{proxy} {proxy:?}"),
            "http://***@proxy.corp:3128 http://***@proxy.corp:3128"
        );
        let plain = UpstreamProxy::parse("http://10.0.0.1:8080").unwrap();
        assert_eq!(
            (plain.login.is_none(), plain.to_string().as_str()),
            (true, "http://10.0.0.1:8080")
        );
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for bad in [
            "proxy.corp:3128",
            "https://proxy.corp:3128",
            "socks5://proxy.corp:1080",
            "http://proxy.corp",
            "http://proxy.corp:0",
            "http://proxy.corp:3128/path",
            "http://a%0d%0aX:b@proxy.corp:1",
            "http://a%zz@proxy.corp:1",
            "http://",
            "",
        ] {
            assert!(UpstreamProxy::parse(bad).is_err(), "{bad}");
        }
    }
}
