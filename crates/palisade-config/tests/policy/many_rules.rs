//! Policies with many rules.

use std::fmt::Write;

use palisade_policy::Layer;

use crate::world::{World, permits};

/// The time it takes is measured by `examples/time_load.rs`; here it only has to work, and no limit may be in the way.
#[test]
fn ten_thousand_rules_are_loaded() {
    let world = World::new();
    let mut text = String::from("version = 1\n");
    for at in 0..10_000 {
        writeln!(
            text,
            "[[network.allow]]\nhost = \"h{at}.example.com\"\nports = [443, {}]",
            1 + at
        )
        .unwrap();
    }
    world.user_policy(&text);
    let policy = world.effective();
    assert_eq!(policy.network.allow_rules(Layer::Operator).len(), 10_000);
    assert!(permits(&policy, "h9999.example.com", 10_000));
    assert!(!permits(&policy, "h9999.example.com", 9_999));
    let last = &policy.network.allow_rules(Layer::Operator)[9_999];
    assert_eq!(last.source.as_str(), "~/.config/palisade/policy.toml:30000");
}

#[test]
fn a_file_past_the_bound_is_refused() {
    let world = World::new();
    world.user_policy(&format!("version = 1\n#{}", "x".repeat(9 << 20)));
    assert!(
        world.error().contains("larger than 8192 KiB"),
        "{}",
        world.error()
    );
}
