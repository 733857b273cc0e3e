//! The gate runs in one thread of its own, with a single-threaded runtime: one core, no cross-core wake-ups, and no
//! async runtime in the thread that forks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use palisade_gate::{Gate, GateConfig, Summary};
use palisade_protocol::EgressEndpoint;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

/// A gate at work. It ends when told to, or on its own when it cannot go on; then [`GateThread::ended`] turns readable.
pub(crate) struct GateThread {
    thread: JoinHandle<()>,
    served: Receiver<io::Result<Summary>>,
    stop: Option<oneshot::Sender<()>>,
    ended: OwnedFd,
}

impl GateThread {
    /// Starts a gate on this endpoint.
    pub(crate) fn start(config: GateConfig, endpoint: EgressEndpoint) -> io::Result<Self> {
        raise_descriptor_limit();
        let (stop, stopped) = oneshot::channel::<()>();
        let (result, served) = channel();
        let (ended, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new()
            .name("gate".into())
            .spawn(move || {
                // Closing this end is what the supervisor sees, however the thread ends: by return or by panic.
                let _alive = alive;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(4)
                    .build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(result.send(Err(error))),
                };
                let shutdown = async {
                    // A dropped sender means the supervisor is gone: stop as well.
                    let _ = stopped.await;
                };
                let served = runtime.block_on(Gate::new(config).serve(endpoint, shutdown));
                // Nobody waits for the rest of this thread's end, nor for a look-up that hangs in the system's resolver.
                let _ = result.send(served.map_err(io::Error::other));
                runtime.shutdown_background();
            })?;
        Ok(Self {
            thread,
            served,
            stop: Some(stop),
            ended,
        })
    }

    /// Readable once the gate has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Tells the gate to end, without waiting.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A gate that ended on its own is no longer listening, and has said why.
            let _ = stop.send(());
        }
    }

    /// Ends the gate and collects what it counted.
    pub(crate) fn finish(mut self) -> io::Result<Summary> {
        self.stop();
        self.served.recv().unwrap_or_else(|_| {
            // It says nothing only where it panicked, and then it is at its end.
            let _ = self.thread.join();
            Err(io::Error::other("the gate's thread panicked"))
        })
    }
}

/// A connection takes two descriptors, and the usual soft limit of 1024 would be reached before the gate's own limit.
/// Raised only now: the agent has started with the limit it would have had without palisade, because programs that use
/// `select(2)` break above 1024.
fn raise_descriptor_limit() {
    let own = getrlimit(Resource::Nofile);
    // A limit that cannot be raised is met later, by connections that are refused.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: own.maximum,
            maximum: own.maximum,
        },
    );
}
