//! The first process of a container that Palisade starts. It is built static, so that it runs on any image.
//!
//! Non-goals: no option, no environment; all it does is in the plan it finds.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use palisade_protocol::GUEST_FOLDER;

/// As the binary says of its own failures.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    match palisade_guest::start::run(Path::new(GUEST_FOLDER)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("palisade-guest: failed to {error}");
            }
            ExitCode::from(FAILED)
        }
    }
}
