//! The `palisade` binary as its users meet it: real clients, a real agent, a real terminal, real attacks.
//!
//! Each test runs palisade as root and as an ordinary user. What a test needs and the machine lacks is a listed skip.
#![forbid(unsafe_code)]

mod claude_code;
mod clients;
mod commands;
mod containers;
mod credentials;
mod doctor;
mod escapes;
mod file_systems;
mod files;
mod gvisor;
mod intercepted;
mod lifetime;
mod limits;
mod masks;
mod options;
mod pending;
mod plan;
mod policy_errors;
mod status;
mod terminal;
mod transfer;
mod verify;
mod workspace;

use palisade_test_support::{Identity, Lab};

/// A place of its own for one test.
fn lab(who: Identity) -> Lab {
    Lab::as_told(who, env!("CARGO_BIN_EXE_palisade"))
}
