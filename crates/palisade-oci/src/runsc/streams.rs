//! The standard streams. What is no regular file the sandbox gets as it is. A regular file it would read and write at places of its
//! own, over what stands there (gVisor issue 1472): such a one is copied through a pipe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use palisade_guest::streams::all;
use rustix::fs::{FileType, fstat};
use rustix::pipe::{PipeFlags, pipe_with};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// What the sandbox gets in place of each, where it does.
    ends: [Option<OwnedFd>; 3],
    output: Vec<JoinHandle<()>>,
}

/// Hides what the bytes come from. The kernel's own copying (`splice`) takes the place to write at before it waits for what to write: two of
/// them into one file would write over each other.
struct ByHand<'a>(&'a mut File);

impl Read for ByHand<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Streams {
    /// Begins to copy what has to be copied.
    pub(super) fn of_caller() -> io::Result<Self> {
        let mut streams = Self::default();
        for (index, stream) in all().into_iter().enumerate() {
            let Ok(stat) = fstat(stream) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let own = File::from(stream.as_fd().try_clone_to_owned()?);
            let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
            let is_input = index == 0;
            let (theirs, ours) = if is_input {
                (reading, writing)
            } else {
                (writing, reading)
            };
            let (mut from, mut to) = if is_input {
                (own, File::from(ours))
            } else {
                (File::from(ours), own)
            };
            let copy = std::thread::Builder::new().spawn(move || {
                // Who no longer reads has all it wants.
                let _ = io::copy(&mut ByHand(&mut from), &mut to);
            })?;
            // Input that nobody reads any more would be waited for: its thread ends by itself, once the other end is closed.
            if !is_input {
                streams.output.push(copy);
            }
            if let Some(end) = streams.ends.get_mut(index) {
                *end = Some(theirs);
            }
        }
        Ok(streams)
    }

    /// Hands them to the program that is to be started.
    pub(super) fn give_to(&mut self, command: &mut Command) {
        let [input, output, errors] = self.ends.each_mut().map(Option::take);
        let of = |end: Option<OwnedFd>| end.map_or_else(Stdio::inherit, Stdio::from);
        command
            .stdin(of(input))
            .stdout(of(output))
            .stderr(of(errors));
    }

    /// Waits until all output is where it belongs. The sandbox has ended.
    pub(super) fn finish(&mut self) {
        for copy in self.output.drain(..) {
            let _ = copy.join();
        }
    }
}
