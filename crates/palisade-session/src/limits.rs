//! The gate's bounds, as far as the policy sets them.

use palisade_config::GateLimits as Written;
use palisade_gate::GateLimits;

macro_rules! each_limit {
    ($written:ident, $limits:ident: $($name:ident)*) => {
        $(if let Some(limit) = &$written.$name {
            $limits.$name = limit.value;
        })*
    };
}

/// The gate's defaults with what the policy sets in their place.
pub(crate) fn gate_limits(written: &Written) -> GateLimits {
    let mut limits = GateLimits::default();
    each_limit!(written, limits:
        head_bytes head_fields head_time keep_alive hello_bytes hello_time tls_time leaves connect_time dial_time resolve_time
        resolve_at_once addresses stall response_wait tunnel_idle half_closed connections interim_responses
        pool_per_host pool_total pool_idle names summary_hosts
    );
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_config::Sourced;
    use palisade_policy::Source;

    #[test]
    fn the_reference_states_the_gates_own_defaults() {
        assert_eq!(gate_limits(&Written::documented()), GateLimits::default());
    }

    #[test]
    fn every_limit_of_the_reference_reaches_the_gate() {
        let documented = Written::documented();
        assert_eq!(documented.entries().len(), Written::reference().len());
        let mut written = Written::default();
        assert_eq!(gate_limits(&written), GateLimits::default());
        written.connections = Some(Sourced {
            value: 7,
            source: Source::new("test"),
        });
        let limits = gate_limits(&written);
        assert_eq!(limits.connections, 7);
        assert_eq!(limits.names, GateLimits::default().names);
    }
}
