//! The native boundary as the agent meets it. Each test runs once as root and once as an ordinary user, where it can.

mod filesystem;
mod identity;
mod late_mask;
mod lifetime;
mod machine;
mod mask;
mod network;
mod overlay;
mod support;
mod terminal;
