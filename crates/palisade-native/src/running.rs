//! A boundary that is being built or stands, seen from the supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use palisade_boundary::{AgentEvent, BoundarySpec, Masker, Request, Running, StartError};
use palisade_guest::hand::Namespaces;
use palisade_guest::handover::{Message, receive};
use palisade_protocol::{EgressEndpoint, InitEvent, InitRequest};
use palisade_sys::clone::Child;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::explain::{cannot, failed_step};
use crate::freeze::{Frozen, freeze};
use crate::limits::{LimitsPlan, Watch};
use crate::masker::NativeMasker;

/// How long building may take. It takes milliseconds; a host path on a dead network file system takes for ever.
const BUILD_DEADLINE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct NativeRunning {
    pub(crate) spec: BoundarySpec,
    pub(crate) control: OwnedFd,
    pub(crate) init: Child,
    /// Where more may have to be masked.
    pub(crate) inside: Option<Namespaces>,
    pub(crate) limits: LimitsPlan,
    /// Where the limits have to be looked after from outside.
    pub(crate) watch: Option<Watch>,
    /// Where it stands still for good.
    pub(crate) frozen: Option<Frozen>,
    /// Set once the init process has been waited for.
    pub(crate) ended: bool,
    /// Set once the agent's end was told.
    pub(crate) told_the_end: bool,
}

impl Running for NativeRunning {
    fn begin(&mut self) -> io::Result<()> {
        match self.send(InitRequest::Begin) {
            // An init that failed already says why; whoever asks for the endpoint hears it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn endpoint(&mut self) -> Result<EgressEndpoint, StartError> {
        let waiting = || "build the boundary".to_owned();
        match self
            .wait_for_message()
            .map_err(|e| cannot(waiting(), e.to_string()))?
        {
            Some(Message {
                event: InitEvent::Ready,
                sockets,
                ..
            }) => Ok(EgressEndpoint::Sockets(sockets)),
            Some(Message {
                event: InitEvent::Failed { step, index, errno },
                ..
            }) => {
                self.kill();
                Err(failed_step(&self.spec, step, index, errno))
            }
            Some(_) => Err(cannot(waiting(), "init spoke out of turn".into())),
            None => Err(cannot(waiting(), self.how_init_ended())),
        }
    }

    /// Init, as the first of its process namespace, waits in its end until the kernel has ended all others
    /// (pid_namespaces(7)).
    fn process(&self) -> Option<u32> {
        Some(self.init.pid.as_raw_nonzero().get().cast_unsigned())
    }

    fn event_source(&self) -> BorrowedFd<'_> {
        self.watch
            .as_ref()
            .map_or(self.control.as_fd(), Watch::source)
    }

    fn next_event(&mut self) -> io::Result<Option<AgentEvent>> {
        if let Some(end) = self.look_after_limits() {
            return Ok(Some(end));
        }
        let message = match receive(self.control.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        };
        let Some(Message { event, .. }) = message else {
            return self.end_without_a_word().map(Some);
        };
        let event = match event {
            InitEvent::Started => AgentEvent::Started,
            InitEvent::Stopped { signal } => AgentEvent::Stopped(signal),
            InitEvent::Exited { code } => AgentEvent::Exited(code),
            InitEvent::Killed { signal } => AgentEvent::Killed(signal, self.limits.outcome()),
            InitEvent::ExecFailed { errno } => AgentEvent::ExecFailed(errno),
            InitEvent::Failed { step, index, errno } => {
                return Err(io::Error::other(failed_step(
                    &self.spec, step, index, errno,
                )));
            }
            InitEvent::Ready => return Err(io::ErrorKind::InvalidData.into()),
        };
        self.told_the_end = matches!(
            event,
            AgentEvent::Exited(_) | AgentEvent::Killed(..) | AgentEvent::ExecFailed(_)
        );
        Ok(Some(event))
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let request = match request {
            Request::Signal(signal) => InitRequest::Signal { signal },
            Request::Resume { foreground } => InitRequest::Resume { foreground },
        };
        match self.send(request) {
            // Its end is told in its own time, by the next event.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn masker(&mut self) -> io::Result<Option<Box<dyn Masker>>> {
        let Some(inside) = self.inside.take() else {
            return Ok(None);
        };
        Ok(Some(Box::new(NativeMasker::new(inside))))
    }

    fn freeze(&mut self) -> io::Result<&'static str> {
        let pid = self.init.pid.as_raw_nonzero().get().cast_unsigned();
        Ok(self.frozen.insert(freeze(pid)?).by())
    }

    fn kill(&mut self) {
        if self.ended {
            return;
        }
        // Both can only fail when it is gone already. The first process takes all others of its namespace with it, and is
        // gone only after them (pid_namespaces(7)).
        let _ = pidfd_send_signal(&self.init.pidfd, Signal::KILL);
        if let Some(frozen) = &self.frozen {
            frozen.release();
        }
        let _ = self.wait_for_init();
        self.frozen = None;
    }
}

impl Drop for NativeRunning {
    fn drop(&mut self) {
        self.kill();
    }
}

impl NativeRunning {
    /// Why init failed, if it said so already.
    pub(crate) fn failure(&self) -> Option<StartError> {
        match receive(self.control.as_fd()).ok()??.event {
            InitEvent::Failed { step, index, errno } => {
                Some(failed_step(&self.spec, step, index, errno))
            }
            _ => None,
        }
    }

    pub(crate) fn send(&self, request: InitRequest) -> io::Result<()> {
        send(&self.control, &request.encode(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Ends the session when it is time for a look and a limit was passed.
    fn look_after_limits(&mut self) -> Option<AgentEvent> {
        if self.told_the_end || !self.watch.as_ref()?.due() {
            return None;
        }
        let pid = self.init.pid.as_raw_nonzero().get().cast_unsigned();
        let exceeded = self.limits.sample(pid)?;
        self.kill();
        self.told_the_end = true;
        Some(AgentEvent::Killed(
            Signal::KILL.as_raw(),
            Some(exceeded.message),
        ))
    }

    fn wait_for_message(&self) -> io::Result<Option<Message>> {
        let deadline = Instant::now() + BUILD_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut source = [PollFd::new(&self.control, PollFlags::IN)];
            match poll(&mut source, Some(&timeout)) {
                Ok(0) => {
                    let words = format!("it did not stand after {} s", BUILD_DEADLINE.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                }
                Ok(_) => return receive(self.control.as_fd()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn wait_for_init(&mut self) -> Option<WaitIdStatus> {
        if self.ended {
            return None;
        }
        loop {
            match waitid(
                WaitId::PidFd(self.init.pidfd.as_fd()),
                WaitIdOptions::EXITED,
            ) {
                Err(Errno::INTR) => {}
                other => {
                    self.ended = true;
                    return other.ok().flatten();
                }
            }
        }
    }

    fn how_init_ended(&mut self) -> String {
        let status = self.wait_for_init();
        match status.and_then(|s| s.terminating_signal()) {
            Some(signal) => format!("init was killed from outside (signal {signal})"),
            None => "init ended without a word".into(),
        }
    }

    /// Init went without telling: whoever killed it killed the agent with it.
    fn end_without_a_word(&mut self) -> io::Result<AgentEvent> {
        if self.told_the_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = self.wait_for_init();
        self.told_the_end = true;
        match status.and_then(|s| s.terminating_signal()) {
            Some(signal) => Ok(AgentEvent::Killed(signal, self.limits.outcome())),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
