//! A container that is being made or runs, seen from the supervisor.

mod ending;
mod told;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use palisade_boundary::{AgentEvent, Masker, Request, Running, StartError};
use palisade_guest::hand::Namespaces;
use palisade_guest::handover::{Message, receive};
use palisade_protocol::{EgressEndpoint, InitEvent, InitRequest, SetupStep};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send, sockopt};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

pub(crate) use self::told::{agent_event, failed_step, is_end};
use crate::api::Api;
use crate::backend::{half_of_memory, window};
use crate::counters::Counters;
use crate::engine::{Engine, cannot};
use crate::flags::{StartedBy, Wanted};
use crate::folder::SessionFolder;
use crate::masker::{ContainerMasker, Early, HandContainer, enter};
use crate::settings::Settings;
use crate::sweep::sweep;
use crate::tree::{Mount, Reach};
use crate::vanished::Place;
use crate::{below, inspect, late, launch, podman, remap, sandboxed, stale, vanished};

/// How long an engine may take to start a container. It takes a quarter of a second; on a busy machine many times that.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long the guest may take once it has called.
const BUILD_DEADLINE: Duration = Duration::from_secs(10);
/// How long the engine may take to end and remove a container whose guest has gone, before it is told to.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// How long whoever reads the agent's output may take for what is left of it. A pager that nobody scrolls holds it back as it
/// would hold back a plain command, but an engine that hangs is not waited for until the end of days.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(3600);

/// What a container is made of.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    /// Where it is asked, where that is known.
    pub(crate) api: Option<Api>,
    /// The engine's name for it.
    pub(crate) container: String,
    pub(crate) starter: Starter,
    pub(crate) folder: SessionFolder,
    /// Where the guest calls.
    pub(crate) listener: OwnedFd,
    /// Where its connections come, if they are relayed.
    pub(crate) gate: Option<OwnedFd>,
    pub(crate) settings: Settings,
    pub(crate) wanted: Wanted,
    /// What palisade's own hand lays before the agent starts, and what it may do.
    pub(crate) late: Vec<Mount>,
    pub(crate) reach: Reach,
    /// What the engine masks, as it was.
    pub(crate) masked: Vec<Place>,
}

/// Who has the engine start the container.
pub(crate) enum Starter {
    /// We do: the engine's program, attached to our streams.
    Ours(Child),
    /// Somebody else, who is told of it once all is there. The streams are theirs, too.
    Others(Option<Tell>),
}

/// Says that the container can be started.
pub(crate) type Tell = Box<dyn FnOnce() -> io::Result<()>>;

/// See the module.
pub(crate) struct ContainerRunning {
    parts: Parts,
    /// Readable once the engine's program has ended. Of a container that somebody else starts, once the guest has.
    life: Option<OwnedFd>,
    /// The connection to the guest.
    control: Option<OwnedFd>,
    /// Whether the agent may start as soon as all is known to be right.
    begin: bool,
    /// Whether all is known to be right.
    stands: bool,
    /// Whether the engine has stopped everything inside, for good.
    frozen: bool,
    told_the_end: bool,
    counters: Counters,
    /// The process that is the sandbox, where it is one.
    sandbox: Option<u32>,
    ended: bool,
    /// Where more may have to be masked.
    inside: Option<Namespaces>,
    /// Who has been there already.
    hand: Option<Early>,
    /// Removes what others left over, meanwhile.
    stale: Option<JoinHandle<()>>,
}

impl ContainerRunning {
    pub(crate) fn new(parts: Parts) -> Result<Self, StartError> {
        let life = match &parts.starter {
            Starter::Ours(client) => Some(descriptor(client).map_err(not_watched)?),
            Starter::Others(_) => None,
        };
        Ok(Self {
            parts,
            life,
            control: None,
            begin: false,
            stands: false,
            frozen: false,
            told_the_end: false,
            counters: Counters::default(),
            sandbox: None,
            ended: false,
            inside: None,
            hand: None,
            stale: None,
        })
    }

    /// Waits for the guest's call, or for the end of the client, which has said on our standard error what is wrong.
    fn wait_for_guest(&mut self) -> Result<OwnedFd, StartError> {
        let what = "start the container";
        let failed = |cause: String| cannot(what.to_owned(), cause);
        let listener = &self.parts.listener;
        let sources: Vec<&OwnedFd> = [listener].into_iter().chain(&self.life).collect();
        let ready = wait(&sources, START_DEADLINE).map_err(|e| failed(e.to_string()))?;
        match ready {
            Some(0) => {
                accept_with(listener, SocketFlags::CLOEXEC).map_err(|e| failed(e.to_string()))
            }
            Some(_) => {
                let error = launch::why_not(self.parts.engine, &self.parts.wanted);
                Err(match &self.parts.settings {
                    settings if settings.sandboxed => sandboxed::why_not(settings, error),
                    _ => error,
                })
            }
            None => {
                let engine = self.parts.engine;
                Err(engine.silent(what, START_DEADLINE))
            }
        }
    }

