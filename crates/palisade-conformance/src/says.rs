//! What the attacker says, a line of JSON for each attempt, and what is believed of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read};

use serde::{Deserialize, Serialize};

use crate::table::ATTEMPTS;

/// More than the whole suite says in its longest words. What comes after is not read.
const MOST_SAID: u64 = 1 << 20;
/// A detail is cut to this.
pub(crate) const WORDS: usize = 300;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was begun, and nothing more was said.
    Begun,
    /// It was refused.
    Blocked(String),
    /// It got what it wanted.
    Through(String),
    /// What was to be attacked is not here.
    Absent(String),
    /// Its process was ended.
    Died(String),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) attempt: String,
    pub(crate) outcome: Outcome,
}

/// What was said, by the names of the table.
#[derive(Clone, Debug, Default)]
pub struct Findings(BTreeMap<&'static str, Outcome>);

impl Findings {
    /// Reads to the end. Lines that are no findings, and names that are in no table, are passed over; of two findings
    /// for one attempt the worse counts.
    ///
    /// # Errors
    /// The stream broke.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut findings = Self::default();
        for line in BufReader::new(from.take(MOST_SAID)).split(b'\n') {
            if let Ok(line) = serde_json::from_slice::<Line>(&line?) {
                findings.add(line);
            }
        }
        Ok(findings)
    }

    /// Whether nothing was said at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was said of one attempt.
    pub fn of(&self, name: &str) -> Option<&Outcome> {
        self.0.get(name)
    }

    fn add(&mut self, line: Line) {
        let Some(known) = ATTEMPTS.iter().find(|known| known.name == line.attempt) else {
            return;
        };
        let cut = |words: String| words.chars().take(WORDS).collect();
        let outcome = match line.outcome {
            Outcome::Begun => Outcome::Begun,
            Outcome::Blocked(words) => Outcome::Blocked(cut(words)),
            Outcome::Through(words) => Outcome::Through(cut(words)),
            Outcome::Absent(words) => Outcome::Absent(cut(words)),
            Outcome::Died(words) => Outcome::Died(cut(words)),
        };
        let earlier = self.0.get(known.name);
        if earlier.is_none_or(|earlier| weight(earlier) <= weight(&outcome)) {
            self.0.insert(known.name, outcome);
        }
    }
}

fn weight(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Begun => 0,
        Outcome::Absent(_) => 1,
        Outcome::Blocked(_) => 2,
        Outcome::Died(_) => 3,
        Outcome::Through(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_within_bounds() {
        let text = br#"noise
{"attempt":"mount","outcome":{"through":"mounted"}}
{"attempt":"mount","outcome":{"blocked":"no, it was not"}}
{"attempt":"no-such-attempt","outcome":{"blocked":"x"}}
{"attempt":"bpf","outcome":"begun"}
{"attempt":"vsock","outcome":{"blocked":"#;
        let findings = Findings::read(&text[..]).unwrap();
        assert_eq!(
            findings.of("mount"),
            Some(&Outcome::Through("mounted".into()))
        );
        assert_eq!(findings.of("bpf"), Some(&Outcome::Begun));
        assert_eq!(findings.of("vsock"), None);
        assert_eq!(findings.0.len(), 2);
        let long = "x".repeat(1000);
        let line = format!(r#"{{"attempt":"bpf","outcome":{{"blocked":"{long}"}}}}"#);
        let findings = Findings::read(line.as_bytes()).unwrap();
        assert_eq!(
            findings.of("bpf"),
            Some(&Outcome::Blocked("x".repeat(WORDS)))
        );
    }
}
