//! What the doctor finds in the workspace: secrets that are masked there and that git shows all the same.

use palisade_session::Hidden;
use serde_json::{Value, json};

use super::super::explain::masks;
use super::super::policy_options::{PolicyOptions, load};
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// What a session would hide here. That there is no policy to read says nothing of the machine, so it does not end the doctor.
pub(super) fn look(options: &PolicyOptions) -> Result<Hidden, Failure> {
    let here = Surroundings::read()?;
    masks::find(&load(options, &here, None)?, &here)
}

/// Warns of what git tracks, or says why nobody looked.
pub(super) fn print(hidden: &Result<Hidden, Failure>) {
    match hidden {
        Ok(hidden) => masks::warn_of_tracked(hidden),
        Err(failure) => println!(
            "{} not looked for masked files that git tracks: {}",
            Palette::for_stdout().warn("warning:"),
            failure
                .message()
                .lines()
                .map(harmless)
                .collect::<Vec<_>>()
                .join("\n")
        ),
    }
}

/// The same for programs: masked files that git tracks, or why nobody looked.
pub(super) fn as_json(hidden: &Result<Hidden, Failure>) -> Value {
    match hidden {
        Ok(hidden) => {
            let tracked = hidden.tracked();
            let paths: Vec<_> = tracked.iter().map(|path| path.to_string_lossy()).collect();
            json!({ "tracked_secrets": paths })
        }
        Err(failure) => json!({ "error": failure.message() }),
    }
}
