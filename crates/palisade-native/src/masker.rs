//! Masks laid while the session runs.
//!
//! The agent's mounts belong to a user namespace in which nobody has rights any more. A process of our own goes in from
//! outside, which the caller may since the namespace is theirs (user_namespaces(7)), and lays what it is told to. It
//! stays out of the process namespace: inside nobody can see, signal or trace it.

use std::io;
use std::path::Path;

use palisade_boundary::Masker;
use palisade_guest::hand::{HandProcess, May, Namespaces};

use crate::tree::{EMPTY_DIRECTORY, EMPTY_FILE};

/// The supervisor's end. The process is started when it is first wanted, and ended when this is dropped.
#[derive(Debug)]
pub(crate) struct NativeMasker {
    inside: Namespaces,
    process: Option<HandProcess>,
}

impl NativeMasker {
    /// For a boundary that stands.
    pub(crate) fn new(inside: Namespaces) -> Self {
        Self {
            inside,
            process: None,
        }
    }
}

impl Masker for NativeMasker {
    fn mask(&mut self, path: &Path, directory: bool) -> io::Result<bool> {
        let process = match self.process.take() {
            Some(process) => process,
            None => HandProcess::start(&self.inside, (EMPTY_FILE, EMPTY_DIRECTORY), May::Mask)?,
        };
        self.process.insert(process).hand()?.mask(path, directory)
    }
}
