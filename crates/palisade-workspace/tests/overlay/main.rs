//! Change sets of overlays that the kernel made, applied: as root and as an ordinary user.
//!
//! A test runs itself again as the other identity, and from there again inside a user and mount namespace, where the
//! overlay is mounted. Those runs are the ignored tests in `again`.

#![allow(
    clippy::disallowed_methods,
    reason = "a test program tells its other runs by the environment what to do"
)]

mod again;
mod conflict;
mod crash;
mod full;
mod inside;
mod large;
mod operation;
mod property;
mod tree;
