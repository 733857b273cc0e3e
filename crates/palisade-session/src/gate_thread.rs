//! The gate runs in one thread of its own, with a single-threaded runtime: one core, no cross-core wake-ups, and no
//! async runtime in the thread that forks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use palisade_gate::{Gate, GateConfig, Summary};
use palisade_protocol::EgressEndpoint;
use tokio::sync::oneshot;

/// A gate at work. It ends when told to, or on its own when it cannot go on; then [`GateThread::ended`] turns readable.
pub(crate) struct GateThread {
    thread: JoinHandle<io::Result<Summary>>,
    stop: oneshot::Sender<()>,
    ended: OwnedFd,
}

impl GateThread {
    /// Starts a gate on this endpoint.
    pub(crate) fn start(config: GateConfig, endpoint: EgressEndpoint) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ended, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new()
            .name("gate".into())
            .spawn(move || {
                // Closing this end is what the supervisor sees, however the thread ends: by return or by panic.
                let _alive = alive;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(4)
                    .build()?;
                let shutdown = async {
                    // A dropped sender means the supervisor is gone: stop as well.
                    let _ = stopped.await;
                };
                runtime
                    .block_on(Gate::new(config).serve(endpoint, shutdown))
                    .map_err(io::Error::other)
            })?;
        Ok(Self {
            thread,
            stop,
            ended,
        })
    }

    /// Readable once the gate has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Ends the gate and collects what it counted.
    pub(crate) fn finish(self) -> io::Result<Summary> {
        // A gate that ended on its own is no longer listening, which the join below reports.
        let _ = self.stop.send(());
        self.thread
            .join()
            .map_err(|_| io::Error::other("the gate's thread panicked"))?
    }
}
