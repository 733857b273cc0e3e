//! `cargo xtask test`: everything that has to hold, in one command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::shell::{self, Done};
use crate::{containers, fuzz, gvisor, setup, tidy};

/// Runs each step, the later ones even if an earlier one failed, and names those that did.
pub(crate) fn run(arguments: &[&str]) -> Done {
    if !arguments.is_empty() {
        return Err(
            "cargo xtask test takes no arguments; use cargo nextest run for a selection".into(),
        );
    }
    setup::run()?;
    let shared = Shared::new()?;
    let steps: [(&str, &dyn Fn() -> Done); 9] = [
        ("format", &|| {
            shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
        }),
        ("clippy", &|| {
            let arguments = ["clippy", "--workspace", "--all-targets", "--locked"];
            shell::run(
                shell::cargo()
                    .args(arguments)
                    .args(["--", "-D", "warnings"]),
            )
        }),
        ("doc tests", &|| {
            shell::run(shell::cargo().args(["test", "--workspace", "--doc", "--locked", "--quiet"]))
        }),
        ("docs", &|| {
            let arguments = ["doc", "--workspace", "--no-deps", "--locked", "--quiet"];
            shell::run(
                shell::cargo()
                    .args(arguments)
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )
        }),
        ("tidy", &tidy::run),
        ("fuzz", &fuzz::briefly),
        ("tests in containers", &|| {
            containers::run(&shared.0, has_nextest(), &shared.variables())
        }),
        ("tests in gVisor", &|| {
            gvisor::run(&shared.0, has_nextest(), &shared.variables())
        }),
        // Last, so that its summary is what a run ends with.
        ("tests", &|| tests(&shared)),
    ];
    let mut failed = Vec::new();
    let mut report = Vec::new();
    for (name, step) in steps {
        let started = Instant::now();
        let done = step();
        report.push(format!(
            "{name}: {} in {:.0?}",
            if done.is_ok() { "passed" } else { "failed" },
            started.elapsed()
        ));
        if let Err(message) = done {
            eprintln!("{message}");
            failed.push(name);
        }
    }
    print_skips(&shared.skips());
    eprintln!("{}", report.join("\n"));
    match failed.as_slice() {
        [] => Ok(()),
        _ => Err(format!("failed: {}", failed.join(", "))),
    }
}

/// A folder for what the tests of this run share, gone afterwards. Not in the checkout, which an ordinary user may be
/// unable to enter.
struct Shared(PathBuf);

impl Shared {
    fn new() -> Done<Self> {
        let path = std::env::temp_dir().join(format!("palisade-tests-of-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("make {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn skips(&self) -> PathBuf {
        self.0.join("skips")
    }

    /// What tells the tests of it.
    fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("PALISADE_TEST_SKIPS", self.skips()),
            ("PALISADE_TEST_SHARED", self.0.clone()),
        ]
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// nextest where it is installed (each test in a process of its own, hangs ended), else cargo's own runner.
fn tests(shared: &Shared) -> Done {
    let mut command = shell::cargo();
    command.envs(shared.variables());
    if has_nextest() {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            // They have a step of their own.
            "--filterset",
            "not test(/^(containers|gvisor)::/)",
        ]);
    } else {
        command.args([
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
            "--locked",
            "--no-fail-fast",
            "--",
            "--skip",
            "containers::",
            "--skip",
            "gvisor::",
        ]);
    }
    shell::run(&mut command)
}

/// `cargo xtask containers`: one of the steps alone.
pub(crate) fn in_containers() -> Done {
    let shared = Shared::new()?;
    let done = containers::run(&shared.0, has_nextest(), &shared.variables());
    print_skips(&shared.skips());
    done
}

/// `cargo xtask gvisor`: the same in sandboxes.
pub(crate) fn in_gvisor() -> Done {
    let shared = Shared::new()?;
    let done = gvisor::run(&shared.0, has_nextest(), &shared.variables());
    print_skips(&shared.skips());
    done
}

fn has_nextest() -> bool {
    Command::new("cargo-nextest")
        .arg("--version")
        .output()
        .is_ok_and(|found| found.status.success())
}

fn print_skips(list: &Path) {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    eprintln!("skipped tests: {}", lines.len());
    for line in lines {
        eprintln!("  {line}");
    }
}
