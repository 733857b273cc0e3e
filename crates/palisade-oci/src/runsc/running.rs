//! A sandbox that is being made or runs, seen from the supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::Duration;

use palisade_boundary::{AgentEvent, BoundarySpec, Masker, Request, Running, StartError};
use palisade_guest::hand::Namespaces;
use palisade_guest::handover::{Message, receive};
use palisade_protocol::{EgressEndpoint, InitEvent, InitRequest};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send, sockopt};

use super::family::Family;
use super::masker::{self, GvisorMasker};
use super::place::{self, Place, Sockets};
use super::rootless;
use super::streams::Streams;
use crate::counters::Counters;
use crate::engine::cannot;
use crate::running::{agent_event, descriptor, failed_step, is_end, wait};
use crate::vanished;

/// How long a sandbox may take to start. It takes a tenth of a second; on a busy machine many times that.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long the guest may take once it has called.
const BUILD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a sandbox may take to end whose guest has gone, before it is ended.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What a sandbox is made of.
pub(super) struct Parts {
    pub(super) runsc: PathBuf,
    /// `runsc run`, which lives as long as the sandbox does.
    pub(super) client: Child,
    pub(super) place: Place,
    pub(super) sockets: Sockets,
    pub(super) streams: Streams,
    pub(super) spec: BoundarySpec,
    /// What the sandbox masks, as it was.
    pub(super) masked: Vec<vanished::Place>,
}

/// See the module.
pub(super) struct GvisorRunning {
    parts: Parts,
    /// The program's descriptor: readable once it has ended.
    client: OwnedFd,
    /// The connection to the guest.
    control: Option<OwnedFd>,
    /// Of the control group around the sandbox.
    counters: Counters,
    /// Whether the agent may start as soon as the boundary stands.
    begin: bool,
    told_the_end: bool,
    /// Whether everything inside was stopped, for good.
    frozen: bool,
    ended: bool,
    /// Where more may have to be masked.
    inside: Option<Namespaces>,
    /// Removes what others left over, meanwhile.
    stale: Option<JoinHandle<()>>,
}

impl GvisorRunning {
    pub(super) fn new(mut parts: Parts) -> Result<Self, StartError> {
        let client = descriptor(&parts.client).map_err(|error| {
            let _ = parts.client.kill();
            let _ = parts.client.wait();
            cannot("watch the sandbox".into(), error.to_string())
        })?;
        Ok(Self {
            parts,
            client,
            control: None,
            counters: Counters::default(),
            begin: false,
            told_the_end: false,
            frozen: false,
            ended: false,
            inside: None,
            stale: None,
        })
    }

