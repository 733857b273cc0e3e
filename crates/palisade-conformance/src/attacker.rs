//! The attacker: makes each attempt in a process of its own and says what became of it.

use std::io::{self, Read as _, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{PTracer, set_ptracer};

use crate::attack::Failed;
use crate::patience::wait;
use crate::says::{Line, Outcome};
use crate::stage::Stage;
use crate::table::ATTEMPTS;

/// One attempt takes at most some seconds; what hangs is ended. Longer than all waits of an attempt together.
const PATIENCE: Duration = Duration::from_secs(40);

/// Makes every attempt of a stage, each by `again(name)`: this program once more, which calls [`attack_once`].
///
/// # Errors
/// Nothing more can be said.
pub fn attack(
    stage: &Stage,
    again: impl Fn(&str) -> Command,
    mut say: impl Write,
) -> io::Result<()> {
    for name in &stage.attempts {
        write_line(&mut say, name, Outcome::Begun)?;
        let ended = match again(name).stdin(Stdio::null()).spawn() {
            Ok(mut child) => wait(&mut child, PATIENCE),
            Err(error) => Err(error),
        };
        // What the attempt itself said stands before this.
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => write_line(&mut say, name, Outcome::Died(format!("ended by {status}")))?,
            Err(error) => write_line(&mut say, name, Outcome::Died(error.to_string()))?,
        }
    }
    Ok(())
}

/// Makes one attempt and says what became of it.
///
/// # Errors
/// It cannot be said.
pub fn attack_once(stage: &Stage, name: &str, mut say: impl Write) -> io::Result<()> {
    let Some(attempt) = ATTEMPTS.iter().find(|attempt| attempt.name == name) else {
        return Ok(());
    };
    let outcome = match (attempt.attack)(stage) {
        Ok(got) => Outcome::Through(got),
        Err(Failed::Absent(why)) => Outcome::Absent(why),
        Err(failed) => Outcome::Blocked(failed.to_string()),
    };
    write_line(&mut say, name, outcome)
}

/// Is there to be attacked, until standard input ends.
///
/// # Errors
/// Standard input cannot be read.
pub fn be_victim(mut say: impl Write) -> io::Result<()> {
    // Where the kernel lets only parents trace (Yama), this process is the exception that makes the control work.
    let _ = set_ptracer(PTracer::Any);
    say.write_all(b"ready\n")?;
    say.flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn write_line(say: &mut impl Write, attempt: &str, outcome: Outcome) -> io::Result<()> {
    let line = Line {
        attempt: attempt.to_owned(),
        outcome,
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    // In one piece, since two processes write to the same pipe one after the other.
    say.write_all(&text)?;
    say.flush()
}
