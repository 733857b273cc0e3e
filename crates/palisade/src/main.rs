//! `palisade`: run an AI agent inside a boundary, with one gate as its only way out.
//!
//! This file is the doorway: parse, call one function, map its result to an exit code. The binary is the only place
//! that prints, reads the environment, the home folder and the current directory, and names a concrete backend.
#![forbid(unsafe_code)]
// The libraries are held to these lints so that ambient state comes in through here.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod backends;
mod cli;
mod commands;
mod failure;
mod notices;
mod secrets;
mod surroundings;
mod terminal_text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let outcome = match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => return cli::usage_exit(&error),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
