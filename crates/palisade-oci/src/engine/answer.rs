//! A command of the engine's may hang, and so may its daemon: whoever asks waits only so long.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Most that is written at once: what a pipe that can be written takes without waiting (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

/// Runs a command to its end with this input, and yields what it printed. None where it takes longer than `patience`: it is
/// ended then, and what it started is not waited for.
pub(crate) fn finish(
    command: &mut Command,
    input: &[u8],
    patience: Duration,
) -> io::Result<Option<Output>> {
    let from = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let started = command.stdin(from).stdout(Stdio::piped());
    let mut child = started.stderr(Stdio::piped()).spawn()?;
    match conversation(&mut child, input, Instant::now() + patience) {
        Ok(Some((stdout, stderr))) => Ok(Some(Output {
            status: child.wait()?,
            stdout,
            stderr,
        })),
        other => {
            let _ = child.kill();
            child.wait()?;
            other.map(|_| None)
        }
    }
}

/// Output and errors of a child that has ended.
type Printed = (Vec<u8>, Vec<u8>);

fn conversation(
    child: &mut Child,
    mut input: &[u8],
    deadline: Instant,
) -> io::Result<Option<Printed>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    let mut end: Option<OwnedFd> = Some(end);
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut printed = Printed::default();
    while end.is_some() || stdout.is_some() || stderr.is_some() {
        let sources = [
            (stdin.as_ref().map(AsFd::as_fd), PollFlags::OUT),
            (stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (end.as_ref().map(AsFd::as_fd), PollFlags::IN),
        ];
        let Some(ready) = ready(sources, deadline)? else {
            return Ok(None);
        };
        if ready[0] {
            let part = input.get(..AT_ONCE).unwrap_or(input);
            let written = stdin.as_mut().map_or(Ok(0), |pipe| pipe.write(part));
            // Who reads no further says why itself.
            input = written.map_or(&[], |count| input.get(count..).unwrap_or_default());
            if input.is_empty() {
                stdin = None;
            }
        }
        if ready[1] && read_on(stdout.as_mut(), &mut printed.0)? {
            stdout = None;
        }
        if ready[2] && read_on(stderr.as_mut(), &mut printed.1)? {
            stderr = None;
        }
        if ready[3] {
            end = None;
        }
    }
    Ok(Some(printed))
}

/// Waits until something can be done with one of these, and says with which. None where the time is over.
fn ready<const N: usize>(
    sources: [(Option<BorrowedFd<'_>>, PollFlags); N],
    deadline: Instant,
) -> io::Result<Option<[bool; N]>> {
    let open = sources.iter().enumerate();
    let open: Vec<_> = open
        .filter_map(|(number, (fd, flags))| Some((number, (*fd)?, *flags)))
        .collect();
    let mut fds: Vec<_> = open
        .iter()
        .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut ready = [false; N];
    for ((number, ..), fd) in open.iter().zip(&fds) {
        if let Some(one) = ready.get_mut(*number) {
            *one = !fd.revents().is_empty();
        }
    }
    Ok(Some(ready))
}

/// Reads what is there, and says whether that was the end.
fn read_on(pipe: Option<&mut impl Read>, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 1 << 16];
    let count = pipe.map_or(Ok(0), |pipe| pipe.read(&mut bytes))?;
    into.extend_from_slice(bytes.get(..count).unwrap_or_default());
    Ok(count == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(100);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_is_said_and_answered_is_whole() {
        let input = vec![b'x'; 1 << 20];
        let mut program = shell("cat; echo heard >&2; exit 3");
        let output = finish(&mut program, &input, LONG).expect("runs");
        let output = output.expect("in time");
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout == input && output.stderr == b"heard\n");
        // One that does not listen is no reason to fail.
        let output = finish(&mut shell("exit 0"), &input, LONG).expect("runs");
        assert!(output.expect("in time").status.success());
    }

    #[test]
    fn who_hangs_is_not_waited_for_and_is_ended() {
        let mut program = shell("echo $$; exec sleep 1000");
        assert!(finish(&mut program, b"", SHORT).expect("runs").is_none());
        // One that left somebody with its output behind is none that has ended.
        let mut program = shell("sleep 3 & exit 0");
        assert!(finish(&mut program, b"", SHORT).expect("runs").is_none());
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("id");
        let mut program = shell(&format!("echo $$ > {}; exec sleep 1000", file.display()));
        // Until it has come as far as to say who it is.
        let mut patience = SHORT;
        let id = loop {
            assert!(finish(&mut program, b"", patience).expect("runs").is_none());
            match std::fs::read_to_string(&file).map(|id| id.trim().to_owned()) {
                Ok(id) if !id.is_empty() => break id,
                _ => patience *= 2,
            }
        };
        assert!(!std::path::Path::new("/proc").join(id).exists());
    }
}
