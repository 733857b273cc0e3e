//! What the inside shows, as data: a list of [`TreeEntry`](palisade_protocol::TreeEntry) that every backend builds
//! the same way.
//!
//! ```text
//!   system_tree      /usr, /bin, /lib*, /opt and named parts of /etc, read-only; made-up /etc/passwd and kin;
//!                    empty /tmp, /run and home; /proc and /dev
//!   trust_tree       what programs trust, with roots of the operator and the session added, where there are any
//!   workspace_tree   the workspace at its own path, itself or an overlay; what else the policy shows; volumes; policy
//!                    files made read-only
//! ```
//!
//! The three lists are built in this order. Whatever is not named here does not exist inside: the root is an allowlist.
//!
//! [`SESSION_VARIABLES`] is the same for the environment: which variables a session sets, and what each holds.
//!
//! Invariants
//! * Parents come before children, and a later entry may cover an earlier one.
//! * Nothing of `/proc`, `/sys`, `/dev`, `/run` of the host is ever shown: sockets of host services live there.
//! * A policy file is read-only inside, also where it lies in a writable workspace.
//!
//! A [`TreeEntry::File`](palisade_protocol::TreeEntry::File) may name a path that an earlier bind already shows (the
//! certificate bundle in `/etc/ssl/certs`). A backend then covers that file, and never writes to the host's.
//!
//! Non-goals: nothing here mounts, and nothing is created on the host. It reads `/etc`, the small files it copies, and
//! what it is given paths of.
#![forbid(unsafe_code)]

mod access;
mod account;
pub mod apply;
pub mod changes;
mod mask;
mod paths;
mod plan;
mod protect;
pub mod review;
mod secret_text;
mod spelling;
mod system;
mod trust;
mod variables;

pub use access::{Kept, Tmpfs, Volume, VolumeName, WorkspaceAccess, volume_folder};
pub use account::AgentAccount;
pub use mask::{
    BUILT_IN, Mask, MaskError, MaskPattern, MaskRule, MaskRules, MaskWatch, Masks, News,
    PatternError, Why, WrittenPattern, tracked,
};
pub use paths::{
    Home, Located, PathError, check_made, check_shown, check_workspace, expand, locate,
};
pub use plan::{ShownPath, WorkspacePlan, is_shown, workspace_tree};
pub use protect::held_in_place;
pub use secret_text::looks_like_secret;
pub use spelling::leads_past;
pub use system::{TreeError, image_tree, system_tree};
pub use trust::{EXTRA_ROOTS, HostTrust, PHP_SETTINGS, TRUST_BUNDLE, WGET_SETTINGS, trust_tree};
pub use variables::{Holds, SESSION_VARIABLES};
