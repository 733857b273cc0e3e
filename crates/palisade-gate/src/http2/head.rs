//! Heads, between HTTP/2 and the form in which HTTP/1.1 writes them. In that form the one parser of the gate reads them, so
//! that there is nothing one version lets through and the other does not (F19, F20).

use std::io::Write as _;

use bytes::Bytes;
use h2::ext::Protocol;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use palisade_credential::OutgoingHead;
use palisade_policy::{Authority, DenialReason};

use crate::http::destination::bad_request;
use crate::http::filter::Filter;
use crate::http::head::{Framing, HeadError};
use crate::http::redaction::Treatment;
use crate::http::request::{BadRequest, Intent, RequestHead};
use crate::http::response::ResponseHead;
use crate::http::{rewrite, trailers};
use crate::limits::GateLimits;
use crate::refusal::Refusal;

/// Reads the head of a stream on a connection to `own`.
#[allow(
    clippy::result_large_err,
    reason = "a refusal is built once and sent at once"
)]
pub(super) fn read(
    request: &http::request::Parts,
    has_body: bool,
    own: &Authority,
    limits: &GateLimits,
) -> Result<(RequestHead, Intent), Refusal> {
    let bad = |detail: &str| Refusal::of(own, DenialReason::BadRequest).with_detail(detail);
    if request.method == Method::CONNECT || request.extensions.get::<Protocol>().is_some() {
        let detail = "CONNECT within a connection to a host";
        return Err(Refusal::of(own, DenialReason::Protocol).with_detail(detail));
    }
    let Some(named) = request.uri.authority() else {
        return Err(bad("there is no :authority"));
    };
    if request.uri.scheme_str() != Some("https") {
        return Err(bad("the :scheme is not that of the connection"));
    }
    let path = request
        .uri
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    let whole_server = path == "*" && request.method == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(bad("the :path is malformed"));
    }
    let mut head = RequestHead::default();
    let bytes = written(request, named.as_str(), path);
    if bytes.len() > limits.head_bytes {
        return Err(bad_head(own, HeadError::TooLong));
    }
    head.parse(&bytes, limits.head_fields)
        .map_err(|error| bad_head(own, error))?;
    let mut intent = head
        .intent()
        .map_err(|error| bad_request(error, |reason, detail| refusal(own, reason, detail)))?;
    if !has_body && matches!(intent.framing, Framing::Length(1..)) {
        return Err(bad("there is a length and no body"));
    }
    if has_body && intent.framing == Framing::None {
        // Its length is not known beforehand.
        intent.framing = Framing::Chunked;
        intent.repeatable = false;
    }
    agree(request, named.as_str(), own)?;
    Ok((head, intent))
}

fn refusal(own: &Authority, reason: DenialReason, detail: String) -> Refusal {
    Refusal::of(own, reason).with_detail(detail)
}

/// What is wrong with a head as such.
fn bad_head(own: &Authority, error: HeadError) -> Refusal {
    let told = bad_request(BadRequest::Head(error), |reason, detail| {
        refusal(own, reason, detail)
    });
    match error {
        HeadError::TooLong | HeadError::TooManyFields => Refusal::of(own, DenialReason::Limit)
            .with_detail(error.to_string())
            .with_status(told.status()),
        _ => told,
    }
}

/// `:authority`, every `Host` and the connection name one place (D23).
#[allow(
    clippy::result_large_err,
    reason = "a refusal is built once and sent at once"
)]
fn agree(request: &http::request::Parts, named: &str, own: &Authority) -> Result<(), Refusal> {
    let named = Authority::parse(named.as_bytes(), Some(own.port)).map_err(|error| {
        let detail = format!("the :authority is not a host: {error}");
        Refusal::of(own, DenialReason::BadHost).with_detail(detail)
    })?;
    if named != *own {
        let detail = format!("the :authority names {named}");
        return Err(Refusal::of(own, DenialReason::HostMismatch).with_detail(detail));
    }
    for host in request.headers.get_all(header::HOST) {
        if Authority::parse(host.as_bytes(), Some(own.port)) != Ok(named.clone()) {
            let detail = "the Host field differs from :authority";
            return Err(Refusal::of(own, DenialReason::BadRequest).with_detail(detail));
        }
    }
    Ok(())
}

