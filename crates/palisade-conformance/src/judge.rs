//! The judgement of each attempt, from what its control and the inside said, and what the policy opens.

use std::collections::BTreeMap;

use crate::says::{Findings, Outcome};
use crate::table::{ATTEMPTS, Attempt};

/// Attempts that the policy lets succeed, by name, and why.
pub type Opened = BTreeMap<String, String>;

/// How an attempt is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works outside and was refused inside.
    Held,
    /// It got through, or it cannot be said that it did not.
    NotHeld,
    /// It got through, as the policy says.
    Open,
    /// It does not work outside either, so that a refusal inside would prove nothing.
    NotTried,
}

impl Status {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not-held",
            Self::Open => "open",
            Self::NotTried => "not-tried",
        }
    }
}

/// One attempt, judged.
#[derive(Clone, Debug)]
pub struct Row {
    /// The attempt.
    pub attempt: &'static Attempt,
    /// The judgement.
    pub status: Status,
    /// In the words of whoever knows best: the inside, the control, or the policy.
    pub detail: String,
}

/// Judges every attempt of the table.
pub fn judge(control: &Findings, inside: &Findings, opened: &Opened) -> Vec<Row> {
    let row = |attempt: &'static Attempt| {
        let (status, detail) = status(attempt, control, inside, opened.get(attempt.name));
        Row {
            attempt,
            status,
            detail,
        }
    };
    ATTEMPTS.iter().map(row).collect()
}

fn status(
    attempt: &Attempt,
    control: &Findings,
    inside: &Findings,
    opened: Option<&String>,
) -> (Status, String) {
    // What got through did, whatever its control says.
    if let Some(Outcome::Through(words)) = inside.of(attempt.name) {
        return match opened {
            Some(why) => (Status::Open, why.clone()),
            None => (Status::NotHeld, words.clone()),
        };
    }
    let why_not = match control.of(attempt.name) {
        Some(Outcome::Through(_)) => None,
        Some(Outcome::Absent(why)) => Some(why.clone()),
        Some(Outcome::Blocked(why) | Outcome::Died(why)) => {
            Some(format!("it does not work outside either: {why}"))
        }
        Some(Outcome::Begun) | None => Some("its control said nothing".to_owned()),
    };
    if let Some(why) = why_not {
        return (Status::NotTried, why);
    }
    match inside.of(attempt.name) {
        Some(Outcome::Blocked(words)) => (Status::Held, words.clone()),
        Some(Outcome::Died(words)) if attempt.ended_by_limit => (Status::Held, words.clone()),
        Some(Outcome::Begun) if attempt.ended_by_limit => {
            (Status::Held, "the session was ended".to_owned())
        }
        Some(Outcome::Died(words)) => (Status::NotHeld, words.clone()),
        Some(Outcome::Absent(words)) => (Status::NotHeld, format!("not tried inside: {words}")),
        Some(Outcome::Begun) => (
            Status::NotHeld,
            "the attacker ended while it tried".to_owned(),
        ),
        None | Some(Outcome::Through(_)) => (
            Status::NotHeld,
            "the attacker said nothing of it".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(outcomes: &[(&str, &str)]) -> Findings {
        let line = |(name, outcome): &(&str, &str)| {
            let outcome = match *outcome {
                "begun" => r#""begun""#.to_owned(),
                other => format!(r#"{{"{other}":"{other}"}}"#),
            };
            format!("{{\"attempt\":\"{name}\",\"outcome\":{outcome}}}\n")
        };
        let text: String = outcomes.iter().map(line).collect();
        Findings::read(text.as_bytes()).unwrap()
    }

    fn judged(name: &str, control: &str, inside: Option<&str>, opened: bool) -> Status {
        let control = findings(&[(name, control)]);
        let inside: Vec<_> = inside.map(|inside| (name, inside)).into_iter().collect();
        let reason = opened.then(|| (name.to_owned(), "a rule".to_owned()));
        let rows = judge(&control, &findings(&inside), &reason.into_iter().collect());
        rows.into_iter()
            .find(|row| row.attempt.name == name)
            .unwrap()
            .status
    }

    #[test]
    fn only_a_refusal_of_what_works_outside_is_held() {
        use Status::{Held, NotHeld, NotTried, Open};
        assert_eq!(judged("bpf", "through", Some("blocked"), false), Held);
        for silent in [
            None,
            Some("begun"),
            Some("died"),
            Some("absent"),
            Some("through"),
        ] {
            assert_eq!(
                judged("bpf", "through", silent, false),
                NotHeld,
                "{silent:?}"
            );
        }
        for control in ["blocked", "absent", "died", "begun"] {
            assert_eq!(judged("bpf", control, Some("blocked"), false), NotTried);
            assert_eq!(judged("bpf", control, Some("through"), false), NotHeld);
        }
        assert_eq!(judged("metadata", "through", Some("through"), true), Open);
        assert_eq!(judged("metadata", "through", Some("blocked"), true), Held);
    }

    #[test]
    fn a_limit_may_end_what_tries_it() {
        for end in ["died", "begun", "blocked"] {
            assert_eq!(
                judged("memory-hog", "through", Some(end), false),
                Status::Held,
                "{end}"
            );
        }
        assert_eq!(
            judged("memory-hog", "through", None, false),
            Status::NotHeld
        );
        assert_eq!(
            judged("memory-hog", "through", Some("through"), false),
            Status::NotHeld
        );
    }
}
