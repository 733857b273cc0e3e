//! Prints the JSON schema of the policy format:
//! `cargo run -p palisade-config --features schema --example schema > docs/palisade-policy.schema.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:#}", palisade_config::schema())
}
