//! The native Linux backend: namespaces, mounts, Landlock, a system-call filter and limits, made by Palisade itself.
//!
//! ```text
//!   supervisor                             │ init (pid 1 inside)             │ others inside
//!   ChildPlan: all that the child needs    │                                 │
//!   clone3 with the namespaces ───────────▶│ fork ──────────────────────────▶│ builder: tree, new root
//!   identity maps, control group, Proceed ─┼─────────────────────────────────▶   (waits for Proceed first)
//!                                          │ network namespace, loopback,    │
//!                                          │ routes, capture, sockets        │
//!                                          │ rights given up ◀───────────────┤ done
//!   endpoint() ◀──────────── Ready, sockets│                                 │
//!   begin() ──────────────────────── Begin ▶ (waits for it here)            │
//!   next_event() ◀──────────────── Started │ vfork ─────────────────────────▶│ agent: Landlock, filter, exec
//!   next_event() ◀───── Stopped, Exited, … │ reaps, passes signals on        │
//! ```
//!
//! Where no processor is free, init makes the tree itself, after the network.
//!
//! # Invariants
//! * Host root is never mapped in; the agent has no capability and cannot get one.
//! * Nothing is created on the host's file system, no helper program is run.
//! * What the child does after `clone` neither allocates nor locks; everything it needs is made before.
//! * What cannot be had is an error with its cause and its fix, never a weaker boundary.
//!
//! Non-goals: this crate knows neither the policy nor the gate.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod assess;
mod backend;
mod child;
mod explain;
mod freeze;
mod identity;
mod inside;
pub mod limits;
mod masker;
pub mod probe;
mod running;
mod streams;
mod tree;

pub use backend::NativeBackend;
