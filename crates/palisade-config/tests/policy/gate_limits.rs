//! `[network.limits]`.

use std::time::Duration;

use palisade_config::{GateLimits, explain};

use crate::world::World;

#[test]
fn what_is_set_comes_out_and_nothing_else() {
    let world = World::new();
    world.user_policy(
        "version = 1\n[network.limits]\nhead_bytes = \"128KiB\"\nhead_time = \"2m\"\nconnections = 64\npool_total = 0\n",
    );
    let policy = world.effective();
    let limits = &policy.gate_limits;
    assert_eq!(limits.head_bytes.as_ref().unwrap().value, 128 << 10);
    assert_eq!(
        limits.head_time.as_ref().unwrap().value,
        Duration::from_secs(120)
    );
    assert_eq!(limits.connections.as_ref().unwrap().value, 64);
    assert_eq!(limits.pool_total.as_ref().unwrap().value, 0);
    assert_eq!(limits.entries().len(), 4);
    let words = explain(&policy).to_string();
    assert!(
        words.contains("  head_time: 2m (~/.config/palisade/policy.toml:4)\n"),
        "{words}"
    );
}

#[test]
fn bounds_and_units_are_held() {
    for (setting, expected) in [
        ("head_bytes = \"64\"", "this cannot be read"),
        ("head_bytes = \"2GiB\"", "the range is 4KiB to 1MiB"),
        ("head_bytes = 100", "the range is 4KiB to 1MiB"),
        ("head_time = \"0s\"", "the range is 1s to 10m"),
        ("head_time = \"10\"", "this cannot be read"),
        (
            "head_time = 10",
            "wrong type: integer `10`, expected a time with its unit such as \"10s\"",
        ),
        ("connections = 0", "the range is 1 to 65536"),
        ("connections = -1", "this cannot be read"),
        ("connection = 1", "unknown key `connection`"),
    ] {
        let error = World::error_of(&format!("[network.limits]\n{setting}\n"));
        assert!(error.starts_with(expected), "{setting}: {error}");
        assert!(error.contains("policy.toml:3:"), "{error}");
    }
}

/// The reference states each limit with its default and range.
#[test]
fn the_reference_states_every_limit() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let text = std::fs::read_to_string(path).unwrap();
    for [key, default, least, most] in GateLimits::reference() {
        let row = format!("| `{key}` | {default} | {least} to {most} |");
        assert!(text.contains(&row), "docs/policy.md lacks the row {row}");
    }
    assert_eq!(
        GateLimits::reference().len(),
        GateLimits::documented().entries().len()
    );
}
