//! A step that failed.

use palisade_protocol::SetupStep;
use rustix::io::Errno;

/// A step that failed.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which.
    pub step: SetupStep,
    /// Which part of it.
    pub index: u32,
    /// The kernel's error.
    pub errno: Errno,
}

/// Names the step of an error.
pub trait At<T> {
    /// The same, with the step.
    ///
    /// # Errors
    /// The error itself.
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault> {
        self.map_err(|errno| Fault { step, index, errno })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: SetupStep, index: u32) -> Result<T, Fault> {
        self.map_err(|error| Fault {
            step,
            index,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })
    }
}
