//! The real Claude Code, as `cargo xtask setup` installs it for tests.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::require::Skip;

/// Where the program is inside the folder that `cargo xtask setup` installs npm packages into.
const BINARY: &str = "node_modules/@anthropic-ai/claude-code-linux-x64/claude";

/// A folder holding `claude`, which any user can read: hard-linked or copied once out of the checkout.
///
/// # Errors
/// It is not installed.
///
/// # Panics
/// If it cannot be copied.
pub fn folder() -> Result<PathBuf, Skip> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.test-tools")
        .join(BINARY);
    let Ok(found) = fs::metadata(&installed) else {
        return Err(Skip::because(
            "Claude Code is not installed",
            "run `cargo xtask setup`",
        ));
    };
    let uid = rustix::process::geteuid().as_raw();
    let name = format!(
        "palisade-test-claude-{uid}-{}-{}",
        found.len(),
        found.mtime()
    );
    let folder = std::env::temp_dir().join(name);
    let program = folder.join("claude");
    if !program.exists() {
        fs::create_dir_all(&folder).expect("make a directory for Claude Code");
        let fresh = tempfile::NamedTempFile::new_in(&folder).expect("make a file");
        fs::copy(&installed, fresh.path()).expect("copy Claude Code");
        fresh
            .into_temp_path()
            .persist(&program)
            .expect("put Claude Code in its place");
    }
    Ok(folder)
}
