//! Resource limits of one process. Without allocation, for use after `clone`.

use std::io;

pub use rustix::process::Resource;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// Lowers both limits of a resource to `value`. A hard limit that is lower already stays: raising one takes
/// `CAP_SYS_RESOURCE`, which palisade never counts on.
///
/// # Errors
/// The kernel's refusal.
pub fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let value = now.maximum.map_or(value, |hard| hard.min(value));
    setrlimit(
        resource,
        Rlimit {
            current: Some(value),
            maximum: Some(value),
        },
    )
    .map_err(io::Error::from)
}

/// Lets the process open as many files as it may, and says how many that is.
///
/// # Errors
/// The kernel's refusal.
pub fn raise_files() -> io::Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let current = now.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..now })?;
    Ok(current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses a resource that the test runner has no need of, since limits belong to the whole process.
    #[test]
    fn a_limit_goes_down_and_never_up() {
        lower(Resource::Sigpending, 1000).expect("lower");
        let after = getrlimit(Resource::Sigpending);
        assert!(after.current.is_some_and(|v| v <= 1000));
        assert_eq!(after.current, after.maximum);
        lower(Resource::Sigpending, 2000).expect("no-op");
        assert_eq!(getrlimit(Resource::Sigpending), after);
    }
}
