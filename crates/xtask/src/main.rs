//! `cargo xtask COMMAND`: what the project does to itself.
//!
//! Standard library and two parsers only, so that it builds in seconds on a fresh machine.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the people who work on palisade"
)]

mod bench;
mod containers;
mod fuzz;
mod gvisor;
mod schema;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  setup [--bench]              install what the tests need, as far as this user may; with --bench the peers of the gate too
  test                         set up, then check and test everything: the one command for a fresh machine
  containers                   the tests of the binary that hold for every boundary, in containers of a docker daemon started for them, and of podman
  gvisor                       the same in sandboxes of gVisor's, as root
  tidy                         check what no compiler checks: imports, sizes, words, generated files
  schema                       write the JSON schema of the policy format
  fuzz [TARGET] [--seconds N]  run the fuzz targets, or one of them
  bench [start|memory|inside|boundaries|workspace|gate]
                               measure against bubblewrap, sandbox-runtime, a direct connection and other proxies
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["containers"] => test::in_containers(),
        ["gvisor"] => test::in_gvisor(),
        ["setup"] => setup::run(),
        ["setup", "--bench"] => setup::run().and_then(|()| setup::bench()),
        ["test", rest @ ..] => test::run(rest),
        ["tidy"] => tidy::run(),
        ["schema"] => schema::run(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", which @ ..] => bench::run(which),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