    fn wait_for_sockets(&mut self, control: &OwnedFd) -> Result<EgressEndpoint, StartError> {
        let what = "build the boundary";
        let failed = |cause: String| cannot(what.to_owned(), cause);
        let ready = wait(&[control], BUILD_DEADLINE).map_err(|e| failed(e.to_string()))?;
        if ready.is_none() {
            let seconds = BUILD_DEADLINE.as_secs();
            return Err(failed(format!("it did not stand after {seconds} s")));
        }
        match receive(control.as_fd()).map_err(|e| failed(e.to_string()))? {
            Some(Message {
                event: InitEvent::Ready,
                sockets,
                namespaces,
            }) => {
                self.inside = namespaces;
                Ok(match self.parts.gate.take() {
                    Some(gate) => EgressEndpoint::Relay(gate),
                    None => EgressEndpoint::Sockets(sockets),
                })
            }
            Some(Message {
                event: InitEvent::Failed { step, index, errno },
                ..
            }) => Err(match &self.parts.settings {
                settings if settings.sandboxed && step == SetupStep::Capture => {
                    sandboxed::no_filter(settings)
                }
                _ => self.failed_step(step, index, errno),
            }),
            Some(_) => Err(failed("the guest spoke out of turn".into())),
            None => Err(failed("the guest ended without a word".into())),
        }
    }

    /// Compares what the engine made with what it was told to.
    fn check(&mut self, control: &OwnedFd) -> Result<(), StartError> {
        let wanted = &self.parts.wanted;
        let account = self.account()?;
        inspect::check(&account, wanted)?;
        if wanted.by == StartedBy::Compose {
            for (number, (_, options)) in wanted.overlays().enumerate() {
                let name = podman::volume_name(&wanted.session, number);
                podman::check_volume(wanted.engine, &name, &options)?;
            }
        }
        let guest = caller(control).map_err(not_found)?;
        below::check(guest, wanted)?;
        if wanted.sandboxed {
            self.sandbox = inspect::first_process_of(&account);
            return Ok(());
        }
        remap::check(guest, &wanted.spec.identity)?;
        if wanted.by == StartedBy::Palisade {
            return Ok(());
        }
        // Who called may be another container than the one that was looked at.
        inspect::is_process(&account, guest)
    }

    fn account(&self) -> Result<Vec<u8>, StartError> {
        let Parts {
            engine,
            api,
            wanted,
            ..
        } = &self.parts;
        launch::account(*engine, api.as_ref(), &wanted.session)
    }

    /// A container that somebody else started is known by its guest.
    fn look_after(&mut self, control: &OwnedFd) -> Result<(), StartError> {
        if let Starter::Others(_) = self.parts.starter {
            let opened = caller(control).and_then(opened);
            self.life = Some(opened.map_err(not_watched)?);
        }
        Ok(())
    }

    /// What the engine cannot mount, and masks, where the hand is at hand.
    fn lay_late(&mut self) -> Result<(), StartError> {
        let late = std::mem::take(&mut self.parts.late);
        let Some(inside) = self.inside.take_if(|_| !late.is_empty()) else {
            return match late.first() {
                None => Ok(()),
                Some(first) => Err(cannot(
                    format!("show {} inside", first.target.display()),
                    "the guest handed no namespaces out".into(),
                )),
            };
        };
        let failed = |e: io::Error| cannot("enter the container's mounts".into(), e.to_string());
        let early = match self.parts.reach {
            Reach::Engine => self
                .hand_container(true)
                .start(inside)
                .map(Early::Container),
            Reach::Inside | Reach::Host => enter(&inside).map(Early::Process),
        };
        let early = early.map_err(failed)?;
        let hand = early.hand().map_err(failed)?;
        let Parts { wanted, folder, .. } = &self.parts;
        let (spec, memory) = (&wanted.spec, half_of_memory());
        match self.parts.reach {
            Reach::Host => late::lay(
                hand,
                &late,
                spec,
                folder,
                memory,
                self.parts.settings.keeps_owners,
            )?,
            _ => late::lay_inside(hand, &late, wanted, memory)?,
        }
        self.hand = Some(early);
        Ok(())
    }

    fn hand_container(&self, keeps_apart: bool) -> HandContainer {
        let Parts {
            engine,
            folder,
            wanted,
            ..
        } = &self.parts;
        HandContainer::new(*engine, folder, &wanted.guest, &wanted.image, keeps_apart)
    }

    fn failed_step(&self, step: SetupStep, index: u32, errno: i32) -> StartError {
        failed_step(&self.parts.wanted.spec, step, index, errno)
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

    fn begin_if_all_is_well(&self) -> io::Result<()> {
        if self.begin && self.stands {
            self.send(InitRequest::Begin)?;
        }
        Ok(())
    }
}

impl Running for ContainerRunning {
    fn begin(&mut self) -> io::Result<()> {
        self.begin = true;
        self.begin_if_all_is_well()
    }

