//! The container backend: the same session in a hardened container of docker or podman.
//!
//! ```text
//!   tree ──▶ Layout: mounts, a skeleton image, folders to give to the agent
//!   flags ──▶ `docker run …`, printed as it runs
//!   supervisor                                  │ container
//!   run, attached to our streams ──────────────▶│ palisade-guest (first process)
//!   inspect: every flag still there?            │ network, sockets, rights given up
//!   endpoint() ◀──────────── Ready, sockets ────┤ (a socket in the session's folder)
//!   Begin ─────────────────────────────────────▶│ agent
//! ```
//!
//! The engine is driven by its command line, with our standard streams, so that contexts, `DOCKER_HOST`, terminals and
//! window sizes are what people know.
//!
//! # Invariants
//! * The agent does not start before the engine was asked what it made, and every control is there.
//! * The container ends when its connection to the supervisor does, whatever the reason.
//! * Nothing is created on the host but the session's folder, below palisade's own state.
//! * What cannot be had is an error with its cause and its fix, never a weaker boundary.
//!
//! Non-goals: this crate knows neither the policy nor the gate, and pulls no image.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod api;
mod assess;
mod backend;
mod below;
mod counters;
mod detached;
mod engine;
mod flags;
mod folder;
mod guest;
mod image;
mod inspect;
mod late;
mod launch;
mod masker;
mod podman;
mod probe;
mod profile;
mod remap;
mod running;
mod runsc;
mod sandboxed;
mod served;
mod settings;
mod stale;
mod sweep;
mod tree;
mod vanished;

pub use api::ClientSettings;
pub use backend::ContainerBackend;
pub use engine::Engine;
pub use folder::Place;
pub use image::named::search_path;
pub use remap::{NO_REMAP, Remapped, remapped};
pub use runsc::{GvisorBackend, GvisorSettings, Platform, become_sandbox};
pub use served::{Gate, Line, ServedBackend, Tell};
pub use settings::{Settings, Surroundings, choose};
