//! `palisade sandbox`: what palisade runs itself as, to become gVisor's program in a user namespace of an ordinary caller's. Not for people.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::{FAILED, Failure};

/// For palisade itself: becomes the program of a sandbox.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    /// The session's folder.
    folder: PathBuf,
    /// What to become.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Runs the command. It yields only where it failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match palisade_oci::become_sandbox(&args.folder, &args.program) {
        None => Ok(ExitCode::from(FAILED)),
        Some(error) => Err(Failure::new(&error)),
    }
}
