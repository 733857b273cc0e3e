//! The escape and egress suite: what an agent must not be able to do, tried from inside on any boundary.
//!
//! ```text
//!   outside: Host ── listeners, planted files, a process to attack, a decoy secret
//!      ├─ control:  the attacker, started without a boundary      each attempt has to work there
//!      └─ session:  the attacker, started by `palisade run`       none may work there, but for what the policy opens
//!   judge(control, session, opened) ──▶ one Row an attempt: held, not held, open by the policy, or not tried and why
//! ```
//!
//! The attacker is one program in both places, and each attempt one function. What it says from inside is only read for the
//! names of the table, within bounds; an attempt of which nothing is said counts as not held.
//!
//! The cheap ones can be repeated while a session runs ([`repeat`], [`Hearing`]).
//!
//! Non-goals: no backend, no policy and no session is known here. Who uses this says how the session is started, and what
//! its policy opens.
#![forbid(unsafe_code)]

mod attack;
mod attacker;
mod fingerprint;
mod judge;
mod outside;
mod patience;
mod says;
mod stage;
mod table;
mod watch;

pub use attack::files::{SYSTEM_FOLDERS, SYSTEM_SECRETS};
pub use attacker::{attack, attack_once, be_victim};
pub use fingerprint::Fingerprint;
pub use judge::{Opened, Row, Status, judge};
pub use outside::{Host, Preparation};
pub use says::{Findings, Outcome};
pub use stage::{MaskedKind, Stage};
pub use table::{ATTEMPTS, Attempt, Group};
pub use watch::{Hearing, REPEATED, Seen, repeat, watched};
