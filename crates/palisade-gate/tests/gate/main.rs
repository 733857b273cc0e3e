//! The gate, attacked from inside over real sockets on loopback. Tests that begin with a letter and a number are
//! named for a known attack; each refusal has a positive control that takes the same way in.
#![allow(missing_docs, clippy::result_large_err)]

mod harness;

mod addresses;
mod audit;
mod bodies;
mod credentials;
mod destination;
mod dns;
mod early_data;
mod framing;
mod http2;
mod intercept;
mod limits;
mod load;
mod namespace;
mod placeholders;
mod redaction;
mod relay;
mod routes;
mod rules;
mod signing;
mod sources;
mod tls_names;
mod upgrade;
mod upstream_proxy;
