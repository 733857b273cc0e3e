//! The attempts that are repeated while a session runs: inside, round after round, and outside, by whoever hears of it.
//!
//! Only what takes no time, leaves nothing in the workspace and reaches no host, so that a day of it disturbs neither the agent nor
//! the audit log.

use std::io::{self, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::attacker::attack;
use crate::judge::{Opened, Row, Status};
use crate::says::{Findings, Line, Outcome, WORDS};
use crate::stage::Stage;
use crate::table::ATTEMPTS;

/// What is repeated, by name.
pub const REPEATED: [&str; 34] = [
    "masked",
    "outside-file",
    "home-secrets",
    "system-secrets",
    "write-outside",
    "write-system",
    "sysfs",
    "devices",
    "kernel-memory",
    "descriptors",
    "loopback-udp",
    "udp",
    "abstract-socket",
    "path-socket",
    "engine-socket",
    "raw-sockets",
    "packet-sockets",
    "vsock",
    "kernel-sockets",
    "host-processes",
    "signals",
    "trace",
    "first-process",
    "process-roots",
    "process-environments",
    "io-uring",
    "bpf",
    "settings",
    "control-groups",
    "mount",
    "namespaces",
    "clone3",
    "change-root",
    "other-user",
];

/// What ends a round.
const ROUND: &str = "round";
/// Rounds that may be missed before silence counts.
const MISSED: u32 = 4;
/// A round takes a second at most, however busy the machine.
const ROUND_LASTS: Duration = Duration::from_secs(30);
/// More than the longest line.
const LONGEST: usize = 64 << 10;

/// The stage of a watch: what can be repeated and works outside. Nothing of the secrets is in it, since the agent can read it.
pub fn watched(stage: &Stage, control: &Findings) -> Stage {
    let works = |name: &&str| matches!(control.of(name), Some(Outcome::Through(_)));
    let attempts = REPEATED.into_iter().filter(works).map(str::to_owned);
    Stage {
        attempts: attempts.collect(),
        secrets: Vec::new(),
        ..stage.clone()
    }
}

/// Repeats the attempts of a stage, each by `again(name)`, whose standard output has to be the connection. Ends with it.
///
/// # Errors
/// Nobody hears it any more.
pub fn repeat(
    stage: &Stage,
    every: Duration,
    again: impl Fn(&str) -> Command,
    mut say: impl Write,
) -> io::Result<()> {
    loop {
        attack(stage, &again, &mut say)?;
        say.write_all(format!("{ROUND}\n").as_bytes())?;
        sleep(every);
    }
}

/// What a watch ends with.
#[derive(Debug)]
pub enum Seen {
    /// An attempt got through.
    Through(Row),
    /// Nothing was heard for too long.
    Silence,
    /// The connection has ended.
    End,
}

/// Hears what is said of the attempts.
#[derive(Debug)]
pub struct Hearing<'a> {
    connection: UnixStream,
    opened: &'a Opened,
    patience: Duration,
    rest: Vec<u8>,
    /// Whether anything of the present round could not be tried.
    untried: bool,
    rounds: u64,
}

