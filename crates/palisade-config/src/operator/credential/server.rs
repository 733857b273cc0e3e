//! Servers that give out secrets.

use palisade_credential::Endpoint;
use palisade_policy::{Authority, Host};

use crate::error::PolicyError;
use crate::spanned::Spanned;
use crate::text::Text;

/// Longest URL.
const LONGEST: usize = 2048;

/// A URL a secret is asked for at. In clear text only within this machine, or where the person says so.
pub(super) fn endpoint(
    text: &Text,
    written: &Spanned<String>,
    dangerous_plaintext: Option<&Spanned<bool>>,
) -> Result<Endpoint, PolicyError> {
    let endpoint = parse(written.get_ref()).map_err(|why| text.wrong(written, why))?;
    let permitted = dangerous_plaintext.is_some_and(|written| *written.get_ref());
    if endpoint.secure || permitted || is_local(&endpoint.authority.host) {
        return Ok(endpoint);
    }
    Err(text
        .wrong(written, "secrets are asked for over https")
        .hint("write `https://`, or add `dangerous_plaintext = true` if everybody on the way may read them"))
}

fn parse(url: &str) -> Result<Endpoint, String> {
    let (secure, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err("a URL begins with `https://`".to_owned()),
    };
    if url.len() > LONGEST {
        return Err(format!("a URL has at most {LONGEST} bytes"));
    }
    let (place, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if place.contains('@') {
        return Err("user and password have no place in a URL here".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("this URL has no query and no fragment".to_owned());
    }
    let visible = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
    if !path.bytes().all(visible) || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("the path of this URL is not in plain form".to_owned());
    }
    let port = if secure { 443 } else { 80 };
    let authority =
        Authority::parse(place.as_bytes(), Some(port)).map_err(|error| error.to_string())?;
    Ok(Endpoint {
        secure,
        authority,
        path: path.trim_end_matches('/').to_owned(),
    })
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name.as_str() == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            (
                "https://auth.example.com/token",
                "https://auth.example.com:443/token",
            ),
            (
                "https://vault.example.com:8200/",
                "https://vault.example.com:8200",
            ),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            (
                "https://[2001:db8::1]/a/b/",
                "https://[2001:db8::1]:443/a/b",
            ),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for bad in [
            "auth.example.com/token",
            "ftp://auth.example.com",
            "https://user:pw@auth.example.com/token",
            "https://auth.example.com/token?x=1",
            "https://auth.example.com#x",
            "https://auth.example.com/../token",
            "https://auth.example.com/a b",
            "https://auth.example.com/a\r\nb",
            "https://",
            "https://a.example:0/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
