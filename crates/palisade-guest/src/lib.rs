//! What Palisade runs inside a boundary: the way to the gate, the agent's start, and what looks after it until its end.
//!
//! ```text
//!   network    loopback, every address local, capture, sockets
//!   handover   the sockets, out to the supervisor with `Ready`
//!   rights     identity taken on, every capability given up
//!   agent      Landlock, filter, execve
//!   serve      reap, pass requests on, tell the end
//!   hand       masks laid while the agent runs, by a process outside
//! ```
//!
//! The native backend runs it in the child it cloned. In a container the program `palisade-guest` does, as the first
//! process.
//!
//! # Invariants
//! * Nothing here but [`start`] allocates or locks, because it may run after `clone`.
//! * The agent starts after every right is given up, and not before the supervisor said so.
//!
//! Non-goals: no file tree and no namespace is made here; nothing here knows a policy.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod agent;
mod connection;
mod fault;
pub mod filter;
pub mod hand;
pub mod handover;
pub mod network;
pub mod program;
pub mod relay;
pub mod rights;
pub mod serve;
pub mod start;
pub mod streams;

pub use connection::{Connection, Post};
pub use fault::{At, Fault};