fn written(request: &http::request::Parts, authority: &str, path: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let _ = write!(
        out,
        "{} {path} HTTP/1.1\r\nhost: {authority}\r\n",
        request.method
    );
    for (name, value) in &request.headers {
        if name != header::HOST && name != header::COOKIE {
            line(&mut out, name, value.as_bytes());
        }
    }
    // Crumbs of one field (RFC 9113 section 8.2.3).
    let mut crumbs = request.headers.get_all(header::COOKIE).iter();
    if let Some(first) = crumbs.next() {
        let mut cookie = first.as_bytes().to_vec();
        for crumb in crumbs {
            cookie.extend_from_slice(b"; ");
            cookie.extend_from_slice(crumb.as_bytes());
        }
        line(&mut out, &header::COOKIE, &cookie);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The request as it is sent on. Values of `secret` fields are kept out of the table that compresses heads, whose size
/// on the wire would tell about them.
pub(super) fn request(
    head: &OutgoingHead,
    intent: &Intent,
    length: Option<u64>,
    secret: &[String],
) -> Result<Request<()>, http::Error> {
    let uri = Uri::builder()
        .scheme("https")
        .authority(head.host.as_str())
        .path_and_query(head.target.as_str())
        .build()?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method.as_bytes())?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let fields = request.headers_mut();
    for (name, value) in &head.fields {
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        let mut value = HeaderValue::from_bytes(value)?;
        value.set_sensitive(secret.iter().any(|own| own.eq_ignore_ascii_case(name)));
        fields.try_append(HeaderName::from_bytes(name.as_bytes())?, value)?;
    }
    if let Some(length) = length {
        fields.try_append(header::CONTENT_LENGTH, length.into())?;
    }
    if intent.takes_trailers {
        fields.try_append(header::TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(request)
}

/// Reads the head of a response.
pub(super) fn read_response(
    response: &http::response::Parts,
    limits: &GateLimits,
) -> Result<ResponseHead, HeadError> {
    let mut bytes = Vec::with_capacity(1024);
    let _ = write!(bytes, "HTTP/1.1 {:03} \r\n", response.status.as_u16());
    for (name, value) in &response.headers {
        line(&mut bytes, name, value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    let mut head = ResponseHead::default();
    head.parse(&bytes, limits.head_fields)?;
    Ok(head)
}

/// The response as it is passed on.
pub(super) fn response(
    head: &ResponseHead,
    treatment: Option<&Treatment>,
    length: Option<u64>,
) -> Result<Response<()>, http::Error> {
    let mut response = Response::new(());
    *response.status_mut() = head.status.try_into()?;
    *response.version_mut() = Version::HTTP_2;
    let fields = response.headers_mut();
    for field in rewrite::end_to_end(&head.bytes, &head.fields, true) {
        let name = &head.bytes[field.name.clone()];
        if !treatment.is_some_and(|treatment| treatment.drops(name)) {
            let value = HeaderValue::from_bytes(&head.bytes[field.value.clone()])?;
            fields.try_append(HeaderName::from_bytes(name)?, value)?;
        }
    }
    if let Some(length) = length {
        fields.try_append(header::CONTENT_LENGTH, length.into())?;
    }
    Ok(response)
}

/// A response of the gate's own, from the form it has in HTTP/1.1.
pub(super) fn own(bytes: &[u8]) -> Option<(Response<()>, Bytes)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let mut head = ResponseHead::default();
    // The gate writes six fields; what it writes is not bounded by what others may send.
    head.parse(&bytes[..end], usize::MAX).ok()?;
    let mut response = Response::new(());
    *response.status_mut() = head.status.try_into().ok()?;
    *response.version_mut() = Version::HTTP_2;
    for field in &head.fields {
        let name = HeaderName::from_bytes(&head.bytes[field.name.clone()]).ok()?;
        let value = HeaderValue::from_bytes(&head.bytes[field.value.clone()]).ok()?;
        if name != header::CONNECTION {
            response.headers_mut().append(name, value);
        }
    }
    Some((response, Bytes::copy_from_slice(&bytes[end..])))
}

/// Trailers as they are passed on: those that may (F08), without secrets.
pub(super) fn kept_trailers(sent: &HeaderMap, filter: &mut Filter) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in sent {
        if !trailers::passes(name.as_str().as_bytes()) {
            continue;
        }
        let mut value = value.as_bytes().to_vec();
        filter.whole(&mut value);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            // As many as came, which were few enough to come.
            let _ = kept.try_append(name.clone(), value);
        }
    }
    kept
}
