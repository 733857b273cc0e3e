//! The real Claude Code, as `cargo xtask setup` installs it for tests.

use std::path::{Path, PathBuf};

use crate::require::Skip;
use crate::shared;

/// Where the program is inside the folder that `cargo xtask setup` installs npm packages into.
const BINARY: &str = "node_modules/@anthropic-ai/claude-code-linux-x64/claude";

/// A folder that holds `claude` and nothing else, and that any user can read.
///
/// # Errors
/// It is not installed.
///
/// # Panics
/// If it cannot be copied there.
pub fn folder() -> Result<PathBuf, Skip> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.test-tools")
        .join(BINARY);
    if !installed.is_file() {
        return Err(Skip::because(
            "Claude Code is not installed",
            "run `cargo xtask setup`",
        ));
    }
    let copy = shared::copy(&installed);
    Ok(copy.parent().expect("a copy lies in a folder").to_owned())
}
