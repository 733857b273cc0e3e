//! Starting other programs, and finding things.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes wrong here is for a person to read.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The checkout.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Where npm packages for tests go; never committed.
pub(crate) fn tools() -> PathBuf {
    root().join(".test-tools")
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end with its output shown.
pub(crate) fn run(command: &mut Command) -> Done {
    eprintln!("> {}", shown(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} failed: {status}", shown(command))),
        Err(error) => Err(format!("start {}: {error}", shown(command))),
    }
}

/// Where a program is, looked for in the system's own folders: what a session shows inside.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    [
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/local/sbin",
        "/usr/sbin",
        "/sbin",
    ]
    .iter()
    .map(|folder| Path::new(folder).join(name))
    .find(|path| path.is_file())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    words.join(" ")
}
