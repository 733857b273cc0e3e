//! The broker: credentials are fetched when the first permitted request needs one, kept, and renewed before they end.
//!
//! ```text
//!   request ──▶ Broker::get ──▶ kept and good ──────────────────────────────▶ Carried
//!                   │  nothing yet: one flight for all who wait                  ▲
//!                   └──────▶ conversation ──▶ blocking pool │ fetch (HTTP) ──────┘
//! ```
//!
//! What holds:
//! * One flight a credential at a time, however many requests wait for it, and each wait has an end.
//! * After a failure nothing is asked for a while that grows: a wrong password is not tried into a lock-out.
//! * The agent learns the credential's name and the kind of failure. What the source said goes to the person.

mod conversation;
mod entry;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palisade_credential::{Credentials, Failure as Kind, PlaceholderScan, Placeholders, Prepared};
use palisade_policy::CredentialName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::credential::entry::{Entry, State};
use crate::http::head::Framing;
use crate::http::outgoing::Carried;
use crate::record::escape;
use crate::shared::Shared;
use crate::watch::Elapsed;

/// How long a request waits for its credential: the longest conversation, and a little. Clients give up after one to
/// ten minutes.
const WAIT: Duration = Duration::from_secs(120);
/// Sources asked at a time; others wait. Each may hold a thread that cannot be ended from outside, and the gate's look-ups
/// need threads of the same small pool.
const SOURCES_AT_ONCE: usize = 2;
/// KiB of bodies that are held at a time because they have to be signed: two of the longest, and a few.
const BODIES: u32 = 64 * 1024;
/// Places a placeholder was seen at that the person is told of. An agent can make up any number of them.
const ALERTS: usize = 32;
/// Characters of one line to the person.
const NOTICE_MAX: usize = 512;

/// Told at once what the person should know, such as a credential that cannot be fetched.
pub trait Notice: Send + Sync {
    /// One line, printable, without its end. It holds no secret.
    fn notice(&self, line: &str);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unheard;

impl Notice for Unheard {
    fn notice(&self, _: &str) {}
}

/// A credential that a request cannot have now.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    pub(crate) name: CredentialName,
    kind: &'static str,
    /// What happened, for the person.
    pub(crate) detail: Arc<str>,
}

impl Unavailable {
    fn new(name: &CredentialName, kind: &'static str, detail: &str) -> Self {
        Self {
            name: name.clone(),
            kind,
            detail: detail.into(),
        }
    }

    /// What the agent is told.
    pub(crate) fn told(&self) -> String {
        let Self { name, kind, .. } = self;
        format!(
            "the gate has no credential `{name}` to add now ({kind}); the operator has been told why"
        )
    }
}

/// All credentials of a session.
pub(crate) struct Broker {
    credentials: Credentials,
    notices: Arc<dyn Notice>,
    entries: Mutex<HashMap<CredentialName, Entry>>,
    sources: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    alerted: Mutex<HashSet<(CredentialName, String)>>,
}

/// Room that a body takes in memory; given back when it is dropped.
pub(crate) struct BodyRoom(OwnedSemaphorePermit);

impl BodyRoom {
    /// Gives back what a body of this length does not need.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let spare = self.0.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.0.split(spare));
    }
}

/// So many KiB, and no more than there are.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1)
        .unwrap_or(BODIES)
        .min(BODIES)
}

impl Broker {
    pub(crate) fn new(credentials: Credentials, notices: Arc<dyn Notice>) -> Self {
        Self {
            credentials,
            notices,
            entries: Mutex::default(),
            sources: Arc::new(Semaphore::new(SOURCES_AT_ONCE)),
            bodies: Arc::new(Semaphore::new(BODIES as usize)),
            alerted: Mutex::default(),
        }
    }

    /// What the agent holds in place of secrets.
    pub(crate) fn placeholders(&self) -> &Arc<Placeholders> {
        self.credentials.placeholders()
    }

    /// Waits until a body of this framing and of at most `max` bytes can be held, but no longer than `limit`.
    pub(crate) async fn body_room(
        &self,
        framing: Framing,
        max: usize,
        limit: Duration,
    ) -> Result<BodyRoom, Elapsed> {
        let bytes = match framing {
            Framing::None => 0,
            Framing::Length(length) => {
                usize::try_from(length).map_or(max, |length| length.min(max))
            }
            Framing::Chunked | Framing::UntilEnd => max,
        };
        let room = Arc::clone(&self.bodies).acquire_many_owned(kib(bytes));
        match timeout(limit, room).await {
            Ok(Ok(room)) => Ok(BodyRoom(room)),
            _ => Err(Elapsed),
        }
    }

    /// A placeholder was seen where it is not bound to: a strong sign that the agent was talked into something.
    pub(crate) fn alert(&self, name: &CredentialName, host: &str) {
        let mut alerted = self.alerted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = alerted.len() < ALERTS && alerted.insert((name.clone(), host.to_owned()));
        drop(alerted);
        if is_new {
            self.tell(&format!(
                "refused: the agent sent the placeholder of credential {name} to {host}, where it is not bound to"
            ));
        }
    }