    fn endpoint(&mut self) -> Result<EgressEndpoint, StartError> {
        let control = self.wait_for_guest()?;
        // Nobody else will ever call.
        let closed = self.parts.folder.close();
        closed.map_err(|e| cannot("close the session's socket".into(), e.to_string()))?;
        let endpoint = self.wait_for_sockets(&control)?;
        self.look_after(&control)?;
        self.check(&control)?;
        vanished::check(&self.parts.masked)?;
        self.lay_late()?;
        self.control = Some(control);
        if let Some(process) = self.process() {
            self.counters = Counters::of(process, self.parts.wanted.spec.limits);
        }
        self.stands = true;
        self.begin_if_all_is_well()
            .map_err(|e| cannot("start the agent".into(), e.to_string()))?;
        if let Starter::Ours(_) = self.parts.starter {
            let (engine, base) = (self.parts.engine, self.parts.wanted.base.clone());
            self.stale = Some(std::thread::spawn(move || stale::remove(engine, &base)));
        }
        Ok(endpoint)
    }

    fn comes(&mut self, or: BorrowedFd<'_>) -> Result<bool, StartError> {
        let Starter::Others(tell) = &mut self.parts.starter else {
            return Ok(true);
        };
        let failed = |e: io::Error| cannot("wait for the container".into(), e.to_string());
        if let Some(tell) = tell.take() {
            tell().map_err(failed)?;
        }
        let listener = &self.parts.listener;
        let mut fds = [listener.as_fd(), or].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut fds, None) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// The guest, once it has called. As the first of its process namespace it waits in its end until the kernel has ended all
    /// others (pid_namespaces(7)). In gVisor it calls through another, and the engine says which process the sandbox is.
    fn process(&self) -> Option<u32> {
        if self.parts.settings.sandboxed {
            return self.sandbox;
        }
        caller(self.control.as_ref()?).ok()
    }

    fn event_source(&self) -> BorrowedFd<'_> {
        let source = self.control.as_ref().or(self.life.as_ref());
        source.unwrap_or(&self.parts.listener).as_fd()
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
        let mut event = agent_event(message.map(|m| m.event), &self.parts.wanted.spec)?;
        if let AgentEvent::Killed(_, limit) = &mut event {
            *limit = self.counters.outcome();
        }
        self.told_the_end = is_end(&event);
        if let (AgentEvent::Stopped(_), Starter::Others(_)) = (&event, &self.parts.starter) {
            // Nobody at its terminal could continue it.
            self.send(InitRequest::Resume { foreground: true })?;
            return Ok(None);
        }
        Ok(Some(event))
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let resized = request == Request::Signal(Signal::WINCH.as_raw());
        if resized
            && self.parts.wanted.terminal
            && let Some((rows, columns)) = window()
        {
            // The client tells of it too, some time later.
            return self.send(InitRequest::Window { rows, columns });
        }
        self.send(match request {
            Request::Signal(signal) => InitRequest::Signal { signal },
            Request::Resume { foreground } => InitRequest::Resume { foreground },
        })
    }

    fn masker(&mut self) -> io::Result<Option<Box<dyn Masker>>> {
        if let Some(hand) = self.hand.take() {
            return Ok(Some(Box::new(ContainerMasker::of(hand))));
        }
        let Some(inside) = self.inside.take() else {
            return Ok(None);
        };
        let container = self.hand_container(false);
        Ok(Some(Box::new(ContainerMasker::new(inside, container))))
    }

    fn freeze(&mut self) -> io::Result<&'static str> {
        let pause = ["pause", &self.parts.container];
        let paused = self.parts.engine.ask("freeze the container", &pause);
        paused.map_err(io::Error::other)?;
        self.frozen = true;
        Ok("the container engine")
    }

    fn kill(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // The guest ends with its connection, and one that has not called yet ends in vain.
        self.control = None;
        let limit = if self.told_the_end {
            OUTPUT_DEADLINE
        } else {
            END_DEADLINE
        };
        // What is frozen does not even hear of that.
        let hears = self.stands && !self.frozen;
        if hears {
            self.parts.folder.clear();
        }
        let answers = (hears && self.wait_for_end(limit)) || self.remove_by_force();
        if answers {
            podman::remove_volumes(&self.parts.wanted);
            sweep(self.parts.engine, &self.parts.folder, &self.parts.wanted);
        }
        if let Some(stale) = self.stale.take() {
            let _ = stale.join();
        }
    }
}

impl Drop for ContainerRunning {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who called, by the number it has here.
fn caller(control: &OwnedFd) -> io::Result<u32> {
    let caller = sockopt::socket_peercred(control)?;
    Ok(caller.pid.as_raw_nonzero().get().cast_unsigned())
}

fn not_found(error: io::Error) -> StartError {
    cannot("find the guest".into(), error.to_string())
}

fn not_watched(error: io::Error) -> StartError {
    cannot("look after the container".into(), error.to_string())
}

pub(crate) fn descriptor(child: &Child) -> io::Result<OwnedFd> {
    opened(child.id())
}

fn opened(process: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits until one of these is readable, and says which.
pub(crate) fn wait(sources: &[&OwnedFd], limit: Duration) -> io::Result<Option<usize>> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds: Vec<_> = sources
            .iter()
            .map(|fd| PollFd::new(*fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(fds.iter().position(|fd| !fd.revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
