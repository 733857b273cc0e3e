//! One timer a connection, for everything it waits for.
//!
//! A timer entry for every wait would cost more than the read it guards. This one is armed when a wait really happens,
//! and not moved while progress only puts its end off: it fires early, sees that, and sleeps on.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// A timer.
#[derive(Default)]
pub(crate) struct Watch {
    sleep: Option<Pin<Box<Sleep>>>,
    /// None: no wait has happened since `begin`.
    deadline: Option<Instant>,
    progress: u64,
    limit: Duration,
}

impl Watch {
    /// Starts a wait that ends `limit` after the last progress.
    pub(crate) fn begin(&mut self) {
        self.deadline = None;
    }

    /// Ready when nothing has changed in `progress` for `limit`. Call it once all else is pending.
    pub(crate) fn poll_stalled(
        &mut self,
        cx: &mut Context<'_>,
        progress: u64,
        limit: Duration,
    ) -> Poll<()> {
        if self.progress != progress || self.limit != limit {
            self.progress = progress;
            self.limit = limit;
            self.deadline = None;
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        loop {
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // An entry that fires early is left where it is; one that is over, or would fire late, is moved.
            if sleep.deadline() > deadline || sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
        }
    }

    /// Waits for `future`, but no longer than `limit`.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut future = pin!(future);
        self.begin();
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => {
                let progress = self.progress;
                self.poll_stalled(cx, progress, limit)
                    .map(|()| Err(Elapsed))
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(test)
    }

    #[test]
    fn a_wait_ends_at_its_limit_and_the_next_one_at_its_own() {
        run(async {
            let mut watch = Watch::default();
            let long = watch.within(Duration::from_secs(60), async { 1 }).await;
            assert_eq!(long, Ok(1));
            for millis in [30, 10, 20] {
                let limit = Duration::from_millis(millis);
                let before = Instant::now();
                let result = watch.within(limit, std::future::pending::<()>()).await;
                assert_eq!(result, Err(Elapsed));
                assert!(before.elapsed() >= limit);
            }
        });
    }

    #[test]
    fn progress_puts_the_end_off() {
        run(async {
            let mut watch = Watch::default();
            let before = Instant::now();
            let step = Duration::from_millis(40);
            let ticks = async {
                for _ in 0..4 {
                    tokio::time::sleep(step / 2).await;
                }
            };
            let mut ticks = pin!(ticks);
            let mut progress = 0;
            let mut running = true;
            poll_fn(|cx| {
                if running {
                    progress = u64::try_from(before.elapsed().as_millis()).unwrap() / 20;
                    running = ticks.as_mut().poll(cx).is_pending();
                }
                watch.poll_stalled(cx, progress, step)
            })
            .await;
            assert!(
                before.elapsed() >= step * 2,
                "ended after {:?}",
                before.elapsed()
            );
        });
    }
}
