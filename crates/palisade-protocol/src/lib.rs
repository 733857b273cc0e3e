//! Values and messages that pass between the host side and what runs inside the boundary.
//!
//! ```text
//!   session ── TreeEntry list ──▶ backend ──▶ init (inside)
//!      ▲                                        │
//!      ├──────── EgressEndpoint ◀── sockets ────┤
//!      └──────── InitEvent ◀───── frames ───────┘
//! ```
//!
//! Non-goals: nothing here opens, reads or writes a descriptor; the codec turns values into bytes and back.
#![forbid(unsafe_code)]

mod egress;
mod guest;
mod init;
mod relay;
mod tree;

pub use egress::{EgressEndpoint, EgressWanted, Listener, ListenerKind};
pub use guest::{
    GUEST_FOLDER, GUEST_GATE, GUEST_PLAN, GUEST_SOCKET, GuestPlan, HAND_APART_PLAN, HAND_PLAN,
    SWEEP_FOLDER, SWEEP_PLAN,
};
pub use init::{FRAME_LEN, FrameError, InitEvent, InitRequest, SetupStep};
pub use relay::{OPENING_LEN, RELAY_FRAME_MAX, RELAY_HEAD_LEN, RelayFrame, RelayOpening};
pub use tree::{Changes, Ownership, TreeAccess, TreeEntry};
