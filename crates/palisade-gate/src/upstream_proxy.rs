//! The operator's own proxy, which everything then goes through.

use std::fmt;

use palisade_policy::Authority;

/// A proxy of the operator's. Its address is the operator's word: it may be private.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    authority: Authority,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

/// A user name with a colon, which Basic authentication cannot carry (RFC 7617, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user name of the upstream proxy has a colon")]
pub struct UpstreamProxyError;

impl UpstreamProxy {
    /// A proxy at this place, with the user name and password it asks for.
    ///
    /// # Errors
    /// See [`UpstreamProxyError`].
    pub fn new(
        authority: Authority,
        login: Option<(&str, &str)>,
    ) -> Result<Self, UpstreamProxyError> {
        if login.is_some_and(|(user, _)| user.contains(':')) {
            return Err(UpstreamProxyError);
        }
        let authorization =
            login.map(|(user, password)| basic(format!("{user}:{password}").as_bytes()));
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
            out.push(if at <= group.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_the_password_goes_to_the_proxy_and_is_not_shown() {
        let at = Authority::parse(b"proxy.corp:3128", None).unwrap();
        let proxy = UpstreamProxy::new(at.clone(), Some(("me", "p@ss"))).unwrap();
        assert_eq!(proxy.authority(), &at);
        // From `printf me:p@ss | base64`.
        assert_eq!(proxy.authorization(), Some("Basic bWU6cEBzcw=="));
        assert_eq!(format!("{proxy:?}"), "UpstreamProxy(proxy.corp:3128)");
        let plain = UpstreamProxy::new(at.clone(), None).unwrap();
        assert_eq!(plain.authorization(), None);
        assert_eq!(
            UpstreamProxy::new(at, Some(("a:b", ""))),
            Err(UpstreamProxyError)
        );
    }

    #[test]
    fn base64_pads_as_rfc_4648_does() {
        for (text, expected) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(basic(text.as_bytes()), format!("Basic {expected}"));
        }
    }
}
