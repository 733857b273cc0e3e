//! A secret that a program prints.
//!
//! The program runs outside the boundary with the person's rights: no shell, nothing on its standard input,
//! the environment of [`super::COMMAND_ENVIRONMENT`], the home folder as its directory, a process group of
//! its own. It cannot ask at the terminal, which belongs to the agent.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::text::{first_line, repeats};
use crate::secret::Secret;

/// How long a program may take: a token service far away takes seconds, and a request is waiting.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Most that a program may print: the longest secret, its line end, and one byte more.
const MOST_OUTPUT: usize = Secret::MAX + 3;
/// How much of its error output is kept; only the first line is shown.
const MOST_ERROR: usize = 4096;

/// Runs a program and gives what it printed.
pub(super) fn run(
    context: &Context,
    name: &str,
    program: &Path,
    arguments: &[String],
) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    run_within(context, name, program, arguments, TIME_LIMIT)
}

fn run_within(
    context: &Context,
    name: &str,
    program: &Path,
    arguments: &[String],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let environment = &context.surroundings.environment;
    let home = environment.iter().find(|(name, _)| *name == "HOME");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory(home.map(|(_, home)| home.as_os_str())));
    let failed = |doing: &str, error: std::io::Error| {
        let failure = match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Failure::Missing,
            _ => Failure::Unavailable,
        };
        context.error(name, failure, format!("could not be {doing}: {error}"))
    };
    let mut running = Running::start(command).map_err(|error| failed("started", error))?;
    let end = running
        .read_to_end(limit)
        .map_err(|error| failed("read from", error))?;
    match end {
        End::Ended(status) if status.success() => Ok(running.output.take()),
        End::Ended(status) => Err(context.error(
            name,
            Failure::Unavailable,
            ended(status, &running.errors.bytes, &running.output.bytes),
        )),
        End::TooMuch => Err(context.error(
            name,
            Failure::Malformed,
            format!(
                "printed more than a secret can hold ({} bytes)",
                Secret::MAX
            ),
        )),
        End::TimedOut => Err(context.error(
            name,
            Failure::TimedOut,
            format!(
                "did not end within {} seconds and was killed; it must not ask at the terminal",
                limit.as_secs_f32()
            ),
        )),
    }
}

/// The home folder if there is one. Never the current directory: it is the workspace, which the agent
/// writes, and tools read settings from where they stand.
fn directory(home: Option<&OsStr>) -> PathBuf {
    home.map(PathBuf::from)
        .filter(|home| home.is_absolute() && home.is_dir())
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// How a program that failed ended, with the first line of what it said, unless that repeats what it
/// printed.
fn ended(status: ExitStatus, errors: &[u8], output: &[u8]) -> String {
    let mut text = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    let line = first_line(errors);
    if !line.is_empty() && !repeats(line.as_bytes(), output) {
        text.push_str(": ");
        text.push_str(&line);
    }
    text
}

enum End {
    Ended(ExitStatus),
    TooMuch,
    TimedOut,
}

/// A program that runs. Dropped before its end, its whole process group is killed.
struct Running {
    child: Child,
    group: Pid,
    end: OwnedFd,
    output: Stream<std::process::ChildStdout>,
    errors: Stream<std::process::ChildStderr>,
    reaped: bool,
}

impl Running {
    fn start(mut command: Command) -> std::io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let end = pidfd_open(group, PidfdFlags::empty());
        let output = Stream::new(child.stdout.take(), MOST_OUTPUT);
        let errors = Stream::new(child.stderr.take(), MOST_ERROR);
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                return Err(error.into());
            }
        };
        Ok(Self {
            child,
            group,
            end,
            output,
            errors,
            reaped: false,
        })
    }

    /// Reads until the program itself has ended. What it left running in the background may keep the pipes
    /// open (key agents do), so their end is not waited for.
    fn read_to_end(&mut self, limit: Duration) -> std::io::Result<End> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(End::TimedOut);
            }
            let ended = self.wait(left)?;
            self.output.read()?;
            self.errors.read()?;
            if self.output.bytes.len() >= MOST_OUTPUT {
                return Ok(End::TooMuch);
            }
            if ended {
                self.reaped = true;
                return self.child.wait().map(End::Ended);
            }
        }
    }

    /// Waits until there is something to read, or the end. Tells whether it is the end.
    fn wait(&self, left: Duration) -> std::io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
        let pipes = [self.output.fd(), self.errors.fd()];
        for pipe in pipes.into_iter().flatten() {
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        let left = Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut fds, Some(&left)) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            // Not reaped yet, so the number still means this group.
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// One of a program's output pipes, and the beginning of what came through it.
struct Stream<P> {
    pipe: Option<P>,
    bytes: Zeroizing<Vec<u8>>,
    most: usize,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(pipe: Option<P>, most: usize) -> Self {
        // At its full size from the start: a buffer that grows leaves copies behind.
        let bytes = Zeroizing::new(Vec::with_capacity(most));
        Self { pipe, bytes, most }
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    fn take(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.bytes)
    }

    /// Reads what is there. Whatever exceeds the most is thrown away, a bounded amount a call.
    fn read(&mut self) -> std::io::Result<()> {
        /// So that a program which never stops printing is looked at again in between.
        const READS: usize = 64;
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        rustix::io::ioctl_fionbio(&*pipe, true)?;
        let mut chunk = Zeroizing::new([0; 4096]);
        for _ in 0..READS {
            match pipe.read(&mut *chunk) {
                Ok(0) => {
                    self.pipe = None;
                    return Ok(());
                }
                Ok(got) => {
                    let kept = got.min(self.most - self.bytes.len());
                    self.bytes.extend_from_slice(&chunk[..kept]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
