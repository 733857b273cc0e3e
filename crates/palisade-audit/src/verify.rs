//! Reading a log back, and finding out whether it is whole.

use std::io::{self, BufRead};

use serde_json::Value;

use crate::chain::Digest;

/// One line read back.
#[derive(Clone, Debug)]
pub struct Record {
    /// The line without its line end.
    pub text: String,
    /// The same, parsed.
    pub value: Value,
}

/// A log whose chain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// Hash of the last line.
    pub head: Digest,
    /// Whether the last line is the session's end. Without it the session still runs, was killed, or the tail was cut.
    pub complete: bool,
}

/// Why a log is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("read the log: {0}")]
    Read(#[from] io::Error),
    /// A line is no JSON object of this schema.
    #[error("line {line} is not an audit line")]
    Malformed {
        /// Counted from 1.
        line: u64,
    },
    /// A line's hash does not fit its text.
    #[error("line {line} was changed: its hash does not fit its text")]
    Changed {
        /// Counted from 1.
        line: u64,
    },
    /// A line does not follow the one before it.
    #[error("line {line} does not follow the line before it: a line was removed, added or moved")]
    Unchained {
        /// Counted from 1.
        line: u64,
    },
}

/// Checks the whole chain of one session's log.
///
/// # Errors
/// The first line that is changed, out of place or no audit line.
pub fn verify(session: &str, mut log: impl BufRead) -> Result<Verified, Broken> {
    let mut prev = Digest::genesis(session);
    let (mut lines, mut complete) = (0, false);
    let mut text = Vec::new();
    loop {
        text.clear();
        if log.read_until(b'\n', &mut text)? == 0 {
            return Ok(Verified {
                lines,
                head: prev,
                complete,
            });
        }
        let line = lines + 1;
        prev = check_line(&text, line, prev)?;
        complete = contains(&text, b"\"type\":\"end\"");
        lines = line;
    }
}

fn check_line(text: &[u8], line: u64, prev: Digest) -> Result<Digest, Broken> {
    const HASH_FIELD: usize = b",\"hash\":\"".len() + 64 + b"\"}".len();
    let text = text.strip_suffix(b"\n").ok_or(Broken::Malformed { line })?;
    let covered = text
        .len()
        .checked_sub(HASH_FIELD)
        .map(|at| &text[..at])
        .ok_or(Broken::Malformed { line })?;
    let value: Value = serde_json::from_slice(text).map_err(|_| Broken::Malformed { line })?;
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let hash = Digest::of(covered);
    let ending = format!(",\"hash\":\"{hash}\"}}");
    if text[covered.len()..] != *ending.as_bytes() {
        return Err(Broken::Changed { line });
    }
    let in_sequence = value.get("seq").and_then(Value::as_u64) == Some(line - 1);
    if !in_sequence || field("prev") != Some(&prev.to_string()) {
        return Err(Broken::Unchained { line });
    }
    Ok(hash)
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{Entry, Event, EventKind, LineSink, Outcome, Sink};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn request(host: &str) -> EventKind {
        EventKind::Request {
            entry: Entry::Connect,
            host: host.into(),
            address: None,
            port: 443,
            method: None,
            path: None,
            outcome: Outcome::Deny,
            rule: None,
            reason: Some("not-allowed"),
            status: Some(403),
            bytes_up: 1,
            bytes_down: 2,
            duration: Duration::from_micros(3),
            error: None,
            intercepted: false,
            protocol: None,
            credential: None,
            redacted: 0,
        }
    }

    fn log() -> Vec<String> {
        let out = Shared::default();
        let sink = LineSink::new("s1", Box::new(out.clone()));
        for host in [
            "a.example",
            "b\r\n\u{1b}[31m\"}.example",
            "c.example",
            "d.example",
        ] {
            sink.record(&Event::at(UNIX_EPOCH, request(host))).unwrap();
        }
        sink.record(&Event::at(
            UNIX_EPOCH,
            EventKind::End {
                status: 0,
                denied: 4,
                allowed: 0,
            },
        ))
        .unwrap();
        sink.flush().unwrap();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn check(lines: &[String]) -> Result<Verified, Broken> {
        verify("s1", lines.concat().as_bytes())
    }

    #[test]
    fn a_whole_log_verifies() {
        let found = check(&log()).unwrap();
        assert_eq!((found.lines, found.complete), (5, true));
    }

    #[test]
    fn a01_host_bytes_cannot_break_a_line() {
        assert_eq!(log().len(), 5);
        assert!(log()[1].contains(r"b\r\n\u001b[31m\"));
    }

    #[test]
    fn any_change_is_found() {
        let whole = log();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = changed[at].replace("\"s1\"", "\"s2\"");
            assert!(
                matches!(check(&changed), Err(Broken::Changed { .. })),
                "change {at}"
            );

            let mut removed = whole.clone();
            removed.remove(at);
            let cut_tail = at + 1 == whole.len();
            match check(&removed) {
                Ok(found) => assert!(cut_tail && !found.complete),
                Err(error) => assert!(
                    matches!(error, Broken::Unchained { .. }),
                    "remove {at}: {error}"
                ),
            }
        }
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert!(matches!(
            check(&swapped),
            Err(Broken::Unchained { line: 2 })
        ));
        let mut doubled = whole.clone();
        doubled.insert(2, whole[1].clone());
        assert!(matches!(
            check(&doubled),
            Err(Broken::Unchained { line: 3 })
        ));
        assert!(
            verify("other", whole.concat().as_bytes()).is_err(),
            "a log of another session"
        );
    }
}