    /// Waits for the guest's call, or for the end of the program, which has said on our standard error what is wrong.
    fn wait_for_guest(&self) -> Result<OwnedFd, StartError> {
        let failed = |cause: String| cannot("start the sandbox".into(), cause);
        let listener = &self.parts.sockets.control;
        match wait(&[listener, &self.client], START_DEADLINE) {
            Ok(Some(0)) => {
                accept_with(listener, SocketFlags::CLOEXEC).map_err(|e| failed(e.to_string()))
            }
            Ok(Some(_)) => Err(failed(
                "runsc gave up, for the reason it names above".into(),
            )),
            Ok(None) => {
                let seconds = START_DEADLINE.as_secs();
                Err(failed(format!("nothing was heard of it for {seconds} s")))
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn wait_until_ready(&self, control: &OwnedFd) -> Result<(), StartError> {
        let failed = |cause: String| cannot("build the boundary".into(), cause);
        if wait(&[control], BUILD_DEADLINE)
            .map_err(|e| failed(e.to_string()))?
            .is_none()
        {
            let seconds = BUILD_DEADLINE.as_secs();
            return Err(failed(format!("it did not stand after {seconds} s")));
        }
        let message = receive(control.as_fd()).map_err(|e| failed(e.to_string()))?;
        match message.map(|Message { event, .. }| event) {
            Some(InitEvent::Ready) => Ok(()),
            Some(InitEvent::Failed { step, index, errno }) => {
                Err(failed_step(&self.parts.spec, step, index, errno))
            }
            Some(_) => Err(failed("the guest spoke out of turn".into())),
            None => Err(failed("the guest ended without a word".into())),
        }
    }

    fn send(&self, request: InitRequest) -> io::Result<()> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        match send(control, &request.encode(), SendFlags::NOSIGNAL) {
            // Its end is told in its own time, by the next event.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    fn wait_for_end(&mut self) -> bool {
        let ended = matches!(wait(&[&self.client], END_DEADLINE), Ok(Some(_)));
        ended && self.parts.client.wait().is_ok()
    }
}

impl Running for GvisorRunning {
    fn begin(&mut self) -> io::Result<()> {
        self.begin = true;
        self.send(InitRequest::Begin)
    }

    fn endpoint(&mut self) -> Result<EgressEndpoint, StartError> {
        let control = self.wait_for_guest()?;
        // Nobody else will ever call.
        let closed = self.parts.place.close();
        closed.map_err(|e| cannot("close the session's socket".into(), e.to_string()))?;
        vanished::check(&self.parts.masked)?;
        self.wait_until_ready(&control)?;
        // Who called for the guest is the gofer, which is in the group, too, and opens files by its own mounts.
        if let Ok(gofer) = sockopt::socket_peercred(&control) {
            let pid = gofer.pid.as_raw_nonzero().get().cast_unsigned();
            if rustix::process::geteuid().is_root() {
                self.counters = Counters::of(pid, self.parts.spec.limits);
            }
            let own = self.parts.place.folder().empty(false);
            let inside = masker::mounts_of(pid, &own);
            self.inside = Some(
                inside.map_err(|e| cannot("find the sandbox's mounts".into(), e.to_string()))?,
            );
        }
        self.control = Some(control);
        if self.begin {
            self.send(InitRequest::Begin)
                .map_err(|e| cannot("start the agent".into(), e.to_string()))?;
        }
        let (runsc, base) = (self.parts.runsc.clone(), self.parts.place.base());
        let stale = std::thread::Builder::new().spawn(move || place::remove_stale(&runsc, &base));
        self.stale = stale.ok();
        let gate = self.parts.sockets.gate.take();
        gate.map(EgressEndpoint::Relay)
            .ok_or_else(|| cannot("reach the gate".into(), "it was asked for twice".into()))
    }

    /// `runsc run`: the sandbox ends with it, by the kernel's hand (`PR_SET_PDEATHSIG`), and it waits for the sandbox's end.
    fn process(&self) -> Option<u32> {
        Some(self.parts.client.id())
    }

    fn event_source(&self) -> BorrowedFd<'_> {
        self.control.as_ref().unwrap_or(&self.client).as_fd()
    }

    fn next_event(&mut self) -> io::Result<Option<AgentEvent>> {
        let Some(control) = &self.control else {
            return Ok(None);
        };
        let message = match receive(control.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        };
        if message.is_none() && self.told_the_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut event = agent_event(message.map(|m| m.event), &self.parts.spec)?;
        if let AgentEvent::Killed(_, limit) = &mut event {
            *limit = self.counters.outcome();
        }
        self.told_the_end = is_end(&event);
        Ok(Some(event))
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        self.send(match request {
            Request::Signal(signal) => InitRequest::Signal { signal },
            Request::Resume { foreground } => InitRequest::Resume { foreground },
        })
    }

    fn masker(&mut self) -> io::Result<Option<Box<dyn Masker>>> {
        let Some(inside) = self.inside.take() else {
            return Ok(None);
        };
        Ok(Some(Box::new(GvisorMasker::start(&inside)?)))
    }

    fn freeze(&mut self) -> io::Result<&'static str> {
        let (place, runsc) = (&self.parts.place, &self.parts.runsc);
        if rustix::process::geteuid().is_root() {
            place::pause(runsc, &place.state(), &place.name())?;
        } else {
            rootless::tell(self.parts.client.id(), &place::pausing(runsc, place))?;
        }
        self.frozen = true;
        Ok("gVisor")
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // The guest ends with its connection. One that has not called yet does not know, and is not waited for.
        let hears = self.control.take().is_some() && !self.frozen;
        let family = if !hears || !self.wait_for_end() {
            let family = Family::of(self.parts.client.id());
            let _ = self.parts.client.kill();
            let _ = self.parts.client.wait();
            Some(family)
        } else {
            None
        };
        let place = &self.parts.place;
        place::end(&self.parts.runsc, &place.state(), &place.name());
        if let Some(family) = family {
            family.wait(END_DEADLINE);
        }
        self.parts.streams.finish();
        if let Some(stale) = self.stale.take() {
            let _ = stale.join();
        }
    }
}

impl Drop for GvisorRunning {
    fn drop(&mut self) {
        self.kill();
    }
}
