//! What this machine can do (first form; being filled).

use palisade_boundary::Probe;

/// Tries everything the native boundary needs.
pub fn probe() -> Probe {
    Probe {
        capabilities: Vec::new(),
    }
}
