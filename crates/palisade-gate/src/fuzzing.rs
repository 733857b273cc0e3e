//! Where the fuzz targets (the folder `fuzz`) come in: each parser of what arrives from outside, with what has to hold
//! of any answer it gives. A broken promise is a panic.
//!
//! Behind the feature `fuzzing`, and no part of this crate's interface. What is accepted comes back, so that a target can
//! ask another implementation what it reads in the same bytes.

mod http;
mod names;
mod websocket;

pub use http::{Seen, chunked_body, request_head, response_head};
pub use names::{SeenHello, SeenQuery, client_hello, dns_query, socks_request};
pub use websocket::{SeenFrames, websocket_redaction, websocket_scan};
