//! HTTP/1.1, strictly: heads checked byte by byte, bodies framed anew, one response a request.
//!
//! ```text
//!   head    bytes ──▶ lines, fields                (no library sees unchecked bytes)
//!   request fields ──▶ target, framing, upgrade    response  fields ──▶ status, framing
//!   rewrite parsed parts ──▶ the head sent on      body, pump  one body from side to side
//!   exchange one request and its response          forward     decide, find an upstream, exchange
//!   serve    all requests of one connection
//! ```

pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod head;
pub(crate) mod pump;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod rewrite;
pub(crate) mod serve;
