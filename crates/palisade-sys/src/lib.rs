//! Safe wrappers of the kernel calls Palisade needs, and the only home of unsafe code.
//!
//! Non-goals: no policy, none of Palisade's concepts; nothing here decides, it only calls.
//! Where rustix has a call it is used directly by the crates above; this crate holds what it lacks.
//!
//! # After `clone`
//! The child of a `clone` is a copy of one thread of its parent. A lock that another thread held, the allocator's
//! above all, stays held for ever in the copy. So everything marked *for use after `clone`* neither allocates nor
//! locks, and what it needs is prepared before.
#![cfg(target_os = "linux")]

pub mod cgroup;
pub mod clone;
pub mod environment;
pub mod exec;
pub mod idmap;
pub mod landlock;
pub mod mount;
pub mod netlink;
pub mod process;
pub mod rare;
pub mod redirect;
pub mod rlimit;
pub mod seccomp;
pub mod signal;
pub mod signalfd;
pub mod socket;
