//! What is known of one credential: kept, on its way, or failed. No clock and no I/O of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_credential::Prepared;
use tokio::sync::watch;

use crate::credential::Unavailable;

/// Pauses after failures in a row; the last one repeats. Four attempts in the first quarter of an hour and one in each
/// that follows stay below the five failed logins after which common directories lock an account.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(240),
    Duration::from_secs(900),
];
/// A credential is renewed this long before it ends, or a fifth of its life if that is less.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// It is not used any more this long before it ends, or a twentieth of its life: a request takes a moment to arrive,
/// and clocks differ.
const END_BEFORE: Duration = Duration::from_secs(5);

/// What is fetched is good for this long at least: a source that is slower than what it yields lives would be asked without
/// an end.
const LEAST: Duration = Duration::from_secs(2);

/// One credential.
#[derive(Default)]
pub(super) struct Entry {
    kept: Option<Kept>,
    flight: Option<watch::Receiver<()>>,
    failures: usize,
    failed: Option<(Unavailable, Instant)>,
}

struct Kept {
    prepared: Arc<Prepared>,
    renew: Option<Instant>,
    end: Option<Instant>,
}

/// What a request that needs the credential has to do.
pub(super) enum State {
    Ready(Arc<Prepared>),
    /// Use it, and begin a flight for those to come.
    Renew(Arc<Prepared>, watch::Sender<()>),
    /// Begin a flight and wait for it.
    Start(watch::Sender<()>),
    Wait(watch::Receiver<()>),
    Failed(Unavailable),
}

impl Entry {
    /// What is kept, if it needs no renewal yet.
    pub(super) fn ready(&self, now: Instant) -> Option<Arc<Prepared>> {
        let kept = self.kept.as_ref()?;
        let fresh = kept.renew.is_none_or(|renew| now < renew);
        fresh.then(|| Arc::clone(&kept.prepared))
    }

    pub(super) fn state(&mut self, now: Instant) -> State {
        // A flight whose sender is gone ended without landing.
        self.flight = self
            .flight
            .take()
            .filter(|flight| flight.has_changed().is_ok());
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.kept = self.kept.take().filter(|kept| !is_over(kept.end));
        let paused = self.failed.as_ref().filter(|(_, until)| *until > now);
        if let Some(kept) = &self.kept {
            let prepared = Arc::clone(&kept.prepared);
            if is_over(kept.renew) && paused.is_none() && self.flight.is_none() {
                return State::Renew(prepared, self.fly());
            }
            return State::Ready(prepared);
        }
        if let Some(flight) = &self.flight {
            return State::Wait(flight.clone());
        }
        match paused {
            Some((unavailable, _)) => State::Failed(unavailable.clone()),
            None => State::Start(self.fly()),
        }
    }

    /// A flight has ended. After a failure: how long nothing will be asked.
    pub(super) fn landed(
        &mut self,
        outcome: Result<(Arc<Prepared>, Option<Duration>), Unavailable>,
        now: Instant,
    ) -> Option<Duration> {
        self.flight = None;
        match outcome {
            Ok((prepared, good_for)) => {
                let before = |margin: Duration, part: u32| {
                    let good_for = good_for?.max(LEAST);
                    now.checked_add(good_for - margin.min(good_for / part))
                };
                self.kept = Some(Kept {
                    prepared,
                    renew: before(RENEW_BEFORE, 5),
                    end: before(END_BEFORE, 20),
                });
                self.failures = 0;
                self.failed = None;
                None
            }
            Err(unavailable) => {
                let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
                self.failures += 1;
                self.failed = Some((unavailable, now + pause));
                Some(pause)
            }
        }
    }

