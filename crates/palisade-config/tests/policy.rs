//! Policies from files to decisions, over the public interface alone.

#[path = "policy/arguments.rs"]
mod arguments;
#[path = "policy/credentials.rs"]
mod credentials;
#[path = "policy/errors.rs"]
mod errors;
#[path = "policy/files.rs"]
mod files;
#[path = "policy/gate_limits.rs"]
mod gate_limits;
#[path = "policy/layers.rs"]
mod layers;
#[path = "policy/many_rules.rs"]
mod many_rules;
#[path = "policy/profiles.rs"]
mod profiles;
#[path = "policy/property.rs"]
mod property;
#[path = "policy/rules.rs"]
mod rules;
#[path = "policy/tightening.rs"]
mod tightening;
#[path = "policy/workspace.rs"]
mod workspace;
#[path = "policy/world.rs"]
mod world;
#[path = "policy/wrong_credentials.rs"]
mod wrong_credentials;
#[path = "policy/wrong_paths.rs"]
mod wrong_paths;
#[path = "policy/wrong_values.rs"]
mod wrong_values;