    /// What looks through the body of a request, if there is anything to look for.
    pub(crate) fn body_scan(&self, carried: Option<&Carried>) -> Option<PlaceholderScan> {
        let own = carried.map(|carried| &carried.name).filter(|name| {
            let definition = self.credentials.get(name);
            definition.is_some_and(|definition| definition.quotable)
        });
        let placeholders = self.placeholders();
        (!placeholders.is_empty()).then(|| placeholders.scan_other(own.cloned()))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CredentialName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credential, if there is nothing to do for it.
    fn ready(&self, name: &CredentialName) -> Option<Arc<Prepared>> {
        self.entries().get(name)?.ready(Instant::now())
    }

    fn state(&self, name: &CredentialName) -> State {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(name) {
            return entry.state(Instant::now());
        }
        let entry = entries.entry(name.clone()).or_default();
        entry.state(Instant::now())
    }

    fn landed(
        &self,
        name: &CredentialName,
        outcome: Result<(Arc<Prepared>, Option<Duration>), Unavailable>,
    ) {
        let mut pause = None;
        let failed = outcome.as_ref().err().cloned();
        if let Some(entry) = self.entries().get_mut(name) {
            pause = entry.landed(outcome, Instant::now());
        }
        if let Some(failed) = failed {
            let pause = pause.unwrap_or_default().as_secs();
            let detail = &failed.detail;
            self.tell(&format!(
                "{detail}; asked again after {pause} s at the earliest"
            ));
        }
    }

    fn tell(&self, line: &str) {
        self.notices.notice(&escape(line.as_bytes(), NOTICE_MAX));
    }
}

/// The credential, from what is kept or from its source.
pub(crate) async fn get(
    shared: &Arc<Shared>,
    name: &CredentialName,
) -> Result<Carried, Unavailable> {
    let carried = |prepared| Carried {
        name: name.clone(),
        prepared,
    };
    // The usual case needs no timer.
    if let Some(prepared) = shared.broker.ready(name) {
        return Ok(carried(prepared));
    }
    let wait = async {
        loop {
            let mut flight = match shared.broker.state(name) {
                State::Ready(prepared) => return Ok(carried(prepared)),
                State::Renew(prepared, landing) => {
                    start(shared, name, landing);
                    return Ok(carried(prepared));
                }
                State::Failed(unavailable) => return Err(unavailable),
                State::Wait(flight) => flight,
                State::Start(landing) => {
                    let flight = landing.subscribe();
                    start(shared, name, landing);
                    flight
                }
            };
            // An end of the flight without a word is seen by the next look at the state.
            let _ = flight.changed().await;
        }
    };
    let waited = timeout(WAIT, wait).await;
    waited.unwrap_or_else(|_| {
        let detail = format!("credential {name}: its source has not answered yet");
        Err(Unavailable::new(name, Kind::TimedOut.as_str(), &detail))
    })
}

/// Begins a flight; those who wait see it end when `landing` is dropped.
fn start(shared: &Arc<Shared>, name: &CredentialName, landing: watch::Sender<()>) {
    let (shared, name) = (Arc::clone(shared), name.clone());
    tokio::spawn(async move {
        let outcome = fetch(&shared, &name).await;
        shared.broker.landed(&name, outcome);
        drop(landing);
    });
}

async fn fetch(
    shared: &Shared,
    name: &CredentialName,
) -> Result<(Arc<Prepared>, Option<Duration>), Unavailable> {
    let credentials = &shared.broker.credentials;
    let (Some(definition), Some(fetch)) = (credentials.get(name), credentials.begin(name)) else {
        let detail = format!("credential {name}: it is not defined");
        return Err(Unavailable::new(name, Kind::Missing.as_str(), &detail));
    };
    let asked = Instant::now();
    let material = conversation::run(shared, &shared.broker.sources, fetch)
        .await
        .map_err(|error| Unavailable::new(name, error.failure().as_str(), &error.to_string()))?;
    // Counted from before the source was asked: it may have counted from any moment since.
    let good_for = material.good_for();
    let good_for = good_for.map(|good_for| good_for.saturating_sub(asked.elapsed()));
    let prepared = Prepared::new(definition, material).map_err(|error| {
        let detail = format!("credential {name}: {error}");
        Unavailable::new(name, Kind::Malformed.as_str(), &detail)
    })?;
    Ok((Arc::new(prepared), good_for))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_bodies_that_are_held_are_bounded() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(async {
            let broker = Broker::new(Credentials::none(), Arc::new(Unheard));
            let max = 25 << 20;
            let moment = Duration::from_millis(20);
            let room = |framing| broker.body_room(framing, max, moment);
            let mut first = room(Framing::Chunked).await.unwrap();
            let second = room(Framing::Length(u64::MAX)).await.unwrap();
            assert!(
                room(Framing::Chunked).await.is_err(),
                "a third of unknown length"
            );
            let small = room(Framing::Length(1000)).await.unwrap();
            first.shrink(1000);
            let third = room(Framing::Chunked).await.unwrap();
            drop((first, second, small, third));
            assert_eq!(broker.bodies.available_permits(), BODIES as usize);
        });
    }

    #[test]
    fn a01_what_the_person_is_told_is_one_printable_line() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<String>>);
        impl Notice for Heard {
            fn notice(&self, line: &str) {
                self.0.lock().unwrap().push(line.to_owned());
            }
        }
        let heard = Arc::new(Heard::default());
        let broker = Broker::new(Credentials::none(), Arc::clone(&heard) as Arc<dyn Notice>);
        let name = CredentialName::new("a").unwrap();
        for n in 0..2 * ALERTS {
            broker.alert(&name, &format!("host\r\n\x1b[31m{n}"));
            broker.alert(&name, &format!("host\r\n\x1b[31m{n}"));
        }
        let lines = heard.0.lock().unwrap();
        assert_eq!(lines.len(), ALERTS);
        let printable = |line: &String| line.bytes().all(|b| (b' '..=b'~').contains(&b));
        assert!(lines.iter().all(printable), "{lines:?}");
    }
}
