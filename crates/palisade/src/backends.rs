//! The registry of backends: the one place that names them.

use palisade_boundary::Backend;
use palisade_config::Effective;
use palisade_native::NativeBackend;

use crate::failure::Failure;

/// Names of all backends, for messages.
pub(crate) const NAMES: [&str; 1] = ["native"];

/// The backend of this name.
pub(crate) fn by_name(name: &str) -> Result<Box<dyn Backend>, Failure> {
    match name {
        "native" => Ok(Box::new(NativeBackend)),
        other => Err(Failure::new(format!("unknown boundary `{other}`"))
            .hint(format!("known: {}", NAMES.join(", ")))),
    }
}

/// The backend a policy names, or the default.
pub(crate) fn of_policy(policy: &Effective) -> Result<Box<dyn Backend>, Failure> {
    by_name(
        policy
            .backend
            .as_ref()
            .map_or("native", |named| &named.value),
    )
}
