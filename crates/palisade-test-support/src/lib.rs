//! What the tests of the `palisade` binary stand on. Development only; nothing here is part of the product.
//!
//! ```text
//!   Lab ── temp home, workspace, policy, the binary, run as root or as an ordinary user ──▶ Finished { status, … }
//!    └─ Terminal: the same on a pseudo-terminal
//!   Server ── stand-ins of what agents talk to (web, Messages API, npm, PyPI, git, raw TCP), on 127.0.0.1
//!   require() ── a missing program is a listed, reasoned skip, or a failure where nothing may be skipped
//! ```
//!
//! Non-goals: no test lives here, nothing here decides what is right.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test code reads its own environment and talks to the person who runs it"
)]

pub mod authority;
pub mod claude;
mod identity;
mod lab;
mod process;
mod require;
mod shared;
mod terminal;
pub mod upstream;

pub use identity::Identity;
pub use lab::{Lab, Policy};
pub use process::{Finished, Invocation};
pub use require::{Need, Outcome, Skip, conclude, need, program, tool};
pub use terminal::Terminal;
