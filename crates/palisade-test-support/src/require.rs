//! Requirements of a test that a machine may lack.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where programs are looked for: what a session shows as well. The caller's own `PATH` may lead into a home folder.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Set (to anything) where a skip is a failure.
pub(crate) const NO_SKIP: &str = "PALISADE_TEST_NO_SKIP";
/// Names a file that each skip is appended to, so that a runner can list them at the end.
pub(crate) const SKIP_LIST: &str = "PALISADE_TEST_SKIPS";

/// What a test function returns: passed, or skipped for a reason. Failures panic.
pub type Outcome = Result<(), Skip>;

/// Why a test did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    reason: String,
    fix: String,
}

impl Skip {
    /// A skip, with what would make the test run.
    pub fn because(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            fix: fix.into(),
        }
    }
}

/// Something a test needs from the machine.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A program of the system, and the Debian package it comes in.
    Program(&'static str, &'static str),
    /// A module of the system's Python, and the Debian package it comes in.
    PythonModule(&'static str, &'static str),
}

/// Checks several needs at once.
///
/// # Errors
/// The first one the machine lacks.
pub fn need(needs: &[Need]) -> Result<(), Skip> {
    needs.iter().try_for_each(|need| match *need {
        Need::Program(name, package) => program(name, package).map(drop),
        Need::PythonModule(module, package) => python_module(module, package),
    })
}

/// Where a program of the system is.
///
/// # Errors
/// It is not installed.
pub fn program(name: &str, package: &str) -> Result<PathBuf, Skip> {
    PATH.split(':')
        .map(|directory| PathBuf::from(directory).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Skip::because(
                format!("{name} is not installed"),
                format!("install the package {package}"),
            )
        })
}

/// Where a program is that `cargo xtask setup` put into the checkout, or one of the system of the same name. `place` is
/// its folder below that of the PyPI packages.
///
/// # Errors
/// There is neither.
pub fn tool(place: &str, name: &str, package: &str) -> Result<PathBuf, Skip> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.test-tools/pypi")
        .join(place)
        .join(name);
    if own.is_file() {
        return Ok(own);
    }
    program(name, package)
}

/// Ends a test: a skip is recorded, or fails the test where nothing may be skipped.
///
/// # Panics
/// On a skip if `PALISADE_TEST_NO_SKIP` is set.
pub fn conclude(test: &str, outcome: Outcome) {
    let Err(skip) = outcome else { return };
    let list = std::env::var_os(SKIP_LIST).map(PathBuf::from);
    let forbidden = std::env::var_os(NO_SKIP).is_some();
    record(test, &skip, forbidden, list.as_deref());
}

fn record(test: &str, Skip { reason, fix }: &Skip, forbidden: bool, list: Option<&Path>) {
    assert!(
        !forbidden,
        "{test} may not be skipped here: {reason} ({fix})"
    );
    let line = format!("{test}: {reason} ({fix})\n");
    eprint!("skipped {line}");
    if let Some(list) = list {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(list)
            .expect("open the list of skips");
        file.write_all(line.as_bytes()).expect("record a skip");
    }
}

fn python_module(module: &str, package: &str) -> Result<(), Skip> {
    let python = program("python3", "python3")?;
    let found = std::process::Command::new(python)
        .env_clear()
        .args(["-c", &format!("import {module}")])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    found.then_some(()).ok_or_else(|| {
        Skip::because(
            format!("the system's python3 has no module {module}"),
            format!("install the package {package}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_named() {
        assert!(program("sh", "dash").is_ok());
        let skip = program("no-such-program", "no-such-package").unwrap_err();
        assert_eq!(skip.reason, "no-such-program is not installed");
        assert_eq!(skip.fix, "install the package no-such-package");
    }

    #[test]
    fn a_skip_is_listed_or_fails() {
        let list = tempfile::NamedTempFile::new().unwrap();
        let skip = Skip::because("no tool", "install it");
        record("a", &skip, false, Some(list.path()));
        record("b", &skip, false, Some(list.path()));
        let listed = std::fs::read_to_string(list.path()).unwrap();
        assert_eq!(listed, "a: no tool (install it)\nb: no tool (install it)\n");
        assert!(std::panic::catch_unwind(|| record("c", &skip, true, None)).is_err());
    }
}