    fn fly(&mut self) -> watch::Sender<()> {
        let (landing, flight) = watch::channel(());
        self.flight = Some(flight);
        landing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use palisade_credential::{
        Definition, HeaderFormat, Injection, Material, Part, Secret, Source,
    };
    use palisade_policy::CredentialName;

    use super::*;

    fn prepared() -> Arc<Prepared> {
        let definition = Definition {
            name: CredentialName::new("a").unwrap(),
            source: Source::Environment(BTreeMap::new()),
            injection: Injection::Header {
                name: "authorization".into(),
                format: HeaderFormat::bare(),
                remove: Vec::new(),
                append: BTreeMap::new(),
            },
            ttl: None,
            placeholders: BTreeMap::new(),
            quotable: false,
        };
        let Ok(secret) = Secret::new(b"a-secret-of-some-length".to_vec()) else {
            panic!("a good secret");
        };
        let material = Material::new(BTreeMap::from([(Part::Value, secret)]), None);
        match Prepared::new(&definition, material) {
            Ok(prepared) => Arc::new(prepared),
            Err(error) => panic!("{error}"),
        }
    }

    fn refused() -> Unavailable {
        Unavailable::new(&CredentialName::new("a").unwrap(), "refused", "no")
    }

    fn name(state: &State) -> &'static str {
        match state {
            State::Ready(_) => "ready",
            State::Renew(..) => "renew",
            State::Start(_) => "start",
            State::Wait(_) => "wait",
            State::Failed(_) => "failed",
        }
    }

    #[test]
    fn one_flight_at_a_time() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let State::Start(landing) = entry.state(now) else {
            panic!("a first request begins a flight");
        };
        assert_eq!(name(&entry.state(now)), "wait");
        entry.landed(Ok((prepared(), None)), now);
        drop(landing);
        let later = now + Duration::from_secs(1_000_000);
        assert_eq!(name(&entry.state(later)), "ready");
    }

    #[test]
    fn a_flight_that_dies_is_begun_again() {
        let mut entry = Entry::default();
        let now = Instant::now();
        drop(entry.state(now));
        assert_eq!(name(&entry.state(now)), "start");
    }

    #[test]
    fn renewed_before_it_ends_and_not_used_after() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let _landing = entry.state(now);
        entry.landed(Ok((prepared(), Some(Duration::from_secs(3600)))), now);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(name(&entry.state(at(3530))), "ready");
        let renewal = entry.state(at(3541));
        assert_eq!(name(&renewal), "renew");
        assert_eq!(
            name(&entry.state(at(3542))),
            "ready",
            "one renewal at a time"
        );
        entry.landed(Err(refused()), at(3543));
        assert_eq!(name(&entry.state(at(3544))), "ready", "good until its end");
        assert_eq!(
            name(&entry.state(at(3557))),
            "ready",
            "no second try at once"
        );
        assert_eq!(name(&entry.state(at(3596))), "start");
    }

    #[test]
    fn short_lives_are_divided() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let _landing = entry.state(now);
        entry.landed(Ok((prepared(), Some(Duration::from_secs(10)))), now);
        let at = |millis| now + Duration::from_millis(millis);
        assert_eq!(name(&entry.state(at(7900))), "ready");
        assert_eq!(name(&entry.state(at(8100))), "renew");
        assert_eq!(name(&entry.state(at(9600))), "start");
    }

    #[test]
    fn what_ends_before_it_arrives_is_used_all_the_same() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let _landing = entry.state(now);
        entry.landed(Ok((prepared(), Some(Duration::ZERO))), now);
        assert_eq!(name(&entry.state(now)), "ready");
        let later = now + Duration::from_secs(3);
        assert_eq!(name(&entry.state(later)), "start");
    }

    #[test]
    fn nothing_is_tried_into_a_lock_out() {
        let mut entry = Entry::default();
        let start = Instant::now();
        let mut attempts = Vec::new();
        // An agent that tries again every second, for an hour.
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            if let State::Start(_) = entry.state(now) {
                attempts.push(second);
                entry.landed(Err(refused()), now);
            }
        }
        assert_eq!(attempts, [0, 15, 75, 315, 1215, 2115, 3015]);
        let State::Start(_) = entry.state(start + Duration::from_secs(4000)) else {
            panic!("asked again in the end");
        };
        let now = start + Duration::from_secs(4000);
        entry.landed(Ok((prepared(), None)), now);
        assert_eq!(name(&entry.state(now)), "ready");
    }
}
