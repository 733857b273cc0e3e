//! Parts of requests as a policy writes them: header fields, parameters, user names.

use palisade_credential::ClientAuthentication;

use crate::error::PolicyError;
use crate::spanned::Spanned;
use crate::text::Text;

/// Fields the gate writes or judges itself: which bytes belong to a request, for whom it is, and what may be done with the
/// answer. A credential in one of them would be lost, or change what the gate decided.
const OWNED: [&str; 22] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Longest name of a field or parameter.
const LONGEST_NAME: usize = 128;

/// Longest text beside a secret.
const LONGEST_TEXT: usize = 1024;

/// The name of a header field (RFC 9110, section 5.1), in lower case.
pub(super) fn name(text: &Text, written: &Spanned<String>) -> Result<String, PolicyError> {
    let name = written.get_ref().to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(token) {
        return Err(text.wrong(written, "this is no name of a header field"));
    }
    if OWNED.contains(&name.as_str()) || name.starts_with("palisade-") {
        return Err(text.wrong(written, format!("the field `{name}` belongs to the gate")));
    }
    Ok(name)
}

/// A user name of Basic authentication (RFC 7617, section 2): a colon would end it.
pub(super) fn user(text: &Text, written: &Spanned<String>) -> Result<(), PolicyError> {
    let name = written.get_ref();
    let fine =
        name.len() <= LONGEST_TEXT && !name.contains(':') && !name.chars().any(char::is_control);
    if fine {
        return Ok(());
    }
    Err(text.wrong(
        written,
        "a user name holds neither a colon nor control characters",
    ))
}

/// The name of a query parameter, of characters that need no encoding.
pub(super) fn parameter(text: &Text, written: &Spanned<String>) -> Result<(), PolicyError> {
    let name = written.get_ref();
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(fine) {
        return Ok(());
    }
    Err(text.wrong(
        written,
        "the name of a parameter is made of letters, digits and `-._~`",
    ))
}

/// One member of a list field.
pub(super) fn member(text: &Text, written: &Spanned<String>) -> Result<(), PolicyError> {
    if written.get_ref().contains(',') {
        return Err(text.wrong(written, "one member of a list holds no comma"));
    }
    element(text, written)
}

/// Text that stands in a header field as it is.
pub(super) fn element(text: &Text, written: &Spanned<String>) -> Result<(), PolicyError> {
    let value = written.get_ref();
    let visible = value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if visible && !value.is_empty() && value.len() <= LONGEST_TEXT && value.trim() == value {
        return Ok(());
    }
    Err(text.wrong(written, "this is visible ASCII without spaces at its ends"))
}

/// One scope (RFC 6749, section 3.3).
pub(super) fn scope(text: &Text, written: &Spanned<String>) -> Result<(), PolicyError> {
    let value = written.get_ref();
    let fine = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    if !value.is_empty() && value.len() <= LONGEST_TEXT && value.bytes().all(fine) {
        return Ok(());
    }
    Err(text
        .wrong(
            written,
            "a scope is one word of visible ASCII without `\"` and `\\`",
        )
        .hint("give each scope an entry of its own: `scopes = [\"read\", \"write\"]`"))
}

/// How a client shows its secret.
pub(super) fn authentication(
    text: &Text,
    written: Option<&Spanned<String>>,
) -> Result<ClientAuthentication, PolicyError> {
    let Some(written) = written else {
        return Ok(ClientAuthentication::default());
    };
    match written.get_ref().as_str() {
        "basic" => Ok(ClientAuthentication::Basic),
        "post" => Ok(ClientAuthentication::Post),
        other => Err(text
            .wrong(written, format!("`{other}` is not known here"))
            .hint("use `basic` or `post`")),
    }
}
