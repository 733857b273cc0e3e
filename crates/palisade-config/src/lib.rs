//! Policy files: finding, reading, checking and layering them, and what comes out.
//!
//! ```text
//!   --profile, --policy FILE │ user's file │ known agent's profile     extends, first
//!   --allow --access --env --workspace                                        │
//!                │                                                            ▼
//!                └──────────▶ the operator's layer ──▶ tightened by ──▶ Effective ──▶ NetworkPolicy
//!                                                  palisade.toml in        │           tree, environment,
//!                                                  the workspace           ▼           limits, …
//!                                                                       explain
//! ```
//!
//! Invariants
//! * As written, then resolved: every value of [`Effective`] is checked, and whatever is wrong is an error with file,
//!   line and caret before anything starts. Unknown keys are errors.
//! * A policy file inside the workspace can only take away. Whatever the result permits, the operator's layer permits alone.
//! * The environment, the home folder and the current directory come in as [`Surroundings`]; files are read, never written.
//!
//! Non-goals: nothing here decides (that is `palisade-policy`), prints, or starts anything.
//!
//! ```no_run
//! use palisade_config::{Options, Surroundings, explain, load};
//!
//! let around = Surroundings {
//!     home: "/home/ada".into(),
//!     current_dir: "/home/ada/project".into(),
//!     config_dir: "/home/ada/.config".into(),
//!     backends: &["native"],
//! };
//! let options = Options { profiles: vec!["rust".into()], ..Options::default() };
//! match load(&options, &around) {
//!     Ok(policy) => assert!(!explain(&policy).sections.is_empty()),
//!     Err(error) => assert!(!error.message().is_empty()),
//! }
//! ```
#![forbid(unsafe_code)]

mod breadth;
mod container;
mod effective;
mod error;
mod explain;
mod file;
mod format;
mod gate_limits;
mod load;
mod operator;
mod options;
mod parse;
mod profile;
mod proxy;
mod roots;
#[cfg(feature = "schema")]
mod schema;
mod secret_like;
mod spanned;
mod text;
mod tighten;
mod value;

pub use container::{ContainerEngine, ContainerRoot, ContainerSettings};
pub use effective::{Effective, Environment, Gvisor, GvisorPlatform, Shown, Sourced};
pub use error::PolicyError;
pub use explain::{Explanation, RuleHeld, Section, describe_injection, explain, rules_held};
pub use gate_limits::GateLimits;
pub use load::load;
pub use options::{Options, Surroundings};
pub use profile::{known_agent, profile_names, profile_text};
pub use proxy::{ProxyLogin, UpstreamProxy};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use tighten::{DEFAULT_PROCESSES, WORKSPACE_POLICY};
