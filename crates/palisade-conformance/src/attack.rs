//! The attacks, a function each, the same outside and inside. A function that returns says in a few words what it got.

pub(crate) mod files;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod network;
pub(crate) mod processes;
pub(crate) mod secrets;
pub(crate) mod system;

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why an attack got nothing.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It was refused.
    Blocked(io::Error),
    /// There is nothing to attack.
    Absent(String),
}

/// What an attack got, in words.
pub(crate) type Got = Result<String, Failed>;

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Blocked(error)
    }
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Self {
        Self::Blocked(error.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(error) if error.kind() == io::ErrorKind::WouldBlock => {
                f.write_str("no answer")
            }
            Self::Blocked(error) => {
                let text = error.to_string();
                f.write_str(text.split(" (os error").next().unwrap_or(&text))
            }
            Self::Absent(why) => f.write_str(why),
        }
    }
}

/// A refusal in words.
fn blocked(words: impl Into<String>) -> Failed {
    Failed::Blocked(io::Error::other(words.into()))
}

/// Nothing to attack.
fn absent<T>(why: &str) -> Result<T, Failed> {
    Err(Failed::Absent(why.to_owned()))
}

/// Makes the same attack on each of several things: it succeeds if it does on one, and else the first refusal is told. With
/// no thing there is nothing to attack.
fn any<T>(things: impl IntoIterator<Item = T>, none: &str, attack: impl Fn(T) -> Got) -> Got {
    let mut first = None;
    for thing in things {
        match attack(thing) {
            Ok(got) => return Ok(got),
            Err(failed) => first = first.or(Some(failed)),
        }
    }
    Err(first.unwrap_or_else(|| Failed::Absent(none.to_owned())))
}
