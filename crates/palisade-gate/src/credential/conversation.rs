//! Carries out the steps of one conversation with a source: the blocking ones on the blocking pool, requests by
//! [`crate::fetch`].

use std::sync::Arc;
use std::time::Duration;

use palisade_credential::{Answer, Fetch, Material, SourceError, Step};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::fetch;
use crate::shared::Shared;

/// One step on the blocking pool. A person may have to unlock a keyring or to touch a key for it, for which the source
/// itself gives a minute.
const BLOCKING_TIME: Duration = Duration::from_secs(65);
/// The wait for a turn.
const TURN_TIME: Duration = Duration::from_secs(30);

/// Runs a conversation to its end. It ends: a source has a handful of steps, and each of them a limit.
pub(super) async fn run(
    shared: &Shared,
    sources: &Arc<Semaphore>,
    mut fetch: Fetch,
) -> Result<Material, SourceError> {
    let mut answer = None;
    loop {
        answer = Some(match fetch.next(answer)? {
            Step::Done(material) => return Ok(material),
            Step::Http(ask) => fetch::ask(shared, ask).await,
            Step::Blocking(step) => blocking(sources, step).await,
        });
    }
}

async fn blocking(sources: &Arc<Semaphore>, step: Box<dyn FnOnce() -> Answer + Send>) -> Answer {
    // The slot goes into the thread: a step that outlives its time still counts until it ends.
    let turn = timeout(TURN_TIME, Arc::clone(sources).acquire_owned()).await;
    let Ok(Ok(slot)) = turn else {
        return Answer::Failed("ask the source: earlier ones have not ended yet".into());
    };
    let task = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        step()
    });
    match timeout(BLOCKING_TIME, task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer::Failed("ask the source: it ended unexpectedly".into()),
        Err(_) => Answer::Failed("ask the source: no answer in time".into()),
    }
}
