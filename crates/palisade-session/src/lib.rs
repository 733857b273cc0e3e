//! Plan one session, then run it: gate, boundary, supervision, clean-up, report.
//!
//! ```text
//!   Effective policy + surroundings ──▶ Plan (data) ──▶ run
//!                                                        ├─ Backend::start ──▶ Running
//!                                                        ├─ gate thread ◀── EgressEndpoint
//!                                                        ├─ supervise: signals, terminal, stop and resume
//!                                                        └─ Report: status, denials, where the log is
//! ```
//!
//! This is the only crate that knows both gate and boundary (invariant 1), and it knows the boundary as a trait
//! (invariant 2). It reads no environment, home or current directory: they come in as values. It prints nothing.
#![forbid(unsafe_code)]

mod changes;
mod environment;
mod gate_thread;
mod held;
mod id;
mod interrupts;
mod leftovers;
mod limits;
mod masks;
mod origin;
mod plan;
mod removal;
mod run;
mod sources;
mod spelling;
mod state;
mod supervise;
mod terminal;
mod trust;
mod volumes;
mod watch;

pub use changes::{Changed, ContinueError, RecordedOwners};
pub use environment::{Bundles, InnerEnvironment, PROXY_PORT};
pub use held::{Held, WeakerError};
pub use id::SessionId;
pub use interrupts::Interrupts;
pub use masks::{Hidden, HiddenPath};
pub use origin::Origin;
pub use palisade_sys::environment::take as take_variable;
pub use palisade_sys::signal::reset_dispositions as default_signals;
pub use plan::{Plan, PlanError, Request, User};
pub use run::{Handed, Outcome, Report, RunError, run};
pub use state::{SessionRecord, StateDir, StateError};
pub use trust::TrustError;
pub use volumes::VolumeState;
