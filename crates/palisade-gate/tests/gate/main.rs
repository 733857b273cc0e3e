//! The gate, attacked from inside over real sockets on loopback. Tests that begin with a letter and a number are
//! named for a known attack; each refusal has a positive control that takes the same way in.
#![allow(missing_docs, clippy::result_large_err)]

mod harness;

mod addresses;
mod audit;
mod bodies;
mod destination;
mod dns;
mod framing;
mod intercept;
mod limits;
mod load;
mod namespace;
mod routes;
mod tls_names;
mod upgrade;
mod upstream_proxy;