impl<'a> Hearing<'a> {
    /// Of a watch that goes round so often.
    ///
    /// # Errors
    /// The connection has no timeout.
    pub fn new(connection: UnixStream, every: Duration, opened: &'a Opened) -> io::Result<Self> {
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self {
            connection,
            opened,
            patience: (every + ROUND_LASTS) * MISSED,
            rest: Vec::new(),
            untried: false,
            rounds: 0,
        })
    }

    /// Whole rounds in which nothing got through.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Listens until there is something to be done. Only time spent here counts as silence: a whole session that was stopped
    /// and goes on says nothing either.
    ///
    /// # Errors
    /// The connection broke.
    pub fn listen(&mut self) -> io::Result<Seen> {
        let mut silent = Duration::ZERO;
        let mut bytes = [0; 4096];
        loop {
            let began = Instant::now();
            match self.connection.read(&mut bytes) {
                Ok(0) => return Ok(Seen::End),
                Ok(length) => {
                    self.rest
                        .extend_from_slice(bytes.get(..length).unwrap_or_default());
                    let before = self.rounds;
                    if let Some(row) = self.lines() {
                        return Ok(Seen::Through(row));
                    }
                    if self.rounds > before {
                        silent = Duration::ZERO;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Seen::End);
                }
                Err(error) => return Err(error),
            }
            // A stop of this process is not the watch's silence.
            silent += began.elapsed().min(Duration::from_secs(2));
            if silent > self.patience || self.rest.len() > LONGEST {
                return Ok(Seen::Silence);
            }
        }
    }

    /// Reads the whole lines there are.
    fn lines(&mut self) -> Option<Row> {
        let end = self.rest.iter().rposition(|byte| *byte == b'\n')?;
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        for line in whole.split(|byte| *byte == b'\n') {
            if line == ROUND.as_bytes() {
                // A round that could not be made whole, because the agent has used up the processes, is none.
                self.rounds += u64::from(!std::mem::take(&mut self.untried));
            } else if let Ok(line) = serde_json::from_slice::<Line>(line)
                && let Some(row) = self.judge(line)
            {
                return Some(row);
            }
        }
        None
    }

    fn judge(&mut self, line: Line) -> Option<Row> {
        let attempt = ATTEMPTS
            .iter()
            .find(|attempt| attempt.name == line.attempt)?;
        self.untried |= matches!(line.outcome, Outcome::Died(_));
        let Outcome::Through(words) = line.outcome else {
            return None;
        };
        let detail = words.chars().take(WORDS).collect();
        let status = Status::NotHeld;
        (!self.opened.contains_key(attempt.name)).then_some(Row {
            attempt,
            status,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Seen {
        let (mut inside, outside) = UnixStream::pair().unwrap();
        let opened = Opened::from([("udp".into(), "x".into())]);
        for line in lines {
            inside.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        drop(inside);
        let mut hearing = Hearing::new(outside, Duration::from_secs(1), &opened).unwrap();
        hearing.listen().unwrap()
    }

    #[test]
    fn what_is_repeated_is_in_the_table() {
        for name in REPEATED {
            assert!(
                ATTEMPTS.iter().any(|attempt| attempt.name == name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_gets_through_is_seen_at_once() {
        let blocked = r#"{"attempt":"bpf","outcome":{"blocked":"no"}}"#;
        let through = r#"{"attempt":"vsock","outcome":{"through":"opened one"}}"#;
        let Seen::Through(row) = said(&[blocked, "round", through]) else {
            panic!("nothing seen");
        };
        assert_eq!(
            (row.attempt.name, row.detail.as_str()),
            ("vsock", "opened one")
        );
        assert!(matches!(said(&[blocked, "round"]), Seen::End));
    }

    #[test]
    fn what_the_policy_opens_is_passed_over() {
        let through = r#"{"attempt":"udp","outcome":{"through":"sent"}}"#;
        assert!(matches!(said(&[through]), Seen::End));
    }

    #[test]
    fn a_round_that_could_not_be_made_is_none() {
        let (mut inside, outside) = UnixStream::pair().unwrap();
        let opened = Opened::default();
        let died = r#"{"attempt":"bpf","outcome":{"died":"no process"}}"#;
        inside
            .write_all(format!("round\n{died}\nround\nround\n").as_bytes())
            .unwrap();
        drop(inside);
        let mut hearing = Hearing::new(outside, Duration::from_secs(1), &opened).unwrap();
        assert!(matches!(hearing.listen().unwrap(), Seen::End));
        assert_eq!(hearing.rounds(), 2);
    }

    #[test]
    fn a_flood_without_an_end_counts_as_silence() {
        let (mut inside, outside) = UnixStream::pair().unwrap();
        let opened = Opened::default();
        let flood = std::thread::spawn(move || while inside.write_all(&[b'x'; 4096]).is_ok() {});
        let mut hearing = Hearing::new(outside, Duration::from_secs(1), &opened).unwrap();
        assert!(matches!(hearing.listen().unwrap(), Seen::Silence));
        drop(hearing);
        flood.join().unwrap();
    }
}
