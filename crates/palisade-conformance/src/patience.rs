//! Waiting for a process, and not for ever.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(2);

/// Waits for its end. What takes longer is killed.
///
/// # Errors
/// It had to be killed.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("it hung for {patience:?}")));
        }
        sleep(POLL);
    }
}
