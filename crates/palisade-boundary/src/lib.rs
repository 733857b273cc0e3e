//! The contract between a session and the backend that isolates it.
//!
//! ```text
//!            probe()            what this machine can do, and what is missing
//!   Backend  assess(spec)       one Enforcement per control, without trying anything; examine(spec) tries
//!            start(spec) ─────▶ Running: begin(), endpoint(), next_event(), request(), kill()
//! ```
//!
//! # What a backend promises
//! * The inside sees the spec's tree and nothing else of the host, has loopback and the endpoint and no other
//!   way out, runs as an unprivileged user whoever runs palisade, and inherits no descriptor above 2.
//! * What the spec demands and the backend cannot give is an error of `start`, never a silent weakening (invariant 8).
//! * When the `Running` value or the supervising process goes away, by whatever means, everything inside ends.
//! * Nothing stays behind: no process, mount, socket, control group or file.
//!
//! Non-goals: no backend lives here, nothing here knows a policy or the gate.
#![forbid(unsafe_code)]

mod assess;
mod backend;
mod probe;
mod spec;

pub use assess::{Assessment, Control, Enforcement, Weakness};
pub use backend::{AgentEvent, Backend, Masker, Request, Running, StartError};
pub use probe::{Capability, CapabilityState, Probe};
pub use spec::{BoundarySpec, Bytes, Command, Identity, Limits};
