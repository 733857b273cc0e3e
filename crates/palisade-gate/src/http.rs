//! HTTP/1.1, strictly: heads checked byte by byte, bodies framed anew, one response a request. What does not depend on
//! how a message is framed (`asked`, `outgoing`, `placeholders`, `redaction`, `filter`, `trailers`) serves HTTP/2 as well.
//!
//! ```text
//!   head    bytes ──▶ lines, fields                (no library sees unchecked bytes)
//!   request fields ──▶ target, framing, upgrade    response  fields ──▶ status, framing
//!   serve   all requests of one connection ──▶ forward, one after the other:
//!     destination where to ──▶ asked whether it may ──▶ compose what is sent ──▶ exchange request and response
//!                                  │ no                   ├ placeholders  none where it is not bound to
//!                                  └──▶ answer            └ outgoing      the credential, and nothing beside it
//!   rewrite parsed parts ──▶ the head sent on      body, pump  one body from side to side
//!   filter  what a body meets: placeholders looked for, `redaction` of secrets, also within WebSocket `frames`
//! ```

pub(crate) mod answer;
pub(crate) mod asked;
pub(crate) mod body;
pub(crate) mod compose;
pub(crate) mod destination;
pub(crate) mod exchange;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod frames;
pub(crate) mod head;
pub(crate) mod outgoing;
pub(crate) mod placeholders;
pub(crate) mod pump;
pub(crate) mod redaction;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod rewrite;
pub(crate) mod serve;
pub(crate) mod trailers;
